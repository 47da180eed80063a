"""What each kind of failure is turned into."""

from __future__ import annotations

import errno

import pytest

from gradflow.cli.failures import describe_failure
from gradflow.errors import DataError


def test_gradflow_errors_are_one_line() -> None:
    """The library's message is kept; line breaks in it are not."""
    failure = describe_failure(DataError("no image\n  in cats; add some"))
    assert failure is not None
    assert (failure.status, failure.message) == (2, "error: no image in cats; add some")


def test_missing_dependency_is_explained() -> None:
    """A module that cannot be imported is named, with how to install it."""
    failure = describe_failure(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert failure is not None
    assert failure.status == 2
    assert "torch cannot be imported" in failure.message


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
)
def test_exhausted_memory_says_what_to_lower(error: Exception) -> None:
    """Running out of memory is answered with what makes it less."""
    failure = describe_failure(error)
    assert failure is not None
    assert "lower --batch-size" in failure.message


def test_full_disk_names_the_file() -> None:
    """A full disk says which file could not be written."""
    failure = describe_failure(OSError(errno.ENOSPC, "No space left on device", "reports/index.html"))
    assert failure is not None
    assert failure.message == "error: cannot use reports/index.html: No space left on device"


def test_a_path_that_is_too_long_is_no_traceback() -> None:
    """What the operating system refuses is one line, and repeats a path of 300 letters in part only."""
    failure = describe_failure(OSError(errno.ENAMETOOLONG, "File name too long", "a" * 300))
    assert failure is not None
    assert failure.status == 2
    assert failure.message.endswith("…: File name too long")
    assert len(failure.message) < 200


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2"), OSError("no number"), KeyError("x")])
def test_defects_are_not_explained_away(error: Exception) -> None:
    """What is not known to be bad input keeps its traceback."""
    assert describe_failure(error) is None
