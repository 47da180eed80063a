"""`gradflow probe`: measure, save a record, print it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from gradflow.cli.failures import CHECK_FAILED
from gradflow.cli.options import measurement_options
from gradflow.cli.request import MeasurementRequest
from gradflow.errors import LimitError, NoResidualUnitError
from gradflow.importing import import_dependency

if TYPE_CHECKING:
    from gradflow.cli.preparing import Measurement
    from gradflow.findings import Limit
    from gradflow.record import Record


def read_conditions(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[Limit, ...]:
    """Read what to fail on, before anything is measured.

    Raises:
        BadParameter: if it is of no such form.
    """
    if value is None:
        return ()
    from gradflow.findings import read_limits

    try:
        return read_limits(value)
    except LimitError as error:
        raise click.BadParameter(str(error), ctx, param) from error


def require_measuring(*, self_test: bool, explain: bool) -> None:
    """Check that something is measured that limits can be about.

    Raises:
        UsageError: if --self-test or --explain takes the measurement's place.
    """
    if self_test or explain:
        raise click.UsageError("--fail-on is about what is measured; leave out --self-test and --explain")


@click.command("probe")
@measurement_options
@click.option(
    "--self-test",
    is_flag=True,
    help="Instead of measuring, check that hooks change nothing: loss and gradients, bit for bit.",
)
@click.option(
    "--explain",
    is_flag=True,
    help="Instead of measuring, say of each unit found where it forks, what its two paths hold, where they "
    "are added and why it is one, and of each addition passed over where it stands and why it is none.",
)
@click.option(
    "--fail-on",
    "limits",
    metavar="CONDITIONS",
    callback=read_conditions,
    help="Exit with status 1 if a unit meets one of these, such as 'decay_per_unit > 1.5 or nonfinite'; the "
    "names are decay_per_unit, growth_per_unit, shortcut_share, branch_share, survival and nonfinite.",
)
@click.option("--all-units", is_flag=True, help="A line a unit in the table, however many there are.")
@click.pass_context
def command(
    context: click.Context,
    /,
    all_units: bool,
    self_test: bool,
    explain: bool,
    limits: tuple[Limit, ...],
    **options: Any,
) -> int:
    """Measure how gradients flow through a network, unit by unit, and save a record.

    One forward and one backward pass; at every residual unit, what goes through the shortcut and
    what goes through the branch. The network is not edited. The table, of more than 60 units with a line a
    stage, is followed by the gradient norm over depth, drawn, and by what the numbers mean, in words.

    \b
      gradflow probe --model preact164
      gradflow probe --model preact164 --checkpoint ckpt.pt
      gradflow probe --model resnet110 --seeds 0-9 --out runs/resnet110-untrained
      gradflow probe --model torchvision:resnet50 --input-shape 3,224,224 --num-classes 1000
      gradflow probe --model mynets:build --data mydata:batches --loss mylosses:smoothed
      gradflow probe --model preact164 --fail-on 'decay_per_unit > 1.5 or shortcut_share < 0.1'
    """  # noqa: D301 - the backspace is click's mark for "keep these lines as they are"
    request = MeasurementRequest(**options)
    if limits:
        require_measuring(self_test=self_test, explain=explain)
    import_dependency("torch")
    words: tuple[str, ...] = context.find_root().obj or ()
    if explain:
        return explain_units(request, words)
    if self_test:
        return run_self_test(request, words)
    return save_and_print(request, words, limits, all_units=all_units)


def save_and_print(
    request: MeasurementRequest, words: tuple[str, ...], limits: tuple[Limit, ...], *, all_units: bool
) -> int:
    """Measure every seed and batch, save one record, print it, and hold it to `limits`; return the status."""
    from gradflow.cli.measuring import measure_and_show
    from gradflow.cli.messages import say
    from gradflow.cli.printing import print_units

    def one_pass(one: Measurement) -> Record:
        from gradflow.probing import probe

        return one.by(probe)

    record = measure_and_show(request, words, "probing", one_pass, partial(print_units, folded=not all_units))
    if not limits:
        return 0
    from gradflow.findings import find_violations

    violations = find_violations(record, limits)
    for violation in violations:
        say(f"failed: {violation}")
    return CHECK_FAILED if violations else 0


def explain_units(request: MeasurementRequest, words: tuple[str, ...]) -> int:
    """Print the units of the network and what was passed over, with the reasons; return the exit status.

    Raises:
        NoResidualUnitError: after what was passed over is printed, if there is no unit.
    """
    from gradflow.cli.explaining import print_explanations
    from gradflow.cli.measuring import blaming
    from gradflow.cli.preparing import measurements

    with blaming(f"finding the units of {request.spec}"):
        from gradflow.units import FoundUnits, find_units

        one = next(measurements(request, words))
        try:
            found = find_units(one.model, one.inputs, units=request.units)
        except NoResidualUnitError as error:
            print_explanations(FoundUnits([], error.passed_over), request.form)
            raise
    print_explanations(found, request.form)
    return 0


def run_self_test(request: MeasurementRequest, words: tuple[str, ...]) -> int:
    """Run the self-test on the first batch and print its lines; return the exit status."""
    from gradflow.cli.measuring import blaming
    from gradflow.cli.preparing import measurements
    from gradflow.cli.printing import print_json

    with blaming(f"the self-test on {request.spec}"):
        from gradflow.probing import self_test

        one = next(measurements(request, words))
        result = self_test(
            one.model, one.inputs, one.targets, loss=one.loss, bn=request.bn, units=request.units
        )
    if request.form == "json":
        print_json({"self_test": {"passed": result.passed, "lines": result.lines}})
    else:
        for line in result.lines:
            click.echo(line)
    return 0 if result.passed else CHECK_FAILED
