"""Equations 3, 4 and 5 on real networks: where they must hold, where not, and on which spans."""

from __future__ import annotations

import cases
import pandas as pd
import pytest
import torch
from left_alone import Snapshot
from small_networks import Chain, labels, rows, seeded

from gradflow import build_model, check, probe
from gradflow.equations import unit_statements
from gradflow.equations.evaluation import evaluate
from gradflow.errors import ProbeError
from gradflow.probing.capture import captured
from gradflow.record.schema import CHECKS
from gradflow.tolerances import UNIT_ROUNDOFF

PREACT20, PREACT29, RESNET20, RESNET29 = cases.ZOO


def checks_of(case: cases.Case, **options) -> pd.DataFrame:
    """Return the table of checks of a model of the table."""
    return check(case.build(), case.inputs(), case.targets(), **options).checks


@cases.each([PREACT20, PREACT29])
@pytest.mark.parametrize("bn", ["batch", "running", "frozen"])
def test_equations_hold_on_preactivation_networks(case: cases.Case, bn: str) -> None:
    """On identity units every equation holds on every span, in float32 and in float64."""
    checks = checks_of(case, bn=bn)
    identity = checks[checks["expected_to_hold"]]
    assert set(identity["dtype"]) == {"float32", "float64"}
    assert set(zip(identity["equation"], identity["form"], strict=True)) == {
        *((number, "forward") for number in "123467"),
        *((number, form) for number in "58" for form in ("telescoped", "vjp")),
        ("8", "blocked"),
        ("9", "outputs"),
        ("9", "gradients"),
    }
    assert identity["holds"].all(), identity[~identity["holds"]].to_string()
    assert identity["finding"].isna().all()
    assert (identity["error"] <= identity["tolerance"]).all()


@cases.each([cases.GPT2])
def test_equations_hold_on_a_transformer(case: cases.Case) -> None:
    """Attention and MLP units of GPT-2 are of the form of eq. 3, all in one chain."""
    checks = checks_of(case)
    checks = checks[checks["equation"] != "9"]
    assert checks["expected_to_hold"].all()
    assert checks["holds"].all()
    assert (checks["span_end"] - checks["span_start"]).max() == 4


def test_equations_hold_where_branches_are_subtracted() -> None:
    """x − f(x) is of the form of eq. 3 with F = −f, and its numbers are those of x + F(x)."""
    model = seeded(lambda: Chain(lambda x, f: x - f(x)))
    checks = check(model, rows(), labels(), equations=["1", "3", "4", "5"]).checks
    assert checks["expected_to_hold"].all()
    assert checks["holds"].all(), checks[~checks["holds"]].to_string()
    assert (checks["span_end"] - checks["span_start"]).max() == 3


@cases.each([RESNET20, RESNET29, cases.RESNET18])
def test_post_activation_is_a_finding(case: cases.Case) -> None:
    """Where f is ReLU, the deviation is measured, far above rounding, and is no failure."""
    checks = checks_of(case, equations=["3", "4", "5"])
    checks = checks[~checks["form"].str.startswith("masked")]
    assert not checks["expected_to_hold"].any()
    measured = checks.dropna(subset=["error"])
    assert not measured["holds"].any()
    assert (measured["error"] > 100 * measured["tolerance"]).all()
    assert measured["finding"].str.contains("f is relu").all()


@cases.each([RESNET20, RESNET29, cases.RESNET18])
@pytest.mark.parametrize("bn", ["batch", "running", "frozen"])
def test_the_exact_form_holds_with_the_masks_in_place(case: cases.Case, bn: str) -> None:
    """Where f is ReLU, eq. 4 and 5 hold as soon as its masks are there, forward and backward."""
    checks = checks_of(case, equations=["4", "5", "8"], bn=bn)
    masked = checks[checks["form"].str.startswith("masked")]
    assert set(masked["form"]) == {"masked", "masked telescoped", "masked vjp", "masked blocked"}
    assert masked["expected_to_hold"].all()
    assert masked["holds"].all(), masked[~masked["holds"]].to_string()


@cases.each([PREACT20, PREACT29, RESNET20])
def test_eq_1_and_2_hold_everywhere(case: cases.Case) -> None:
    """Every unit adds up its operands, and hands on f of that, whatever h and f are."""
    checks = checks_of(case, equations=["1", "2"])
    assert len(checks) == 2 * 2 * 9
    assert checks["expected_to_hold"].all()
    assert checks["holds"].all(), checks[~checks["holds"]].to_string()


