"""`gradflow probe`, from the words on the command line to the record on disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

import gradflow
from gradflow.record.schema import UNITS

SMALL = ("--model", "preact20", "--width", "4", "--batch-size", "2")

USERS_CODE = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
    def forward(self, x):
        return x + torch.tanh(self.layer(x))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.blocks = nn.Sequential(Block(), Block())
    def forward(self, tokens, scale):
        return self.blocks(self.embedding(tokens)) * scale

def batches():
    generator = torch.Generator().manual_seed(0)
    while True:
        tokens = torch.randint(11, (2, 5), generator=generator)
        yield {"tokens": tokens, "scale": torch.tensor(2.0)}, torch.zeros(2, 5, 4)

def loss(outputs, targets):
    return (outputs - targets).abs().mean()

def vector_loss(outputs, targets):
    return (outputs - targets).abs()

def failing_loss(outputs, targets):
    return outputs["logits"]

def interrupting_loss(outputs, targets):
    raise KeyboardInterrupt

def failing_net():
    raise ValueError("no weights\\nfor this")
"""


@pytest.fixture
def users_code(tmp_path: Path) -> None:
    """Put a module of a user's own into the current directory."""
    (tmp_path / "users_own.py").write_text(USERS_CODE, encoding="utf-8")


def test_record_is_saved_and_table_printed(cli) -> None:
    """The record goes to the next free run, the table to standard output, the rest to standard error."""
    for number in (1, 2):
        result = cli("probe", *SMALL)
        assert result.status == 0, result.stderr
        assert f"saved to runs/preact20-{number}; next: gradflow report" in result.stderr
    record = gradflow.load_record("runs/preact20-2")
    assert len(record.units) == 9
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert len(re.findall(r"^ +\d+  stage", result.stdout, re.MULTILINE)) == 9
    assert sorted(path.name for path in Path("runs").iterdir()) == ["preact20-1", "preact20-2"]


def test_checkpoint_with_nans_is_probed_and_said(cli) -> None:
    """NaN weights do not stop the probe: they are counted, said, and null in JSON."""
    model = gradflow.build_model("preact20", width=4)
    state = model.state_dict()
    state["stage2.0.branch.conv1.weight"].view(-1)[0] = torch.nan
    torch.save(state, "nan.pt")
    result = cli("probe", *SMALL, "--checkpoint", "nan.pt", "--format", "json")
    assert result.status == 0, result.stderr
    assert "nan.pt holds elements that are NaN or infinite: 1" in result.stderr
    value = json.loads(result.stdout, parse_constant=pytest.fail)
    assert sum(unit["nonfinite"] for unit in value["units"]) > 0
    assert value["meta"]["loss"]["value"] is None


def test_many_units_are_stages_unless_asked_for(cli) -> None:
    """63 units are three lines, or 63 with --all-units; the plot by depth is of all of them either way."""
    many = ("--model", "preact128", "--width", "2", "--batch-size", "2")
    for options, rows in (((), 3), (("--all-units",), 63)):
        result = cli("probe", *many, *options)
        assert result.status == 0, result.stderr
        table, _, below = result.stdout.partition("‖s‖, ‖b‖: ")
        assert len(re.findall(r"(?m)^ *\d+ ", table)) == rows
        assert "‖∂E/∂x‖ by unit, logarithmic" in below
        assert max(map(len, result.stdout.splitlines())) <= 80


def test_same_seed_same_numbers(cli) -> None:
    """Two calls with one seed print the same numbers; another seed prints others."""
    tables = [cli("probe", *SMALL, "--seed", seed, "--format", "csv").stdout for seed in "001"]
    assert tables[0] == tables[1] != tables[2]


def test_dropout_follows_the_seed(cli) -> None:
    """What a network draws while it runs depends on seed and batch alone."""
    dropout = (*SMALL, "--shortcut", "dropout:0.5", "--batches", "2", "--format", "csv")
    first, again = (cli("probe", *dropout).stdout for _ in range(2))
    assert first == again


def test_json_is_one_object_and_nothing_else(process) -> None:
    """Standard output holds exactly the JSON object, also in a process of its own, with no NaN."""
    result = process("probe", *SMALL, "--format", "json")
    assert result.status == 0, result.stderr
    value = json.loads(result.stdout, parse_constant=pytest.fail)
    assert set(value) == {"schema_version", "meta", "units", "parameters", "checks"}
    assert [*value["units"][0]] == [column.name for column in UNITS]
    assert value["meta"]["model"]["options"] == {"width": 4}
    assert value["meta"]["data"]["name"] == "synthetic"


