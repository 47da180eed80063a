"""Depth: from the last unit back to the first, in networks of up to a thousand layers."""

from __future__ import annotations

from gradflow.report.story.naming import FAMILIES
from gradflow.report.story.parts import Numbers, Part, Picture
from gradflow.report.story.sources import Analysis
from gradflow.report.story.values import Sheet, Value, count, divide, times

_BN = "batch"


def measure(analysis: Analysis) -> Numbers:
    """Return the ratio of the first unit's gradient to the last one's, by family and depth."""
    keys = ("depth", "unit", "seeds")
    sheet = analysis.table("numbers.csv", text=("network", "bn"), numbers=("grad_in_norm",), keys=keys)
    batch = sheet.where(sheet.frame["bn"] == _BN)
    if batch.frame.empty:
        raise analysis.damaged("numbers.csv", f"no row of BN mode '{_BN}'")
    pairs = batch.frame[["network", "depth"]].drop_duplicates()
    ratios = {
        (network, int(depth)): _ratio(batch, network, int(depth))
        for network, depth in zip(pairs["network"], pairs["depth"], strict=True)
    }
    families = list(dict.fromkeys(network for network, _ in ratios))
    depths = sorted({depth for _, depth in ratios})
    deepest = {family: max(depth for network, depth in ratios if network == family) for family in families}
    larger = sum(value.number > 1 for value in ratios.values())
    return {
        "families": [FAMILIES.get(family, family) for family in families],
        "rows": [(depth, [ratios.get((family, depth)) for family in families]) for depth in depths],
        "networks": batch.value("networks", len(ratios), count),
        "larger": batch.value("networks whose first grad_in_norm is above their last", larger, count),
        "deepest": [
            (FAMILIES.get(family, family), depth, ratios[family, depth]) for family, depth in deepest.items()
        ],
        "seeds": _seeds(batch),
        "kinds": _kinds(analysis),
    }


def _ratio(sheet: Sheet, network: str, depth: int) -> Value:
    mine = sheet.frame[(sheet.frame["network"] == network) & (sheet.frame["depth"] == depth)]
    norms = mine.sort_values("unit")["grad_in_norm"]
    how = f"first over last grad_in_norm of {network}{depth}, BN {_BN}"
    return sheet.value(how, divide(norms.iloc[0], norms.iloc[-1]), times)


def _kinds(analysis: Analysis) -> list[tuple[str, str]]:
    """Return each kind of unit with the depths of the networks that have it."""
    frame = analysis.table("predictions.csv", text=("depth", "kind")).frame
    kinds: dict[str, set[int]] = {}
    for depth, kind in zip(frame["depth"], frame["kind"], strict=True):
        if depth.isdigit() and kind:  # some rows are about several depths at once
            kinds.setdefault(kind, set()).add(int(depth))
    return [(kind, ", ".join(map(str, sorted(depths)))) for kind, depths in kinds.items()]


def _seeds(sheet: Sheet) -> Value:
    least, most = sheet.frame["seeds"].min(), sheet.frame["seeds"].max()
    text = count(most) if least == most else f"{count(least)} to {count(most)}"
    return Value(most, text, sheet.key, sheet.file, "least and largest seeds")


PART = Part(
    "initial_gradients",
    "part_depth.html.j2",
    measure,
    (
        Picture(
            "gradient-norm-by-depth",
            "gradient norm by unit in pre-activation, post-activation and plain networks of several depths",
            "Gradient norm at each unit’s input over the last unit’s, the input at the left. Bands are 95 % "
            "intervals "
            "over seeds. The last panel has first unit over last, in decades. Peaks are where a stage ends.",
        ),
        Picture(
            "plain-networks",
            "decades of gradient norm against convolutions in plain networks, and growth a convolution by "
            "stage",
            "Networks without shortcuts. Left, decades against convolutions passed; a straight line is an "
            "exponential. "
            "Right, growth a convolution in each stage, beside the predictions.",
        ),
        Picture(
            "shares-and-gains",
            "the branch’s share of the signal by unit with the prediction, and the gradient’s gain a unit "
            "by depth",
            "Left and middle, the branch’s share of the signal after each stage’s first unit, with De & "
            "Smith’s "
            "prediction dashed. Right, what the median unit multiplies the gradient norm by.",
        ),
    ),
)
"""The part on depth."""
