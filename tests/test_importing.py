"""A user's objects by name, and dependencies that are missing or broken."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradflow.errors import DataError, InstallationError, UnknownModelError
from gradflow.importing import call_with, import_dependency, import_object, is_object_name


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a current directory that is not on `sys.path`, whose modules are forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a:b", True), ("a.b:c.d", True), ("a", False), ("a:", False), (":b", False), ("a b:c", False),
     ("a:b:c", False), ("C:/data", False), ("torchvision:resnet18", True)],
)  # fmt: skip
def test_names_of_objects_have_a_form(text: str, expected: bool) -> None:
    """Dotted identifiers on both sides of one colon."""
    assert is_object_name(text) == expected


@given(st.text())
def test_any_other_text_is_refused_with_the_callers_error(text: str) -> None:
    """Nothing that is no name is imported."""
    if not is_object_name(text):
        with pytest.raises(DataError, match=r"expected package\.module:callable"):
            import_object(text, DataError)


def test_objects_are_found_in_installed_modules_and_in_the_current_directory(directory: Path) -> None:
    """Both the library's and the user's own modules work, packages and attributes of classes too."""
    (directory / "mine").mkdir()
    (directory / "mine" / "__init__.py").touch()
    (directory / "mine" / "nets.py").write_text("class Net:\n    small = 4\n")
    assert import_object("os.path:join", DataError) is __import__("os").path.join
    assert import_object("mine.nets:Net.small", DataError) == 4


def test_the_current_directory_hides_no_installed_module(directory: Path) -> None:
    """A file called json.py does not replace the standard library's."""
    (directory / "json.py").write_text("loads = 1\n")
    assert callable(import_object("json:loads", DataError))


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        ("x = 1", "broken:y", r"'broken:y': module broken has no 'y'"),
        ("import no_such_thing", "broken:x", r"'broken:x': broken needs no_such_thing, which is missing"),
        ("x = 1 +", "broken:x", r"importing broken failed: SyntaxError: invalid syntax"),
        ("raise ValueError('a\\nb')", "broken:x", r"importing broken failed: ValueError: a b$"),
        ("x = 1", "broken.deep:x", r"there is no module broken\.deep"),
        ("x = 1", "other:x", r"there is no module other; run in the directory that holds it, or install it"),
    ],
)
def test_what_cannot_be_imported_is_said(directory: Path, source: str, name: str, message: str) -> None:
    """Each failure is the caller's error, on one line."""
    (directory / "broken.py").write_text(source)
    with pytest.raises(UnknownModelError, match=message) as caught:
        import_object(name, UnknownModelError)
    assert "\n" not in str(caught.value)


def test_functions_are_called_with_what_they_name() -> None:
    """Only named parameters are filled; positional-only and collecting ones are left alone."""

    def collecting(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        return args, kwargs

    assert call_with(lambda seed, other=2: (seed, other), seed=1, split="x") == (1, 2)
    assert call_with(lambda seed=3, /: seed, seed=1) == 3
    assert call_with(collecting, seed=1) == ((), {})
    assert call_with(dict, seed=1) == {}


def test_a_mismatched_torchvision_is_an_installation_error(directory: Path) -> None:
    """Torch's own RuntimeError becomes a line with the command that mends it."""
    (directory / "torchvision_of_elsewhere.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    sys.path.append(str(directory))
    message = (
        r"not built for the installed torch \(RuntimeError: operator torchvision::nms does not exist\); "
        r".* pip install --force-reinstall torch torchvision$"
    )
    with pytest.raises(InstallationError, match=message):
        import_dependency("torchvision_of_elsewhere")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, r"^fragile is not installed; run: pip install fragile$"),
        ("import no_such_thing", r"no_such_thing is missing; run: pip install --force-reinstall fragile$"),
        ("raise OSError('libmissing.so: no such file')", r"^fragile cannot be imported: OSError: libmissing"),
    ],
)
def test_other_broken_dependencies_are_installation_errors(
    directory: Path, source: str | None, message: str
) -> None:
    """Missing, half-installed and failing packages are told apart."""
    if source is not None:
        (directory / "fragile.py").write_text(source)
    sys.path.append(str(directory))
    with pytest.raises(InstallationError, match=message):
        import_dependency("fragile")


def test_a_working_dependency_is_imported() -> None:
    """Submodules come back as modules."""
    assert import_dependency("os.path").join("a", "b")