def test_csv_is_the_units(cli) -> None:
    """`--format csv` prints the units table with its header."""
    lines = cli("probe", *SMALL, "--format", "csv").stdout.splitlines()
    assert lines[0] == ",".join(column.name for column in UNITS)
    assert len(lines) == 1 + 9


def test_seeds_and_batches_are_rows_of_one_record(cli) -> None:
    """Seeds and batches are told apart by their columns, and the record lists the seeds."""
    cli("probe", *SMALL, "--seeds", "3,0-1", "--batches", "2")
    record = gradflow.load_record("runs/preact20-1")
    passes = record.units[["seed", "batch_index"]].drop_duplicates()
    assert sorted(passes.itertuples(index=False, name=None)) == [(s, b) for s in (0, 1, 3) for b in (0, 1)]
    assert record.meta["seeds"] == [3, 0, 1]
    assert record.meta["batches"] == 2


def test_record_says_how_it_was_made(cli, tmp_path: Path) -> None:
    """The record has the command, without directories."""
    out = tmp_path / "deep" / "record"
    assert cli("probe", *SMALL, "--out", str(out)).status == 0
    command = gradflow.load_record(out).meta["command"]
    assert command == "gradflow probe --model preact20 --width 4 --batch-size 2 --out record"


def test_existing_record_is_kept_without_force(cli) -> None:
    """A second record in the same place needs --force."""
    assert cli("probe", *SMALL, "--out", "mine").status == 0
    before = Path("mine/record.json").read_bytes()
    assert "mine exists and is kept" in cli("probe", *SMALL, "--out", "mine", "--seed", "1").error
    assert Path("mine/record.json").read_bytes() == before
    assert cli("probe", *SMALL, "--out", "mine", "--seed", "1", "--force").status == 0
    assert gradflow.load_record("mine").meta["seeds"] == [1]


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_dtype_is_the_models_and_the_inputs(cli, dtype: str) -> None:
    """`--dtype` converts network and images."""
    assert cli("probe", *SMALL, "--dtype", dtype).status == 0
    assert gradflow.load_record("runs/preact20-1").meta["dtype"] == dtype


