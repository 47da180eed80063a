"""Pages that a browser has opened, and records to make pages of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from _records import make_record

from gradflow.record import Record

ITERATIONS = (0, 100, 300, 400)
EVIL = "</script><script>window.ran = 1</script><img src=x onerror='window.ran = 1'>&lt;b&gt;"


def training_record(name: str = "preact", **options: Any) -> Record:
    """Return the record of a training run whose gradients differ from iteration to iteration."""
    made = [make_record(name, stages=(3, 3), iteration=one, growth=1.1, **options) for one in ITERATIONS]
    units = pd.concat([record.units for record in made], ignore_index=True)
    steps = pd.DataFrame({"iteration": np.arange(1, 401), "loss": 2.0, "error": 0.5, "learning_rate": 0.1})
    checkpoint = {"name": "newest.pt", "sha256": "ab" * 32, "iteration": ITERATIONS[-1]}
    meta = made[0].meta | {"checkpoint": checkpoint}
    return Record(units, made[-1].parameters, made[-1].checks, steps, meta=meta)


@dataclass
class Opened:
    """A page, and what it did that it should not."""

    page: Any
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def explore(self) -> Any:
        """Scroll to the interactive view and wait until its charts are drawn."""
        self.page.locator("#explore").scroll_into_view_if_needed()
        self.page.wait_for_selector("#explore[data-drawn]")
        return self.page

    def column(self, number: int) -> list[str]:
        """Return what one column of the table of units says."""
        return list(self.page.locator(f"#explore-rows td:nth-child({number + 1})").all_inner_texts())


Open = Callable[..., Opened]
