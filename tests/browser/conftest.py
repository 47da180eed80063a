"""Pages as a browser shows them: Debian's chromium, driven by Playwright, opens them from files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _pages import EVIL, Open, Opened, training_record
from _records import make_record

from gradflow.record import Record
from gradflow.report import write_report


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Start chromium once."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        reason = "chromium is not installed: apt-get install chromium"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    # Root may not use the sandbox, and CI's containers are root's.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=arguments)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Open a file in a browser window of its own; that it asks for nothing else is checked afterwards."""
    contexts, opened = [], []

    def call(path: Path, link: str = "", *, script: str = "", **options: Any) -> Opened:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        if script:
            page.add_init_script(script)
        one = Opened(page)
        page.on("console", lambda said: one.problems.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: one.problems.append(str(error)))
        page.on("request", lambda request: one.requests.append(request.url))
        page.goto(f"{path.as_uri()}{link}")
        opened.append((one, path.as_uri()))
        return one

    yield call
    for one, uri in opened:
        left = [url for url in one.requests if not url.startswith((uri, "data:", "blob:"))]
        one.problems += [f"asked for {url}" for url in left]
    problems = [problem for one, _ in opened for problem in one.problems]
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture(scope="session")
def trained() -> Record:
    """Return the record that the page shows first."""
    return training_record()


@pytest.fixture(scope="session")
def page(trained: Record, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report on a training run, and a probe of another network."""
    folder = tmp_path_factory.mktemp("page")
    trained.save(folder / "runs" / "preact-1")
    make_record("resnet", stages=(4, 4), identity=False).save(folder / "runs" / "resnet-1")
    return write_report([folder / "runs"], folder / "out")


@pytest.fixture(scope="session")
def evil_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report on a run in which every name is markup that would run a script."""
    folder = tmp_path_factory.mktemp("evil")
    record = training_record(EVIL, notes=[EVIL], skipped=[{"what": EVIL, "why": EVIL}])
    record.units["name"] = EVIL
    record.parameters["name"] = EVIL
    record.save(folder / "runs" / "<img src=x onerror=alert(1)>")
    return write_report([folder / "runs"], folder / "out")