def test_users_own_model_data_and_loss(cli, users_code: None) -> None:
    """A token model with keyword inputs, data and a loss come in from the current directory."""
    result = cli(
        "probe", "--model", "users_own:Net", "--data", "users_own:batches", "--loss", "users_own:loss",
        "--batches", "2",
    )  # fmt: skip
    assert result.status == 0, result.stderr
    record = gradflow.load_record("runs/users_own-Net-1")
    assert [*record.units["name"]] == ["blocks.0", "blocks.1"] * 2
    assert record.meta["loss"]["name"] == "loss"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--loss", "users_own:absent"], r"'users_own:absent': module users_own has no 'absent'"),
        (["--loss", "users_own:vector_loss"], r"loss must be one number, not \(2, 5, 4\)"),
        (["--loss", "users_own:failing_loss"], r"raised (Index|Type)Error: .*GRADFLOW_TRACEBACK=1"),
        (["--model", "users_own:failing_net"], r"could not be built: ValueError: no weights for this"),
        (["--data", "users_own:loss"], r"users_own:loss"),
        (["--data", "synthetic"], r"raised .*--input-shape"),
    ],
)
def test_users_mistakes_are_one_line(cli, users_code: None, options: list[str], message: str) -> None:
    """What a user's own code raises is one line that says whose it was; nothing is saved."""
    error = cli("probe", "--model", "users_own:Net", "--data", "users_own:batches", *options).error
    assert re.search(message, error), error
    assert not list(Path().glob("runs/*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "preakt20"], r"did you mean 'preact20'"),
        (["--model", "preact21"], r"nearest preact20 and preact2\d"),
        (["--model", "plain20"], r"no residual unit.*--units REGEX"),
        (["--model", "preact20", "--units", "nothing"], r"no module .*units='nothing'"),
        (["--model", "preact20", "--shortcut", "none?"], r"shortcut"),
        (["--model", "preact20", "--checkpoint", "absent.pt"], r"absent\.pt"),
        (["--model", "preact20", "--checkpoint", "broken.pt"], r"broken\.pt"),
        (["--model", "preact20", "--checkpoint", "other.pt"], r"resnet20|stem|missing|unexpected"),
        (["--model", "preact20", "--data", "folder:absent"], r"absent"),
        (["--model", "preact20", "--data", "unheard-of"], r"unheard-of"),
        (["--model", "preact20", "--out", "broken.pt/x"], r"broken\.pt is not a directory"),
        (["--model", "torchvision:resnet19"], r"torchvision has no model of this name"),
    ],
)
def test_bad_input_is_one_line(cli, options: list[str], message: str) -> None:
    """Whatever is unusable is refused in one line that names it; nothing is written."""
    Path("broken.pt").write_bytes(b"PK\x03\x04 no archive")
    torch.save({"weight": torch.zeros(3)}, "other.pt")
    error = cli("probe", "--batch-size", "2", *options).error
    assert re.search(message, error), error
    assert sorted(path.name for path in Path().iterdir()) == ["broken.pt", "other.pt"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here, so asking for one is no mistake")
def test_gpu_that_is_not_there(cli) -> None:
    """Asking for a GPU where there is none says so."""
    assert "torch finds no GPU here; take --device cpu" in cli("probe", *SMALL, "--device", "cuda").error


def test_interrupt_leaves_nothing(cli, users_code: None) -> None:
    """Ctrl-C in the middle of a pass: status 130, one line, and no half-written record."""
    result = cli(
        "probe", "--model", "users_own:Net", "--data", "users_own:batches",
        "--loss", "users_own:interrupting_loss",
    )  # fmt: skip
    assert (result.status, result.stdout) == (130, "")
    assert result.stderr.splitlines()[-1] == "gradflow: interrupted; nothing half-written is left"
    assert not list(Path().glob("runs/*"))


def test_units_named_outright(cli) -> None:
    """A plain network is measured by the blocks that --units names, with shortcut none."""
    result = cli(
        "probe", "--model", "plain20", "--width", "4", "--batch-size", "2", "--units", r"stage\d\.\d+"
    )
    assert result.status == 0, result.stderr
    assert set(gradflow.load_record("runs/plain20-1").units["shortcut"]) == {"none"}


def test_explain_lists_units_and_what_was_passed_over(cli) -> None:
    """`--explain` lists each unit and why other additions are none; it measures nothing."""
    result = cli("probe", *SMALL, "--explain")
    assert result.status == 0, result.stderr
    assert "9 residual units" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    value = json.loads(cli("probe", *SMALL, "--explain", "--format", "json").stdout)
    assert [unit["index"] for unit in value["units"]] == list(range(9))
    for unit in value["units"]:
        assert set(unit["explanation"]) == {"addition", "fork", "shortcut", "branch", "why"}
        assert unit["explanation"]["why"] in " ".join(result.stdout.split())
    assert value["passed_over"] == []
    rows = cli("probe", *SMALL, "--explain", "--format", "csv").stdout.splitlines()
    assert len(rows) == 10
    assert rows[0].endswith("why_addition,why_fork,why_shortcut,why_branch,why_why")
    assert not Path("runs").exists()


def test_explain_says_why_there_is_no_unit(cli) -> None:
    """Where there is no unit, each addition and the reason are printed all the same, before the error."""
    network = ("--model", "torchvision:squeezenet1_1", "--input-shape", "3,64,64", "--batch-size", "2")
    result = cli("probe", *network, "--explain")
    assert result.status == 2
    assert "no residual units" in result.stdout
    assert "SqueezeNet has no residual unit" in result.stderr
    named = ("--model", "resnet8", "--width", "4", "--batch-size", "2", "--units", "stage9")
    result = cli("probe", *named, "--explain", "--format", "json")
    assert result.status == 2
    value = json.loads(result.stdout)
    assert value["units"] == []
    reasons = {over["reason"] for over in value["passed_over"]}
    assert reasons == {"it is not among the units that were asked for"}
    assert all(over["where"].startswith("gradflow.models.unit:") for over in value["passed_over"])


def test_self_test_passes_on_the_zoo(cli) -> None:
    """`--self-test` says what it compared and exits with 0."""
    result = cli("probe", *SMALL, "--self-test")
    assert result.status == 0, result.stdout + result.stderr
    assert result.stdout.strip()
    assert not Path("runs").exists()


def test_checkpoint_is_loaded(cli) -> None:
    """With a checkpoint the weights are the file's, whatever the seed."""
    model = gradflow.build_model("preact20", width=4, seed=7)
    torch.save({"model": model.state_dict(), "iteration": 12}, "ckpt.pt")
    trained = cli("probe", *SMALL, "--checkpoint", "ckpt.pt", "--out", "trained")
    assert trained.status == 0, trained.stderr
    record = gradflow.load_record("trained")
    assert record.meta["checkpoint"]["name"] == "ckpt.pt"
    assert set(record.units["iteration"]) == {12}
    norms = dict(zip(record.parameters["name"], record.parameters["norm"], strict=True))
    assert norms["head.weight"] == pytest.approx(model.head.weight.norm().item(), rel=1e-6)


def test_checkpoint_chooses_the_data_and_other_data_is_said(cli) -> None:
    """The checkpoint's data is the default; measuring on other data is said, there and in the record."""
    state = gradflow.build_model("preact20", width=4).state_dict()
    torch.save({"model": state, "data": {"name": "folder:gone"}}, "ckpt.pt")
    assert "gone" in cli("probe", *SMALL, "--checkpoint", "ckpt.pt").error
    result = cli("probe", *SMALL, "--checkpoint", "ckpt.pt", "--data", "synthetic")
    assert result.status == 0, result.stderr
    note = "ckpt.pt was trained on folder:gone and is measured on synthetic"
    assert note in result.stderr
    assert note in gradflow.load_record("runs/preact20-1").meta["notes"]


def test_fail_on_ends_with_status_1_and_names_the_unit(cli) -> None:
    """A condition that a unit meets is status 1 and a line; the record is saved and printed all the same."""
    result = cli("probe", *SMALL, "--format", "json", "--fail-on", "growth_per_unit > 0.01 or nonfinite")
    assert result.status == 1
    (line,) = [line for line in result.stderr.splitlines() if "failed: " in line]
    assert re.fullmatch(
        r"gradflow: failed: unit \d+ \(stage\d\.\d, \w+\): growth_per_unit is [\d.]+, "
        r"and is to be at most 0.01 \(and 8 more units\)",
        line,
    )
    worst = max(
        json.loads(result.stdout)["units"], key=lambda row: row["grad_in_norm"] / row["grad_out_norm"]
    )
    assert f"unit {worst['unit']} " in line
    assert Path("runs/preact20-1/record.json").is_file()
    assert cli("probe", *SMALL, "--fail-on", "growth_per_unit > 1000 or nonfinite").status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fail-on", "decay > 2"), "'decay' is nothing that can be limited; expected decay_per_unit"),
        (("--fail-on", "decay_per_unit"), "decay_per_unit takes < or >, and a number"),
        (("--fail-on", "nonfinite", "--self-test"), "--fail-on is about what is measured"),
        (("--fail-on", "nonfinite", "--explain"), "--fail-on is about what is measured"),
    ],
)
def test_conditions_that_say_nothing_are_refused(cli, arguments: tuple[str, ...], message: str) -> None:
    """Before anything is measured, in one line."""
    assert message in cli("probe", *SMALL, *arguments).error
    assert not Path("runs").exists()


def test_findings_close_the_table(cli) -> None:
    """The table is followed by sentences; JSON and CSV have none."""
    printed = " ".join(cli("probe", *SMALL).stdout.split())
    assert "Findings - Within each stage" in printed
    assert "the gradient norm" in printed
    for form in ("json", "csv"):
        assert "Findings" not in cli("probe", *SMALL, "--format", form).stdout


def test_limits_on_what_a_network_has_not(cli) -> None:
    """A limit on shortcuts is refused for blocks without one, in a line, and passes nothing in silence."""
    blocks = ("--model", "plain20", "--width", "4", "--batch-size", "2", "--units", r"stage[1-3]\.[0-9]+")
    result = cli("probe", *blocks, "--fail-on", "shortcut_share < 0.5")
    assert result.status == 2
    assert "gradflow: error: shortcut_share cannot be limited here: no unit of this network" in result.stderr
    assert cli("probe", *blocks, "--fail-on", "nonfinite").status == 0
