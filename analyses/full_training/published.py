"""The runs of the paper's tables on CIFAR, with what was published of each.

Paper: He et al. 2016 (arXiv:1603.05027), Tables 1 to 3, test error in percent, medians of five runs;
`fail` is its word for an error above 20 %. Public: what the authors of PyTorch re-implementations
state in their README for the same network on CIFAR-10.
"""

from __future__ import annotations

from dataclasses import dataclass

FAIL = "fail"

JUNYUSEU = "junyuseu/pytorch-cifar-models"
HYSTS = "hysts/pytorch_image_classification"
AKAMASTER = "akamaster/pytorch_resnet_cifar10"
SLIMMING = "Eric-mingjie/network-slimming"


@dataclass(frozen=True)
class Entry:
    """One run of the queue.

    Attributes:
        name: of its directory.
        options: of `gradflow train`, beside recipe, data and directory.
        table: where the paper has it.
        paper: its test error there, in percent or `FAIL`.
        public: test error in percent, by repository.
    """

    name: str
    options: tuple[str, ...]
    table: str
    paper: float | str
    public: tuple[tuple[str, float], ...] = ()


def _network(name: str, table: str, paper: float, *public: tuple[str, float]) -> Entry:
    return Entry(name, ("--model", name), table, paper, public)


def _activation(depth: int, kind: str, paper: float) -> Entry:
    return Entry(
        f"resnet{depth}-{kind}", ("--model", f"resnet{depth}", "--activation", kind), "Table 2", paper
    )


def _shortcut(name: str, kind: str, paper: float | str) -> Entry:
    return Entry(f"resnet110-{name}", ("--model", "resnet110", "--shortcut", kind), "Table 1", paper)


QUEUE = (
    _network("preact164", "Tables 2 and 3", 5.46, (JUNYUSEU, 5.35), (SLIMMING, 5.25)),
    _network("resnet164", "Tables 2 and 3", 5.93, (JUNYUSEU, 5.84)),
    _activation(164, "bn-after", 6.50),
    _activation(164, "relu-before", 6.14),
    _activation(164, "relu-only", 5.91),
    _network("preact110", "Tables 2 and 3", 6.37, (JUNYUSEU, 6.13), (HYSTS, 6.47)),
    _network("resnet110", "Tables 1 to 3", 6.61, (JUNYUSEU, 6.13), (HYSTS, 6.52), (AKAMASTER, 6.32)),
    _activation(110, "bn-after", 8.17),
    _activation(110, "relu-before", 7.84),
    _activation(110, "relu-only", 6.71),
    _shortcut("plain", "none", FAIL),
    _shortcut("scale-half", "scale:0.5", FAIL),
    _shortcut("scale-both", "scale:0.5,0.5", 12.35),
    _shortcut("exclusive-gate-0", "gate:exclusive,0", FAIL),
    _shortcut("exclusive-gate-6", "gate:exclusive,-6", 8.70),
    _shortcut("exclusive-gate-7", "gate:exclusive,-7", 9.81),
    _shortcut("shortcut-gate-0", "gate:shortcut,0", 12.86),
    _shortcut("shortcut-gate-6", "gate:shortcut,-6", 6.91),
    _shortcut("conv", "conv", 12.22),
    _shortcut("dropout", "dropout:0.5", FAIL),
    _network("preact1001", "Table 3", 4.92, (JUNYUSEU, 5.13)),
    _network("resnet1001", "Table 3", 7.61, (JUNYUSEU, 11.27)),
)
"""In the order in which they are run."""