@cases.each([PREACT20, PREACT29])
def test_transitions_are_findings(case: cases.Case) -> None:
    """A unit that pads or projects is named as such; the one before it ends at its addition, and holds."""
    checks = checks_of(case, equations=["3"], dtypes=[torch.float64]).set_index("span_start")
    kind = "padding" if case is PREACT20 else "projection"
    for unit in (3, 6):
        assert not checks["expected_to_hold"][unit]
        assert not checks["holds"][unit]
        assert pd.isna(checks["error"][unit])
        assert checks["finding"][unit].startswith(f"h is a {kind} shortcut")
        assert "different shapes" in checks["finding"][unit]
        assert checks["holds"][unit - 1]


@cases.each([PREACT20, PREACT29])
def test_sums_reach_the_end_of_every_stage(case: cases.Case) -> None:
    """The activation that the next stage's first unit shares is that unit's: sums end at the addition."""
    checks = checks_of(case, dtypes=[torch.float64])
    for number, form in (("4", "forward"), ("5", "telescoped"), ("5", "vjp"), ("8", "blocked")):
        chosen = checks[(checks["equation"] == number) & (checks["form"] == form) & checks["holds"]]
        assert {3, 6, 9} <= set(chosen["span_end"])
    # Eq. 2 is about what the next unit reads, and there it is the activation.
    assert checks[checks["equation"] == "2"]["holds"].all()
    spoilt = case.build()
    with captured(spoilt, case.inputs(), case.targets()) as capture:
        capture.branches[2] = capture.branches[2] * 1.001
        found = pd.DataFrame(evaluate(capture, ["3", "4"], None, "float32"))
    failed = found[found["expected_to_hold"] & ~found["holds"]]
    assert set(zip(failed["equation"], failed["span_end"], strict=True)) == {("3", 3), ("4", 3)}


@pytest.mark.parametrize(
    ("shortcut", "words"),
    [
        ("scale:0.5", "scaled"),
        ("gate:shortcut,-1", "gated"),
        ("conv", "projection"),
        ("dropout:0.5", "dropout"),
    ],
)
def test_other_shortcuts_are_findings_of_eq_3(shortcut: str, words: str) -> None:
    """Where h is no identity, eq. 3 does not hold, and the finding says what h is."""
    model = build_model("preact14", width=4, shortcut=shortcut)
    checks = check(model, cases.images(2, 3, 8, 8)(), torch.tensor([1, 2]), equations="3").checks
    first = checks[checks["span_start"] == 0]
    assert not first["expected_to_hold"].any()
    assert not first["holds"].any()
    assert first["finding"].str.contains(f"h is a {words} shortcut").all()


@pytest.mark.parametrize("family", ["preact", "resnet"])
@pytest.mark.parametrize(
    "shortcut",
    [
        "scale:0.5",
        "scale:1.1",
        "scale:0.5,0.5",
        "gate:exclusive,-1",
        "gate:shortcut,-1",
        "conv",
        "dropout:0.5",
    ],
)
def test_eq_6_to_8_hold_with_every_shortcut(shortcut: str, family: str) -> None:
    """With λ, 1 − g(x), mask or 1×1 convolution in place, signal and gradient are what eq. 6 to 8 say."""
    model = build_model(f"{family}26", width=4, shortcut=shortcut)
    checks = check(model, cases.images(2, 3, 8, 8)(), torch.tensor([1, 2]), equations="678").checks
    expected = checks[checks["expected_to_hold"]]
    masked = "masked " if family == "resnet" else ""
    assert set(expected["form"]) >= {f"{masked}telescoped", f"{masked}vjp", f"{masked}blocked"}
    assert set(expected["equation"]) == ({"6", "7", "8"} if family == "preact" else {"7", "8"})
    assert expected["holds"].all(), expected[~expected["holds"]].to_string()
    assert (expected["span_end"] - expected["span_start"]).max() >= 3


@cases.each([PREACT20, PREACT29])
def test_eq_6_holds_where_the_shape_changes(case: cases.Case) -> None:
    """A transition's padding or projection is λ like any other: one unit needs no end of its own shape."""
    checks = checks_of(case, equations=["6"]).set_index("span_start")
    for unit in (3, 6):
        assert checks.loc[unit, "expected_to_hold"].all()
        assert checks.loc[unit, "holds"].all()


