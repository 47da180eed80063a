"""The shell examples of the README and the pages: all are calls that the commands take; the cheap ones run.

A call is read as the command itself reads it, so an option, a value or an argument that is wrong fails. What
only reads runs is run as printed, on small networks in the place of the runs that the text made before.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import torch
import torch.nn.functional as F

import gradflow
from gradflow.cli.entry import COMMANDS, application, run
from gradflow.models.specification import make_spec
from gradflow.record import load_record

CHECKOUT = Path(__file__).resolve().parents[1]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
READ_ONLY = ("show", "diff", "report")
RUNS = ("preact110", "resnet110", "preact164-1", "preact1001-1", "resnet164-1", "untrained", "trained")
"""Runs that examples show, compare and report on."""


def blocks(text: str) -> list[str]:
    """Return what stands in fences of a shell or of no language, and what is indented by four."""
    fenced = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
    shell = [match[2] for match in fenced.finditer(text) if match[1] in {"sh", "bash", "console", "text", ""}]
    return [*shell, *re.findall(r"(?:^ {4}.*\n?)+", fenced.sub("", text), re.MULTILINE)]


def words_of(line: str) -> list[list[str]]:
    """Return the words of each command of a line, without comments and redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|>")
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in lexer:
        if word in {"&&", "|", "&"}:
            commands.append([])
        else:
            commands[-1].append(word)
    return [words[: words.index(">")] if ">" in words else words for words in commands]


def calls(text: str) -> list[tuple[str, ...]]:
    """Return the words after `gradflow` of every call in `text`, as a shell would pass them."""
    lines = [line for block in blocks(text) for line in block.replace("\\\n", " ").splitlines()]
    found = []
    for words in (
        words
        for line in lines
        if re.search(r"gradflow( |$)", line) and _is_call(line)
        for words in words_of(line)
    ):
        names = [word.split("/")[-1] for word in words]
        # A line of usage says what may stand there, and is no call.
        if "gradflow" in names and not {"[OPTIONS]", "COMMAND"} & set(words):
            found.append(tuple(words[names.index("gradflow") + 1 :]))
    return found


def _is_call(line: str) -> bool:
    return re.match(r"\s*(\S+/)?(gradflow [a-z]|python|torchrun)", line) is not None


EXAMPLES = sorted({(page.name, call) for page in PAGES for call in calls(page.read_text(encoding="utf-8"))})


def read(words: tuple[str, ...]) -> click.Context:
    """Read a call as its command does, without running it."""
    name, *rest = words
    with application.make_context("gradflow", [name], obj=words) as group:
        command = application.get_command(group, name)
        assert command is not None, f"there is no command '{name}'"
        return command.make_context(name, rest, parent=group)


def test_examples_are_found() -> None:
    """In fences, indented, continued, after another command, under torchrun, with a redirection."""
    pages = {page for page, _ in EXAMPLES}
    assert {"README.md", "comparing.md", "jacobians-and-paths.md", "theory.md", "command-line.md"} <= pages
    assert {call[0] for _, call in EXAMPLES} == set(COMMANDS) - {"models"}, "only `models` takes nothing"
    assert ("README.md", ("probe", "--model", "preact164")) in EXAMPLES
    assert ("README.md", ("report",)) in EXAMPLES
    assert ("reading.md", ("show", "runs/preact110", "--format", "csv")) in EXAMPLES
    assert any(call[-2:] == ("--exchange", "1,3,9") for _, call in EXAMPLES)
    assert any(page == "training.md" and call[-2:] == ("--out", "runs/two") for page, call in EXAMPLES)
    assert len(EXAMPLES) > 45


@pytest.mark.parametrize(
    ("page", "call"), EXAMPLES, ids=[f"{page}: {' '.join(call)}" for page, call in EXAMPLES]
)
def test_every_example_is_a_call(page: str, call: tuple[str, ...]) -> None:
    """The command takes it, and a network of the zoo that it names can be built."""
    model = read(call).params.get("model") or read(call).params.get("spec")
    if model is not None and ":" not in model:
        make_spec(model)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("probe --modell preact20", "No such option"),
        ("probe --model preact20 --bn sometimes", "is not one of"),
        ("probe --model preact20 --batch-size many", "not a valid integer"),
        ("probe --model preact20 --seeds 9-0", "is no range"),
        ("diff runs/a", "Missing parameter"),
        ("show", "Missing parameter"),
        ("show runs/a runs/b", "unexpected extra argument"),
    ],
)
def test_what_is_no_call_fails(wrong: str, why: str) -> None:
    """The control: options, values and arguments that the commands do not take are noticed."""
    with pytest.raises(click.UsageError, match=why):
        read(tuple(wrong.split()))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measure small networks under the names of the runs that examples go on with."""
    folder = tmp_path_factory.mktemp("examples")
    for seeds in ("0-1", "2-3"):
        words = [
            "--model",
            "preact8",
            "--width",
            "4",
            "--batch-size",
            "2",
            "--seeds",
            seeds,
            "--format",
            "json",
        ]
        assert run(["probe", *words, "--out", str(folder / seeds)]) == 0
    for number, name in enumerate(RUNS):
        load_record(folder / ("0-1", "2-3")[number % 2]).save(folder / "runs" / name)
    _train(folder / "runs" / "mine")
    return folder


def _train(out: Path) -> None:
    """Record a training run whose first and 2000th steps are measured."""
    model = gradflow.build_model("preact8", width=4, seed=0)
    images, targets = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
    with gradflow.Recorder(model, every=2000, out=out) as recorder:
        for iteration in range(2001):
            if iteration % 2000 == 0:
                F.cross_entropy(model(images), targets).backward()
            recorder.step()


def is_cheap(call: tuple[str, ...]) -> bool:
    """Whether a call only reads runs; the story of the analyses has tests of its own."""
    return call[0] in READ_ONLY and "--analyses" not in call


CHEAP = sorted({call for _, call in EXAMPLES if is_cheap(call)})


def test_examples_that_read_runs_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`show`, `diff` and `report` do what the text says they do, as printed."""
    assert {call[0] for call in CHEAP} == set(READ_ONLY)
    monkeypatch.chdir(place)
    # One report of each kind is enough: they take seconds.
    reports = {len(call): call for call in CHEAP if call[0] == "report"}.values()
    for call in [*(one for one in CHEAP if one[0] != "report"), *reports]:
        assert run(list(call)) == 0, call
        assert capsys.readouterr().out.strip(), call
    assert list(place.glob("reports/**/report.html"))
