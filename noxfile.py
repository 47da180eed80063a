"""The project's checks. `nox` runs the default ones; `nox -s tests` runs the test suite on the built wheel.

An environment with torch takes about 5 GB and two minutes, so every session that needs torch shares one,
`.nox/torch`; the others have small ones of their own. Remove `.nox` to start afresh.
"""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "imports", "build", "tests", "types", "docs"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

ROOT = Path(__file__).parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]


def build_wheel(session: nox.Session, python: str) -> Path:
    """Build the wheel into an empty directory, from the checkout, and return its path."""
    out = ROOT / ".nox" / "dist" / session.name
    shutil.rmtree(out, ignore_errors=True)
    session.run(
        python, "-m", "pip", "wheel", "--no-deps", "--quiet", f"--wheel-dir={out}", str(ROOT), external=True
    )
    (wheel,) = out.glob("*.whl")
    return wheel


def install_wheel(session: nox.Session, name: str, extras: str, *constraints: str) -> str:
    """Install the built wheel with `extras` into the environment `.nox/<name>`; return its Python."""
    environment = ROOT / ".nox" / name
    python = environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        session.run(sys.executable, "-m", "venv", str(environment), external=True)
    wheel = build_wheel(session, str(python))
    pip = (str(python), "-m", "pip", "install", "--quiet")
    session.log("Installing the wheel and its dependencies; torch takes a few minutes the first time.")
    session.run(*pip, f"{wheel}[{extras}]", *constraints, external=True)
    # The version is the same from build to build, so the line above may have kept an older wheel.
    session.run(*pip, "--no-deps", "--force-reinstall", str(wheel), external=True)
    return str(python)


def run_tests(session: nox.Session, python: str, *options: str) -> None:
    """Run pytest on the installed wheel; the checkout is kept off the import path."""
    arguments = session.posargs or ["--numprocesses=auto", "--dist=worksteal"]
    environment = {
        "GRADFLOW_TEST_INSTALLED": "1",  # tests/test_package.py then insists on the wheel
        "PYTHONSAFEPATH": "1",
        # Workers share the cores; more threads than cores would only wait for each other.
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
    }
    session.run(python, "-m", "pytest", *options, *arguments, env=environment, external=True)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Build the wheel, install it, and test what was installed. Arguments after -- go to pytest."""
    run_tests(session, install_wheel(session, "torch", "test"))


@nox.session(venv_backend="none", default=False)
def lowest(session: nox.Session) -> None:
    """The tests with the oldest dependencies that pyproject.toml allows (slow: a second torch)."""
    constraints = ROOT / ".nox" / "lowest.txt"
    constraints.parent.mkdir(exist_ok=True)
    floors = [re.sub(r">=", "==", requirement) for requirement in PYPROJECT["project"]["dependencies"]]
    constraints.write_text("\n".join(floors) + "\n", encoding="utf-8")
    python = install_wheel(session, "lowest", "test", f"--constraint={constraints}")
    # Old releases call what other libraries have deprecated since, which is not ours to mend.
    run_tests(session, python, "-W", "ignore::DeprecationWarning", "-W", "ignore::FutureWarning")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and likely mistakes."""
    session.install(*EXTRAS["lint"])
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Static types, strictly, against the installed torch's own annotations."""
    python = install_wheel(session, "torch", "test,types")
    session.run(python, "-m", "mypy", external=True)


@nox.session
def imports(session: nox.Session) -> None:
    """The rules of who may import whom; they read the source and import nothing."""
    session.install(*EXTRAS["imports"])
    session.run("lint-imports", env={"PYTHONPATH": str(ROOT)})


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """Build the documentation; a broken link or a page outside the navigation fails."""
    python = install_wheel(session, "torch", "test,docs")  # its formulas are typeset as a report's are
    session.run(python, "-m", "mkdocs", "build", "--strict", external=True)


@nox.session
def build(session: nox.Session) -> None:
    """Build wheel and source distribution, and check what is in them."""
    session.install(*EXTRAS["build"])
    out = ROOT / "dist"
    shutil.rmtree(out, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(out), str(ROOT))
    session.run("twine", "check", "--strict", *map(str, out.iterdir()))
    check_contents(session, out)


def check_contents(session: nox.Session, out: Path) -> None:
    """Both distributions hold every file of the package, and the wheel nothing beside it."""
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "gradflow").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    (wheel,) = out.glob("*.whl")
    (sdist,) = out.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {name for name in archive.namelist() if ".dist-info/" not in name}
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    if in_wheel != package:
        session.error(f"{wheel.name} and gradflow/ differ in: {sorted(in_wheel ^ package)}")
    if missing := (package | {"LICENSE", "README.md", "pyproject.toml", "noxfile.py"}) - in_sdist:
        session.error(f"{sdist.name} lacks: {sorted(missing)}")
    session.log(f"{len(package)} files in {wheel.name} and {sdist.name}")