@pytest.mark.parametrize(("scale", "sums"), [(1.0, 3), (0.5, 6)])
def test_eq_3_and_6_are_one_sum_where_they_are_one(scale: float, sums: int, monkeypatch) -> None:
    """On identity units the sum is evaluated once for both, in any order of asking; with λ once for each."""
    real, evaluated = unit_statements.Flow.along, []

    def counting(self, start, ends):
        evaluated.append(start)
        return real(self, start, ends)

    monkeypatch.setattr(unit_statements.Flow, "along", counting)
    model = seeded(lambda: Chain(lambda x, f: x * scale + f(x) if scale != 1 else x + f(x)))
    checks = check(model, rows(), labels(), equations="36", dtypes=[torch.float64]).checks
    assert len(evaluated) == sums
    three, six = (checks[checks["equation"] == number].reset_index(drop=True) for number in "36")
    assert six["holds"].all()
    columns = ["span_start", "error", "tolerance", "holds", "expected_to_hold", "detectable"]
    assert three[columns].equals(six[columns]) == (scale == 1)
    alone = check(model, rows(), labels(), equations="6", dtypes=[torch.float64]).checks
    pd.testing.assert_frame_equal(alone, six, check_dtype=False)


def test_unscaled_dropout_is_held_too() -> None:
    """The paper's dropout multiplies by a mask of zeros and ones."""
    model = build_model("preact26", width=4, shortcut="dropout:0.5,unscaled")
    checks = check(model, cases.images(2, 3, 8, 8)(), torch.tensor([1, 2]), equations="8").checks
    expected = checks[checks["expected_to_hold"]]
    assert expected["holds"].all()
    assert len(expected) > 10


@pytest.mark.parametrize(
    ("equations", "named"), [(["10"], "10"), (["3", "0", "x"], "0, x"), ([], r"\(none was asked for\)")]
)
def test_unknown_equations_are_refused(equations: list[str], named: str) -> None:
    """The error names what is not there, and lists what is."""
    with pytest.raises(ProbeError, match=f"cannot check equation {named}; there are 1, 2, 3.*9, plain"):
        check(Chain(), rows(), labels(), equations=equations)


def test_no_dtype_is_refused() -> None:
    """An empty list of dtypes is told from the default, and is not taken for a lack of units."""
    with pytest.raises(ProbeError, match="there is no dtype to check in"):
        check(Chain(), rows(), labels(), dtypes=[])


def test_a_model_without_parameters_is_refused() -> None:
    """It has no dtype of its own, and is refused in the words of `probe`."""
    with pytest.raises(ProbeError, match="no parameter of Tanh needs a gradient"):
        check(torch.nn.Tanh(), rows(), loss=lambda outputs: outputs.sum())


def test_chosen_equations_alone() -> None:
    """Only the equations that are asked for are in the table, in either order of asking."""
    checks = check(Chain(), rows(), labels(), equations=("5", "3")).checks
    assert set(checks["equation"]) == {"3", "5"}


def test_dtypes() -> None:
    """The model's own dtype and float64 are checked, once each, or the dtypes that are asked for."""
    assert list(check(Chain(), rows(), labels()).checks["dtype"].unique()) == ["float32", "float64"]
    double = check(Chain().double(), rows(dtype=torch.float64), labels()).checks
    assert list(double["dtype"].unique()) == ["float64"]
    half = check(Chain(), rows(), labels(), dtypes=[torch.bfloat16], equations="12345678").checks
    assert list(half["dtype"].unique()) == ["bfloat16"]
    assert half["holds"].all()
    assert (half["error"] > 1e-5).any()  # and not float32 under another name


def test_errors_are_of_the_size_of_rounding() -> None:
    """The largest error is near, but below, the roundoff of the dtype in which the network ran."""
    checks = checks_of(PREACT20, equations=["1", "4", "5"])
    identity = checks[checks["expected_to_hold"] & (checks["form"] != "vjp")]
    for dtype, errors in identity.groupby("dtype")["error"]:
        assert UNIT_ROUNDOFF[dtype] / 100 < errors.max() < UNIT_ROUNDOFF[dtype]


