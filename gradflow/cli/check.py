"""`gradflow check`: equations 1 to 9 on a network, saved in its record."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from gradflow.cli.failures import CHECK_FAILED
from gradflow.cli.messages import say
from gradflow.cli.options import measurement_options
from gradflow.cli.request import MeasurementRequest
from gradflow.importing import import_dependency

if TYPE_CHECKING:
    from gradflow.cli.preparing import Measurement
    from gradflow.record import Record

EQUATIONS = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "plain")


def read_equations(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    """Read `3,4,5`: numbers of the paper's equations, in its order, each once.

    Raises:
        BadParameter: if one is not among those that are checked.
    """
    wanted = {part.strip() for part in value.split(",")}
    for unknown in sorted(wanted - set(EQUATIONS)):
        expected = ", ".join(EQUATIONS)
        raise click.BadParameter(
            f"equation '{unknown}' is not checked; expected some of {expected}", ctx, param
        )
    return tuple(number for number in EQUATIONS if number in wanted)


def read_spans(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[tuple[int, int], ...] | None:
    """Read `0-5,3-9`: spans from unit l to x_L as pairs (l, L).

    Raises:
        BadParameter: if one is no pair, or does not have l < L.
    """
    if value is None:
        return None
    spans = []
    for part in value.split(","):
        ends = re.fullmatch(r"(\d{1,9})-(\d{1,9})", part.strip())
        if ends is None or not int(ends[1]) < int(ends[2]):
            raise click.BadParameter(
                f"'{part}' is no span; expected l-L with l < L, such as 0-5,3-9", ctx, param
            )
        spans.append((int(ends[1]), int(ends[2])))
    return tuple(spans)


@click.command("check")
@measurement_options
@click.option(
    "--equations",
    metavar="LIST",
    callback=read_equations,
    default=",".join(EQUATIONS),
    show_default=True,
    help="Which equations of He et al. 2016; plain is the product of a plain network's blocks (--units).",
)
@click.option(
    "--spans",
    metavar="LIST",
    callback=read_spans,
    help="Spans l-L of unit numbers, such as 0-5,3-9; l-(l+1) may be any unit. Equation 9 is left out. "
    "[default: each unit, and from and to stages' ends]",
)
@click.option(
    "--per-sample",
    is_flag=True,
    help="Hold each sample to the tolerance; needs --bn frozen (untrained) or running (trained). Equation 9 "
    "compares whole tensors all the same.",
)
@click.pass_context
def command(
    context: click.Context,
    /,
    equations: tuple[str, ...],
    spans: tuple[tuple[int, int], ...] | None,
    per_sample: bool,
    **options: Any,
) -> int:
    """Check equations 1 to 9 of He et al. 2016 on a network, in float64 and in --dtype.

    Where a network is not of an equation's form (post-activation, a projection), the deviation
    is shown as a finding; with the ReLU masks or the shortcuts' factors in place it must hold.
    The exit status is 1 if a check failed that was expected to hold, and a parameter or a loss that
    is not finite fails every check.

    \b
      gradflow check --model preact164
      gradflow check --model resnet110 --equations 4,5 --format json
      gradflow check --model preact110 --shortcut scale:0.5 --equations 8
      gradflow check --model plain20 --units 'stage[1-3].[0-9]+' --equations plain
    """  # noqa: D301 - the backspace is click's mark for "keep these lines as they are"
    request = MeasurementRequest(**options)
    import_dependency("torch")
    words: tuple[str, ...] = context.find_root().obj or ()
    from gradflow.cli.measuring import measure_and_show
    from gradflow.cli.printing import print_checks
    from gradflow.cli.tables import failed_checks
    from gradflow.equations.finiteness import NO_CHECK_HOLDS
    from gradflow.equations.verdicts import NOTHING_TO_COMPARE

    def one_pass(one: Measurement) -> Record:
        from gradflow.equations import check

        return one.by(check, equations=equations, spans=spans, per_sample=per_sample)

    record = measure_and_show(request, words, "checking", one_pass, print_checks)
    for item in record.meta["skipped"]:
        if item["what"].startswith("equation"):
            say(f"{item['what']} skipped: {item['why']}")
    for note in record.meta["notes"]:
        if note.endswith(NO_CHECK_HOLDS):
            say(note)
    as_written = ~record.checks["form"].str.startswith("masked")
    identities = record.checks[record.checks["equation"].isin(["3", "4", "5"]) & as_written]
    if len(identities) and not identities["expected_to_hold"].any():
        say("in no unit are both h and f identities: equations 3 to 5, where not masked, need not hold here")
    empty = int(record.checks["finding"].str.contains(NOTHING_TO_COMPARE, regex=False).sum())
    if empty:
        say(
            f"in {empty} of {len(record.checks)} checks every term was zero: there was nothing to compare, "
            "and they neither hold nor fail"
        )
    failed = len(failed_checks(record.checks))
    if failed:
        say(f"{failed} of {len(record.checks)} checks were expected to hold and did not")
    return CHECK_FAILED if failed else 0
