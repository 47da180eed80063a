"""The table of architectures as a page of the documentation."""

from __future__ import annotations

from architectures import FAMILIES
from architectures.row import Architecture, Kinds

_BEGINNING = """\
# Architectures

Generated from the table that the tests run on. For each architecture the number and kinds of residual
units were written down by reading its source; the tests insist that `gradflow.find_units` finds just
these, in the network that is named here (built without weights, on the meta device) and in a small one,
and that the probe's numbers in the small one are those of plain differentiation in float64.

A unit is named by its shortcut: `identity`, `projection`, `padding`, `scaled`, `gated`, `dropout` or
`other`. The last column says which other additions there are and why they are passed over, and in bold
what is residual and not measured. `gradflow probe --explain` says the same of your network, with the
line of each addition.

What is a unit, in short: two paths lead from one value x_l to an addition. One, the branch, passes
parameters or weights of its own and may read other values from before x_l (a context that it attends to,
a bias that layers share). The other, the shortcut, has a way of its own from x_l, with at most a
projection, scale, gate, dropout or padding on it. How a weight is computed from parameters (weight or
spectral normalisation, low-rank forms) is on no path. x_l − F(x_l) is a unit whose branch is −F, if F
multiplies by a weight. Nothing of this depends on the precision that a network runs in. These are none:
sums without parameters (GELU's inner terms, rotary positions), sums of tensors that have no origin in
common (embeddings), sums of two branches, normalisations (which scale and shift), coupled streams
(reversible networks), and recurrences (the weights that made x_l once more, with another input). A step
of a recurrence whose state begins as a function of the input is found: it is the first, and nothing has
recurred yet.

**Beside a projection the branch must be more than linear.** *W x + V x = (W + V) x*: two linear maps are
one, and neither is a shortcut around anything. So parallel convolutions that are merged after training,
low-rank adapters (LoRA), logits of relative positions and the two heads of a dueling network are no
units. Convolutions, matrix products with weights, batch normalisation (whose statistics, once held, make
it a scale and a shift that a convolution takes up), averaging, dropout, padding and sums are linear;
activations, softmax, max-pooling and other normalisations are not. Two linear maps are a unit if one of
them is *x* itself, padded, scaled or normalised (He et al. 2016 have units of one layer), or if the
weights of one, and not of the other, belong to a module whose name has the word `shortcut`, `downsample`,
`skip` or `residual` in it: a one-layer unit with a 1×1 convolution on its shortcut is the same graph as a
RepVGG block, and what its author calls it is all that tells them apart. Also told apart are a mean plus a
standard deviation times noise (VAE), a product of two values in the shorter operand (FiLM), and a feature
pyramid's lateral sums, in which the longer operand ends by coming back from a coarser resolution.

**What the graph alone cannot tell.** A linear model beside a deep one (*w(x) + mlp(x)*, wide and deep), a
head of one layer and a head of more layers on one tensor, and a pyramid whose levels are of one size are
written just as a unit with a projection is, and are found as one. `--explain` says what each decision was
based on: what in the branch is not linear in x_l, and whether another unit ends where this one starts or
starts where it ends. Where none does, look at the line of the addition; `--units` keeps the modules that
you name, and no others.

**What is said and not measured.** A unit that combines x_l and F(x_l) with `torch.lerp`, `torch.addcmul`,
`torch.addcdiv`, `torch.addmm` and its like, `torch.rsub`, a sum or mean over `torch.stack`,
`torch._foreach_add`, a sum in which one operand is broadcast, a product *x (1 + F(x))* or a difference
other than *x − F(x)* is not measured; where it stands is said, with the reason, if F is no longer than
500 operations. So it is with a TorchScript function that adds two tensors, about which no more can be
known. Other functions of two tensors (`torch.einsum` of a stack, a sum inside an autograd `Function` or
an extension in another language) are not looked into. Under `torch.nn.utils.parametrize.cached()` weights
are older than x_l, and projections with such weights are missed.
"""


def architectures_markdown() -> str:
    """Return the page."""
    lines = [_BEGINNING]
    for family, rows in FAMILIES.items():
        lines += [
            f"## {family}",
            "",
            "| Architecture | Units | How they are counted | Other additions |",
            "|---|---|---|---|",
            *map(_row, rows),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _row(row: Architecture) -> str:
    counted = (
        f"`{row.full.name}`: {_kinds(row.full.units)}" if row.full else f"{_kinds(_shortcuts(row.units))}"
    )
    if row.full is None and row.units:
        counted += " (in the small one)"
    other = "; ".join(row.passed_over)
    if row.unsupported:
        other += f". **Not measured: {row.unsupported}**"
    cells = (f"{row.name}<br>`{row.source}`", counted, row.how, other)
    return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"


def _kinds(units: Kinds) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in units.items()) or "none"


def _shortcuts(units: Kinds) -> Kinds:
    """Return how many units there are of each shortcut, whatever follows them."""
    found: dict[str, int] = {}
    for kind, count in units.items():
        shortcut = kind.partition(">")[0]
        found[shortcut] = found.get(shortcut, 0) + count
    return found
