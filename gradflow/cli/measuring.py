"""What all measuring commands have in common: measure every seed and batch, and save one record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gradflow.cli.destinations import check_destination, save_record
from gradflow.cli.failures import is_out_of_memory
from gradflow.cli.messages import say, with_progress
from gradflow.cli.preparing import Measurement, measurements
from gradflow.cli.request import MeasurementRequest
from gradflow.errors import GradflowError, ProbeError
from gradflow.importing import describe

if TYPE_CHECKING:
    from gradflow.record import Record


def measure_and_show(
    request: MeasurementRequest,
    words: Sequence[str],
    doing: str,
    one_pass: Callable[[Measurement], Record],
    show: Callable[[Record, str], None],
) -> Record:
    """Measure every seed and batch with `one_pass`, save what was found as one record, and print it.

    Args:
        request: the options.
        words: the command line, for the record.
        doing: verb for messages, such as "probing".
        one_pass: makes the record of one batch.
        show: prints the record in the form that was asked for.
    """
    check_destination(request.out, force=request.force)
    with blaming(f"{doing} {request.spec}"):
        from gradflow.determinism import seeded
        from gradflow.record import Record

        count = len(request.all_seeds) * request.batches
        records = []
        for measurement in with_progress(measurements(request, words), count, f"{doing} {request.spec}"):
            with seeded(dropout_seed(measurement)):
                record = one_pass(measurement)
            record.meta["notes"] = [*record.meta["notes"], *measurement.notes]
            records.append(record)
        record = Record.concat(records)
    place = save_record(record, request.spec, request.out, force=request.force)
    show(record, request.form)
    say(f"saved to {place}; next: gradflow report")
    return record


def dropout_seed(measurement: Measurement) -> int:
    """Return a seed for what a network draws while it runs: another one for each seed and batch."""
    return measurement.seed + 1_000_003 * int(measurement.meta["batch_index"])


@contextmanager
def blaming(doing: str) -> Iterator[None]:
    """Turn what a user's model, data or loss raises into a `ProbeError` with the exception in it.

    To whoever calls from the command line they are bad input like any other.

    Raises:
        GradflowError: gradflow's own errors pass.
        MemoryError: exhausted memory passes, too.
        ProbeError: instead of any other exception.
    """
    try:
        yield
    except (GradflowError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, ImportError) or is_out_of_memory(error):
            raise
        raise ProbeError(
            f"{doing} raised {describe(error)}; do --input-shape, --num-classes and --loss fit? "
            "(GRADFLOW_TRACEBACK=1 shows where)"
        ) from error
