"""Running compiled code uncompiled for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


class _Holders:
    """Those who want it now. They may leave in another order than they came in."""

    count = 0
    stance = ExitStack()


@contextmanager
def uncompiled() -> Iterator[None]:
    """Have what `torch.compile` made run as it was written, as long as one such context is open.

    Compiled code takes no notice of hooks that came after it was compiled.
    """
    if _Holders.count == 0:
        _Holders.stance.enter_context(torch.compiler.set_stance("force_eager"))
    _Holders.count += 1
    try:
        yield
    finally:
        _Holders.count -= 1
        if _Holders.count == 0:
            _Holders.stance.close()
