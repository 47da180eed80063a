"""When a training run is to end early: Ctrl-C, a request of the system, or a limit on time."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether and why to stop; called after every step.

    Args:
        minutes: a limit on time, or None.
    """

    def __init__(self, minutes: float | None) -> None:
        self._deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.asked = False

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self.asked or (self._deadline is not None and time.monotonic() >= self._deadline)

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal; a second one does not wait for the step to end.

        Raises:
            KeyboardInterrupt: on the second.
        """
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def stoppable(minutes: float | None) -> Iterator[Stop]:
    """Take SIGINT and SIGTERM as wishes to end after the step at hand, while the context is open.

    Yields:
        what is to be asked after every step.
    """
    stop = Stop(minutes)
    if threading.current_thread() is not threading.main_thread():  # only there can signals be taken
        yield stop
        return
    former = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
