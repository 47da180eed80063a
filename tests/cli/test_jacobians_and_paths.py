"""`gradflow spectrum`, `paths` and `lesions`: what they print and save."""

from __future__ import annotations

import json

import pytest
import torch

import gradflow

SMALL = ("--model", "preact20", "--width", "2", "--input-shape", "3,8,8", "--batch-size", "2")

COMMANDS = {
    "spectrum": (("--branches", "0,4", "--spans", "1-2", "--largest", "2"), ("jacobians", "singular_values")),
    "paths": (("--samples", "2"), ("paths",)),
    "lesions": (("--remove", "2", "--exchange", "1", "--draws", "1"), ("lesions",)),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_saves_and_prints(cli, command: str) -> None:
    """Each makes a table that fits a terminal, and a record."""
    options, tables = COMMANDS[command]
    result = cli(command, *SMALL, *options)
    assert result.status == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    record = gradflow.load_record("runs/preact20-1")
    assert all(len(getattr(record, table)) for table in tables)


@pytest.mark.parametrize("command", COMMANDS)
def test_json_has_the_tables(cli, command: str) -> None:
    """`--format json` prints the command's own tables and nothing else."""
    options, tables = COMMANDS[command]
    result = cli(command, *SMALL, *options, "--format", "json")
    value = json.loads(result.stdout, parse_constant=pytest.fail)
    assert tuple(value) == tables
    assert all(value[table] for table in tables)


@pytest.mark.parametrize("command", COMMANDS)
def test_csv_has_the_columns(cli, command: str) -> None:
    """`--format csv` prints the last of them."""
    options, tables = COMMANDS[command]
    header, *rows = cli(command, *SMALL, *options, "--format", "csv").stdout.splitlines()
    record = gradflow.load_record("runs/preact20-1")
    assert header == ",".join(getattr(record, tables[-1]).columns)
    assert len(rows) == len(getattr(record, tables[-1]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("spectrum", "--branches", "x"), "'x' is no list of numbers"),
        (("spectrum", "--branches", "99"), "there is no unit 99: the network has units 0 to 8"),
        (("spectrum", "--spans", "0-99"), "there is no span 0-99"),
        (("paths", "--samples", "1"), "1 is not in the range x>=2"),
        (("lesions", "--remove", "10"), "10 units cannot be removed: 9 of 9 can be"),
    ],
)
def test_impossible_is_one_line(cli, arguments: tuple[str, ...], message: str) -> None:
    """What cannot be measured is refused in one line, with status 2."""
    assert message in cli(arguments[0], *SMALL, *arguments[1:]).error


def test_nan_weights_have_no_spectrum(cli, tmp_path) -> None:
    """A checkpoint with a NaN is refused, though only the mean square is asked for."""
    weights = gradflow.build_model("preact20", width=2).state_dict()
    weights["stage1.1.branch.conv1.weight"][0] = float("nan")
    torch.save(weights, tmp_path / "nan.pt")
    line = cli("spectrum", *SMALL, "--checkpoint", str(tmp_path / "nan.pt"), "--largest", "0").error
    assert "the parameter stage1.1.branch.conv1.weight is not finite" in line


def test_plain_network_has_no_paths(cli) -> None:
    """A network without shortcuts is refused by `paths`, and lesioned by `lesions`."""
    plain = ("--model", "plain20", *SMALL[2:], "--units", r"stage\d\.\d+")
    assert "has no shortcut" in cli("paths", *plain).error
    assert "without unit 1" in cli("lesions", *plain).stdout
