"""What a report costs the one who makes it, and the one who opens it."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# The peak is of this program alone: what `getrusage` says counts the parent's size at the start too.
_REPORT = """
import json, pathlib, sys, time
from gradflow.cli.entry import run
status = run(["report", sys.argv[1], "--out", sys.argv[2]])
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
peak = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
said = {"status": status, "torch": "torch" in sys.modules}
print(json.dumps(said | {"peak_MiB": int(peak) / 1024, "cpu_s": time.process_time()}))
"""

_READ = """
import sys, time
from pathlib import Path
from gradflow.report.runs import load_runs
times = []
for _ in range(int(sys.argv[2])):
    started = time.process_time()
    load_runs([Path(sys.argv[1])])
    times.append(time.process_time() - started)
print(min(times))
"""

_PAINT = """() => new Promise((done) => {
    const largest = [];
    new PerformanceObserver((list) => largest.push(...list.getEntries().map((one) => one.startTime)))
        .observe({type: 'largest-contentful-paint', buffered: true});
    setTimeout(() => done({
        first: performance.getEntriesByName('first-contentful-paint')[0].startTime,
        largest: Math.max(...largest),
        loaded: performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd,
    }), 500);
})"""


def time_report(runs: Path, out: Path, repeats: int) -> dict[str, Any]:
    """Make a report in fresh processes.

    Returns:
        `seconds` (the median, imports and start included), `all_s`, `cpu_s` (the median), the largest
        `peak_MiB`, whether `torch` was loaded, and the page's size in MB, `page_MB`.

    Raises:
        RuntimeError: if no report was made.
    """
    times, said = [], []
    for _ in range(repeats):
        shutil.rmtree(out, ignore_errors=True)
        started = time.perf_counter()
        command = [sys.executable, "-c", _REPORT, str(runs), str(out)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        times.append(time.perf_counter() - started)
        said.append(json.loads(printed.splitlines()[-1]))
    if any(one["status"] for one in said):
        raise RuntimeError(f"gradflow report ended with status {said[0]['status']}")
    return {
        "seconds": statistics.median(times),
        "all_s": times,
        "cpu_s": statistics.median(one["cpu_s"] for one in said),
        "peak_MiB": max(one["peak_MiB"] for one in said),
        "torch": any(one["torch"] for one in said),
        "page_MB": (out / "report.html").stat().st_size / 1e6,
    }


def time_reading(run: Path, repeats: int) -> float:
    """Return the least CPU time of reading one run for a report, without imports."""
    command = [sys.executable, "-c", _READ, str(run), str(repeats + 2)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def time_paint(page: Path, repeats: int) -> dict[str, Any] | None:
    """Open a page in fresh chromiums; None where there is no chromium or no Playwright.

    Returns:
        medians in seconds from the start of navigation: `first` and `largest` contentful paint, and
        `loaded`, when all of the page had been read; and `explored`, until the charts are drawn after one
        has scrolled there.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        return None
    measured = []
    with sync_playwright() as driver:
        for _ in range(repeats):
            browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
            view = browser.new_page(viewport={"width": 1280, "height": 800})
            view.goto(page.resolve().as_uri())
            paints = {name: value / 1000 for name, value in view.evaluate(_PAINT).items()}
            started = time.perf_counter()
            view.locator("#explore").scroll_into_view_if_needed()
            view.wait_for_selector("#explore[data-drawn]", timeout=120_000)
            measured.append(paints | {"explored": time.perf_counter() - started})
            browser.close()
    return {name: statistics.median(one[name] for one in measured) for name in measured[0]}