def test_the_models_own_precision_is_used_for_targets_too() -> None:
    """Floating-point targets are cast with the model, so that the float64 pass is one."""
    targets = torch.randn(5, 3)
    checks = check(Chain(), rows(), targets, equations="12345678").checks
    assert checks["holds"].all()
    assert (checks[checks["dtype"] == "float64"]["error"] < 1e-15).all()


def test_the_record_is_that_of_a_probe() -> None:
    """Beside the checks the record has what `probe` measures, in the model's own dtype."""
    model = seeded(Chain)
    record = check(model, rows(), labels(), meta={"seeds": [4]})
    expected = probe(model, rows(), labels(), meta={"seeds": [4]})
    pd.testing.assert_frame_equal(record.units, expected.units)
    pd.testing.assert_frame_equal(record.parameters, expected.parameters)
    assert record.meta["dtype"] == "float32"
    assert set(record.checks["seed"]) == {4}
    assert record.checks.columns.tolist() == [column.name for column in CHECKS]


def test_model_and_parameters_are_as_before() -> None:
    """The float64 passes run on a copy: dtype, identity and bits of the parameters are unchanged."""
    model = PREACT20.build()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = Snapshot(model)
    check(model, PREACT20.inputs(), PREACT20.targets())
    before.assert_unchanged()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_names_may_come_from_a_generator() -> None:
    """`units` may be any iterable, though the model runs several times."""
    model = build_model("preact20", width=4)
    names = (f"stage1.{index}" for index in range(3))
    checks = check(model, PREACT20.inputs(), PREACT20.targets(), units=names).checks
    assert set(checks["span_end"]) == {1, 2, 3}


def test_named_blocks_are_findings() -> None:
    """A plain network's block has no shortcut, so eq. 3 is not about it, and that is said."""
    model = build_model("plain20", width=4)
    checks = check(model, PREACT20.inputs(), PREACT20.targets(), units=r"stage1\.\d", equations="3").checks
    assert not checks["expected_to_hold"].any()
    assert checks["finding"].str.contains("it has no shortcut").all()


def test_a_network_in_place_is_checked_on_copies() -> None:
    """Where an addition writes over its operand, values are kept as copies, and everything holds."""
    checks = check(Chain(lambda x, f: f(x).add_(x)), rows(), labels(), equations="1345").checks
    assert checks["holds"].all()
    assert checks["error"].notna().all()


def test_blocks_of_a_plain_network_are_a_product() -> None:
    """The gradient of a plain network is the product of its blocks' Jacobians; W alone is not its signal."""
    model = build_model("plain20", width=4)
    checks = check(
        model, PREACT20.inputs(), PREACT20.targets(), units=r"stage\d\.\d", equations=["plain"]
    ).checks
    jacobians = checks[checks["form"] == "jacobians"]
    assert len(jacobians) == 2 * 9
    assert jacobians["expected_to_hold"].all()
    assert jacobians["holds"].all()
    product = checks[checks["form"] == "product"]
    assert not product["expected_to_hold"].any()
    assert product["finding"].str.contains("BN and ReLU").all()


def test_samples_that_are_coupled_are_no_single_samples() -> None:
    """What is said of single samples is refused where batch statistics couple them, and checked elsewhere."""
    case = PREACT20
    with pytest.raises(ProbeError, match=r"bn='batch' lets batch normalisation couple.*take bn='frozen'"):
        checks_of(case, per_sample=True)
    checks = checks_of(case, per_sample=True, bn="frozen")
    expected = checks[checks["expected_to_hold"]]
    assert expected["holds"].all(), expected[~expected["holds"]].to_string()


def test_equation_9_compares_whole_tensors_also_where_samples_are_asked_for() -> None:
    """Its gradients are of parameters, which samples share; the others' errors are of the worst sample."""
    whole, single = (
        checks_of(PREACT20, equations="19", dtypes=[torch.float64], bn="frozen", per_sample=per_sample)
        for per_sample in (False, True)
    )
    nine = whole["equation"] == "9"
    assert nine.sum() == 2
    assert single[nine]["error"].tolist() == whole[nine]["error"].tolist()
    assert (single[~nine]["error"] >= whole[~nine]["error"]).all()
    assert (single[~nine]["error"] > whole[~nine]["error"]).any()


def test_a_network_without_batch_normalisation_couples_nothing() -> None:
    """Then single samples may be asked for in any mode."""
    checks = check(Chain(), rows(), labels(), per_sample=True, equations="345").checks
    assert checks["holds"].all()
