"""What looking costs, from the benchmarks."""

from __future__ import annotations

from gradflow.report.story.parts import Numbers, Part
from gradflow.report.story.sources import Analysis, read_json
from gradflow.report.story.values import Value, times
from gradflow.wording import format_number

_FILE = "numbers.json"


def gibibytes(mebibytes: float) -> str:
    """Return a size in MiB as one in GiB."""
    return f"{format_number(mebibytes / 1024)}\u00a0GiB"


def measure_probe(analysis: Analysis) -> Numbers:
    """Return a probe's time and memory over a plain pass's."""
    return {
        "time": analysis.number(_FILE, "time", "ratio").shown(times),
        "memory": analysis.number(_FILE, "memory", "ratio").shown(times),
        "depth": analysis.number(_FILE, "depth", "ratio_of_ratios").shown(times),
        "peak": analysis.number(_FILE, "depth", "command_peak_MiB").shown(gibibytes),
    }


def measure_check(analysis: Analysis) -> Numbers:
    """Return a check's time over a plain pass's, and its memory."""
    return {
        "time": analysis.number(_FILE, "time", "ratio").shown(times),
        "peak": analysis.number(_FILE, "memory_MiB").shown(gibibytes),
    }


def measure_training(analysis: Analysis) -> Numbers:
    """Return a training step's time over others'."""
    return {
        "written": analysis.number(_FILE, "step", "to_hand_written", "median").shown(times),
        "public": analysis.number(_FILE, "step", "to_public", "median").shown(times),
    }


def measure_jacobian(analysis: Analysis) -> Numbers:
    """Return the peak memory for singular values of a branch over a plain pass's, least and most.

    Raises:
        RecordError: if no unit was measured.
    """
    peaks = read_json(analysis, _FILE).get("peak_MiB")
    if not isinstance(peaks, dict) or not set(peaks) - {"plain"}:
        raise analysis.damaged(_FILE, "no unit under 'peak_MiB'")
    plain = analysis.number(_FILE, "peak_MiB", "plain").number
    ratios = [analysis.number(_FILE, "peak_MiB", unit).number / plain for unit in peaks if unit != "plain"]
    key = analysis.source.key
    return {
        "least": Value.of(key, _FILE, "least peak_MiB of a unit over the plain pass’s", min(ratios), times),
        "most": Value.of(key, _FILE, "largest peak_MiB of a unit over the plain pass’s", max(ratios), times),
    }


PARTS = (
    Part("probe_benchmark", "part_probe_cost.html.j2", measure_probe),
    Part("check_benchmark", "part_check_cost.html.j2", measure_check),
    Part("training_benchmark", "part_training_cost.html.j2", measure_training),
    Part("jacobian_benchmark", "part_jacobian_cost.html.j2", measure_jacobian),
)
"""The parts on cost."""
