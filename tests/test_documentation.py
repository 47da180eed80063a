"""The README and the pages say what the program does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

import gradflow
from gradflow.cli.entry import COMMANDS, run
from gradflow.record import load_record
from gradflow.report.story import SOURCES

CHECKOUT = Path(__file__).resolve().parents[1]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    """Return the fenced blocks of `text` in `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_generated_pages_are_up_to_date() -> None:
    """The command reference and the record's columns are what the code says now."""
    done = subprocess.run(
        [sys.executable, str(CHECKOUT / "docs/generate.py"), "--check"],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_readme_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's Python examples run as printed, one after the other in one session.

    Trainers give advice about data loaders and logging intervals, as warnings.
    """
    monkeypatch.chdir(tmp_path)
    session: dict[str, object] = {}
    examples = blocks("python")
    assert len(examples) >= 2
    for example in examples:
        exec(compile(example, "README.md", "exec"), session)
    tests = [value for name, value in session.items() if name.startswith("test_") and callable(value)]
    assert len(tests) == 1
    for test in tests:  # of the example for somebody's test suite
        test()
    assert (tmp_path / "runs/mine/record.json").is_file()
    for recorded in ("loop", "lightning", "transformers", "accelerate"):
        assert load_record(tmp_path / "runs" / recorded).steps["iteration"].unique().tolist()[:2] == [0, 2]


def a_loop() -> dict[str, object]:
    """Return what the examples of a training loop take for granted."""
    model = gradflow.build_model("preact20", num_classes=10, seed=0, width=4)
    batches = [(torch.randn(4, 3, 32, 32), torch.randint(10, (4,)))] * 2
    return {
        "gradflow": gradflow,
        "model": model,
        "batches": batches,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "loss_function": torch.nn.functional.cross_entropy,
    }


def small_runs(*names: str) -> None:
    """Measure what examples call by a larger network's name."""
    for name in names:
        words = ["--model", f"{name[:6]}20", "--width", "4", "--batch-size", "2", "--seeds", "0-1"]
        assert run(["probe", *words, "--out", f"runs/{name}"]) == 0


PAGES = sorted(
    page.name for page in (CHECKOUT / "docs").glob("*.md") if blocks("python", page.read_text("utf-8"))
)
"""The documentation's pages with Python on them."""


@pytest.mark.parametrize("page", PAGES)
def test_python_on_pages_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's Python examples run as printed, one after the other in one session."""
    monkeypatch.chdir(tmp_path)
    session: dict[str, object] = {}
    if page in {"comparing.md", "theory.md"}:
        small_runs("preact110", "resnet110", "preact110-1")
    for example in blocks("python", (CHECKOUT / "docs" / page).read_text(encoding="utf-8")):
        if "Recorder(" in example:
            session |= a_loop()
        exec(compile(example, page, "exec"), session)
    if page == "your-own.md":
        assert (tmp_path / "runs/mine/record.json").is_file()
        smoothed = session["smoothed"]
        assert callable(smoothed)
        assert smoothed(torch.zeros(4, 10), session["targets"]).ndim == 0


def test_pages_with_examples_are_found() -> None:
    """The pages that say how to do something have examples, so the test above runs something."""
    assert {"adding-a-check.md", "adding-a-shortcut.md", "comparing.md", "your-own.md"} <= set(PAGES)


def test_every_analysis_is_on_the_page_about_reproducing() -> None:
    """Each source of the story has its command there, as the story says it."""
    page = (CHECKOUT / "docs/reproducing.md").read_text(encoding="utf-8")
    for source in SOURCES:
        if not source.key.endswith("_benchmark"):
            assert f"`{source.command}`" in page
            assert f"`reports/{source.key}`" in page


def test_readme_ci_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step that the README gives for CI passes as printed, and fails on a tighter limit."""
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("yaml")
    (line,) = re.findall(r"run: (gradflow .*)", example)
    words = shlex.split(line)[1:]
    assert run(words) == 0
    conditions = words[words.index("--fail-on") + 1]
    assert run([*words[:-1], conditions.replace("decay_per_unit > 2", "decay_per_unit > 0.01")]) == 1


def test_readme_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """Each option that the README or a page shows for a command is in that command's help."""
    pages = [README, *(page.read_text(encoding="utf-8") for page in (CHECKOUT / "docs").glob("*.md"))]
    shown = re.findall(
        r"gradflow (\w+)((?: [^\n`|]*)?)", "\n".join(part for page in pages for part in blocks("sh", page))
    )
    assert {name for name, _ in shown} >= {"probe", "check", "report"}
    for name, rest in shown:
        assert name in COMMANDS, name
        assert run([name, "--help"]) == 0
        text = capsys.readouterr().out
        for option in re.findall(r"--[\w-]+", rest.partition("&&")[0].partition("#")[0]):
            assert option in text, (name, option)


def test_readme_opens_with_the_two_commands() -> None:
    """One line installs, probes and reports; one line installs nox and runs the tests."""
    first, second = (block.strip() for block in blocks("sh")[:2])
    assert "\n" not in first
    assert first.endswith("gradflow probe --model preact164 && .venv/bin/gradflow report")
    assert "\n" not in second
    assert second.endswith("nox -s tests")


def test_dependencies_have_a_reason_and_no_upper_pin() -> None:
    """Each dependency of users has a floor, with a comment that says why, and nothing above it."""
    text = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    users = [*extras["lightning"], *extras["transformers"], *extras["wandb"]]
    for requirement in (*project["dependencies"], *users):
        assert re.fullmatch(r"[\w-]+>=[\d.]+", requirement)
        assert re.search(rf'"{re.escape(requirement)}"[],]* +# \w', text), requirement
