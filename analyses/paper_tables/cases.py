"""The cases of the paper's Tables 1 and 2, with the errors that it reports after training."""

from __future__ import annotations

from dataclasses import dataclass, replace

FAIL = "fail"
"""The paper's word for an error above 20 %."""


@dataclass(frozen=True)
class Case:
    """One cell of a table: a network, and the paper's test error on CIFAR-10.

    Attributes:
        table: 1 or 2.
        title: the case, as the paper names it.
        model: name in the zoo.
        shortcut: variant of Table 1.
        activation: variant of Table 2; None is the family's own.
        error: in percent, the median of five trained networks, or `FAIL`; empty if the paper has none.
    """

    table: int
    title: str
    model: str
    error: str
    shortcut: str = "identity"
    activation: str | None = None

    @property
    def name(self) -> str:
        """A name that tells the case from all others of its table."""
        return f"{self.model} {self.activation or self.shortcut}"

    def at_depth(self, depth: int | None) -> Case:
        """Return the case in a network of `depth` layers, for a trial; as it is for None."""
        return self if depth is None else replace(self, model=f"resnet{depth}")


def _table1() -> list[Case]:
    rows = [
        ("original", "identity", "6.61"),
        ("scale 0, F 1 (plain)", "none", FAIL),
        ("scale ½, F 1", "scale:0.5", FAIL),
        ("scale ½, F ½", "scale:0.5,0.5", "12.35"),
        ("exclusive gate, b_g 0", "gate:exclusive,0", FAIL),
        ("exclusive gate, b_g −5", "gate:exclusive,-5", FAIL),
        ("exclusive gate, b_g −6", "gate:exclusive,-6", "8.70"),
        ("exclusive gate, b_g −7", "gate:exclusive,-7", "9.81"),
        ("shortcut-only gate, b_g 0", "gate:shortcut,0", "12.86"),
        ("shortcut-only gate, b_g −6", "gate:shortcut,-6", "6.91"),
        ("1×1 convolution", "conv", "12.22"),
        ("dropout ½ (unscaled, as the paper's)", "dropout:0.5,unscaled", FAIL),
        ("dropout ½ (rescaled, as torch's)", "dropout:0.5", ""),
    ]
    return [Case(1, title, "resnet110", error, shortcut=shortcut) for title, shortcut, error in rows]


def _table2() -> list[Case]:
    rows = [
        ("original", "original", ("6.61", "5.93")),
        ("BN after addition", "bn-after", ("8.17", "6.50")),
        ("ReLU before addition", "relu-before", ("7.84", "6.14")),
        ("ReLU-only pre-activation", "relu-only", ("6.71", "5.91")),
        ("full pre-activation", "full-preact", ("6.37", "5.46")),
    ]
    return [
        Case(2, title, model, error, activation=activation)
        for column, model in enumerate(("resnet110", "resnet164"))
        for title, activation, errors in rows
        for error in (errors[column],)
    ]


CASES = (*_table1(), *_table2())
