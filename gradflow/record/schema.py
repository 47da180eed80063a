"""The columns of a record's tables: name, type, unit and meaning of each.

This is the waist of gradflow: probing writes these columns, and statistics, plots and
reports read them. Everything that is written to disk passes `conform` first, so a
column that is not declared here cannot exist in a record.

Notation follows He et al. 2016 (arXiv:1603.05027): unit l computes
y_l = h(x_l) + F(x_l) and x_{l+1} = f(y_l); h is the shortcut, F the branch, E the loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd

from gradflow.errors import RecordError

SCHEMA_VERSION = 1
"""Version of the layout on disk. Raised whenever a reader of the old one would misread."""

Kind = Literal["int64", "float64", "string", "bool"]

_PANDAS_DTYPES: dict[Kind, Any] = {
    "int64": pd.Int64Dtype(),
    "float64": np.dtype("float64"),
    "string": pd.StringDtype(),
    "bool": pd.BooleanDtype(),
}


@dataclass(frozen=True)
class Column:
    """One column: `kind` is its type, `unit` what one step of it means, `meaning` its definition."""

    name: str
    kind: Kind
    unit: str
    meaning: str


QUANTILES: dict[str, float] = {"min": 0.0, "p05": 0.05, "p50": 0.5, "p95": 0.95, "max": 1.0}
"""Suffixes of the per-sample columns and the quantile over the batch's samples each one is."""

_NORM = "Frobenius norm"
_GRAD = "Frobenius norm of a gradient of the loss"

KEYS = (
    Column("iteration", "int64", "training steps", "training iteration of the weights; 0 if unknown"),
    Column("seed", "int64", "", "seed that the weights (untrained) and the data order came from"),
    Column("batch_index", "int64", "", "which batch of the data source, from 0"),
)


def _per_sample(prefix: str, meaning: str) -> tuple[Column, ...]:
    return tuple(
        Column(f"{prefix}_{suffix}", "float64", "ratio", f"{meaning}; quantile {quantile} over samples")
        for suffix, quantile in QUANTILES.items()
    )


UNITS = (
    *KEYS,
    Column("unit", "int64", "", "0-based order of execution"),
    Column("name", "string", "", "qualified name of the module whose forward adds the two operands"),
    Column("stage", "int64", "", "index of the run of units with equal feature-map size and width"),
    Column(
        "shortcut",
        "string",
        "",
        "what h is: identity, projection, padding, scaled, gated, dropout, none or other",
    ),
    Column("post_activation", "string", "", "what f is: identity, relu, layer_norm, batch_norm+relu, …"),
    Column(
        "branch_start",
        "string",
        "",
        "operations from x_l to the branch's first weights, each named once: layer_norm+addmm, …; "
        "normalisation is one written out; null for a named block",
    ),
    Column(
        "branch_end",
        "string",
        "",
        "operations from the branch's last weight to the addition, likewise; mul_by_constant multiplies by "
        "what has no gradient, a mask or a number",
    ),
    Column(
        "head_start",
        "string",
        "",
        "operations from the last unit's y_l to the first weights behind it, or the loss, as branch_start; "
        "null for all other units",
    ),
    Column("batch", "int64", "samples", "batch size"),
    Column("numel", "int64", "elements", "elements of x_l, the whole batch"),
    Column("x_norm", "float64", _NORM, "‖x_l‖, the value at the fork"),
    Column("shortcut_norm", "float64", _NORM, "‖h(x_l)‖"),
    Column("branch_norm", "float64", _NORM, "‖F(x_l)‖"),
    Column("sum_norm", "float64", _NORM, "‖y_l‖"),
    Column("out_norm", "float64", _NORM, "‖x_{l+1}‖, read at the next unit's fork"),
    Column("forward_cosine", "float64", "cosine", "cos(h(x_l), F(x_l)) over the whole batch"),
    Column("grad_sum_norm", "float64", _GRAD, "‖∂E/∂y_l‖, what arrives at the addition from above"),
    Column("grad_out_norm", "float64", _GRAD, "‖∂E/∂x_{l+1}‖"),
    Column("grad_shortcut_norm", "float64", _GRAD, "‖s‖, s = (∂h/∂x)ᵀ ∂E/∂y: on through the shortcut"),
    Column("grad_branch_norm", "float64", _GRAD, "‖b‖, b = (∂F/∂x)ᵀ ∂E/∂y: on through the branch"),
    Column("grad_other_norm", "float64", _GRAD, "what reaches x_l from outside the unit; 0 in a chain"),
    Column("grad_in_norm", "float64", _GRAD, "‖∂E/∂x_l‖, the sum as autograd delivers it"),
    Column("backward_cosine", "float64", "cosine", "cos(s, b) over the whole batch"),
    *_per_sample("cancellation", "per sample ⟨b, s⟩ / ‖s‖²; −1 is full cancellation along s"),
    *_per_sample("survival", "per sample ‖s + b‖ / ‖s‖; 0 is full cancellation"),
    Column("zero_samples", "int64", "samples", "samples with ‖s‖ = 0, left out of the two above"),
    Column("zero_branch_samples", "int64", "samples", "samples with ‖F(x_l)‖ = 0, exactly"),
    Column(
        "dropped_samples",
        "int64",
        "samples",
        "samples whose branch is multiplied by 0 behind its last weight by what has no gradient, as "
        "stochastic depth does; null where such a factor could not be read (activation checkpointing)",
    ),
    Column("span_end", "int64", "", "L of the span l..L to the end of the run of eq. 3 units; null if none"),
    *_per_sample("span_cancellation", "as cancellation with s = ∂E/∂x_L, b = Σ branch parts of l..L−1"),
    *_per_sample("span_survival", "as survival with s = ∂E/∂x_L, b = Σ branch parts of l..L−1"),
    Column("additivity_error", "float64", "ratio", "‖s + b + other − ∂E/∂x_l‖ / ‖∂E/∂x_l‖"),
    Column("param_norm", "float64", _NORM, "over the branch's own parameters"),
    Column("param_grad_norm", "float64", _GRAD, "over the branch's own parameters"),
    Column("nonfinite", "int64", "elements", "elements of the unit's measured tensors that are NaN or ±inf"),
)

PARAMETERS = (
    *KEYS,
    Column("name", "string", "", "qualified parameter name"),
    Column("unit", "int64", "", "unit whose branch or shortcut holds it; null for stem, head and others"),
    Column("numel", "int64", "elements", "elements of the parameter"),
    Column(
        "enters",
        "string",
        "",
        "how it enters its unit: adds (a bias) or multiplies (a weight, a scale) in the branch, or shortcut; "
        "null where that is not told",
    ),
    Column("norm", "float64", _NORM, "norm of the parameter"),
    Column("grad_norm", "float64", _GRAD, "norm of its gradient; null if it gets none"),
    Column("nonfinite", "int64", "elements", "non-finite elements of the parameter and of its gradient"),
)

CHECKS = (
    *KEYS,
    Column("equation", "string", "", "number in He et al. 2016, 1 to 9; plain: a plain network's product"),
    Column(
        "form",
        "string",
        "",
        "forward; telescoped (measured branch parts), vjp (paper's own form) or blocked (branches blocked in "
        "the backward pass); masked …: with the ReLU masks in place; outputs, gradients (eq. 9); product, "
        "jacobians (plain)",
    ),
    Column("formula", "string", "", "what the statement says"),
    Column("span_start", "int64", "", "l: index of the first unit of the span"),
    Column("span_end", "int64", "", "L: the span ends at x_L"),
    Column("stage", "int64", "", "stage of the span"),
    Column("dtype", "string", "", "dtype in which both passes ran"),
    Column("error", "float64", "ratio", "‖residual‖ / Σ of the norms of its terms; null if not comparable"),
    Column("tolerance", "float64", "ratio", "largest error that rounding explains (gradflow.tolerances)"),
    Column(
        "holds", "bool", "", "error ≤ tolerance; not where every term is zero or the network is not finite"
    ),
    Column(
        "expected_to_hold",
        "bool",
        "",
        "whether it must: where the form is right and there is something to compare, or a term, a "
        "parameter or the loss is not finite",
    ),
    Column("detectable", "float64", "ratio", "relative change of any one term from which on it fails"),
    Column(
        "finding",
        "string",
        "",
        "why it is not expected to hold, failed without an error, or left samples out; else null",
    ),
)

STEPS = (
    *KEYS,
    Column("loss", "float64", "loss", "value of the loss on the batch"),
    Column("param_grad_norm", "float64", _GRAD, "over all parameters"),
    Column("learning_rate", "float64", "", "learning rate of the step; null outside training"),
    Column("error", "float64", "share", "of the batch's samples that were put into a wrong class"),
    Column("test_loss", "float64", "loss", "mean loss on the test data after the step; null where not run"),
    Column("test_error", "float64", "share", "of the test data put into a wrong class after the step"),
)

_JACOBIAN = (
    *KEYS,
    Column("jacobian", "string", "", "branch: ∂F/∂x of unit l; span: ∂x_L/∂x_l; both of the whole batch"),
    Column("span_start", "int64", "", "l"),
    Column("span_end", "int64", "", "L; of a branch l + 1"),
)

JACOBIANS = (
    *_JACOBIAN,
    Column("stage", "int64", "", "stage of unit l"),
    Column("inputs", "int64", "elements", "columns of the Jacobian: elements of x_l"),
    Column("outputs", "int64", "elements", "its rows"),
    Column("mean_square", "float64", "", "‖J‖² / inputs (Frobenius): mean of σ² over the directions of x_l"),
    Column("mean_square_error", "float64", "", "standard error of that estimate, over the probe vectors"),
    Column("probes", "int64", "vectors", "random ±1 vectors that it was estimated with (Hutchinson)"),
    Column("adjoint_error", "float64", "ratio", "|⟨Jv, w⟩ − ⟨v, Jᵀw⟩| / (‖Jv‖ ‖w‖ + ‖v‖ ‖Jᵀw‖)"),
)

SINGULAR_VALUES = (
    *_JACOBIAN,
    Column("order", "int64", "", "1 is the largest, 2 the next; −1 the smallest"),
    Column("singular_value", "float64", "", "σ"),
)

PATHS = (
    *KEYS,
    Column("length", "int64", "units", "k: in how many units the path takes F; in all others the shortcut"),
    Column("units", "int64", "units", "n: how many there are"),
    Column("samples", "int64", "paths", "how many of the paths of this length were taken"),
    Column("log_paths", "float64", "ln", "logarithm of how many there are, C(n, k)"),
    Column("gradient", "float64", _GRAD, "mean over these paths of ‖∂E/∂x_0‖ along the one path"),
    Column("gradient_error", "float64", _GRAD, "its standard error; 0 if every path was taken"),
    Column("share", "float64", "ratio", "C(n, k) · gradient, over its sum over all lengths"),
)

LESIONS = (
    *KEYS,
    Column("lesion", "string", "", "none; remove: F left out of some units; reorder: units exchanged"),
    Column("units", "string", "", "unit removed, or all of them; or 3<7: in the place of 3 runs 7"),
    Column("count", "int64", "", "units removed, or pairs exchanged"),
    Column("draw", "int64", "", "which of the random choices of so many, from 0"),
    Column("kendall_tau", "float64", "correlation", "of the order of units with their own; 1 for unchanged"),
    Column("batch", "int64", "samples", "batch size"),
    Column("loss", "float64", "loss", "value of the loss on the batch"),
    Column(
        "error", "float64", "ratio", "samples whose largest output is another class; null without classes"
    ),
)

TABLES: dict[str, tuple[Column, ...]] = {
    "units": UNITS,
    "parameters": PARAMETERS,
    "checks": CHECKS,
    "steps": STEPS,
    "jacobians": JACOBIANS,
    "singular_values": SINGULAR_VALUES,
    "paths": PATHS,
    "lesions": LESIONS,
}

ALWAYS_WRITTEN = ("units", "parameters", "checks", "steps")
"""Tables that every record has on disk, empty or not. The others are there if they have a row.

So a record without them is the same as before they existed, and a reader that does not know
them reads the rest of a record that has them: neither needs another `SCHEMA_VERSION`.
"""


def empty(table: str) -> pd.DataFrame:
    """Return a frame with the columns of `table` and no row."""
    return _template(table).copy()


@lru_cache(maxsize=len(TABLES))
def _template(table: str) -> pd.DataFrame:
    return conform(table, pd.DataFrame()).copy()  # which puts columns of one type together: quicker to copy


@lru_cache(maxsize=len(TABLES))
def _names_and_dtypes(table: str) -> tuple[list[str], list[Any]]:
    columns = TABLES[table]
    return [column.name for column in columns], [_PANDAS_DTYPES[column.kind] for column in columns]


def from_columns(table: str, columns: Mapping[str, Any], keys: Mapping[str, Any]) -> pd.DataFrame:
    """Return a frame with the columns of `table`; absent ones are null.

    Args:
        table: name of the table.
        columns: values by column, of one length: of numbers an array, in which NaN stands for none, among
            integers, too; of others what `pandas.array` takes.
        keys: the value of every row, by column; None for none.

    Raises:
        RecordError: if there is a column that the schema does not declare, or a key is no whole number.
    """
    rows = len(next(iter(columns.values())))
    given = {**{name: _repeated(name, value, rows) for name, value in keys.items()}, **columns}
    _refuse_undeclared(table, given)
    typed = (_typed(column, given.get(column.name), rows) for column in TABLES[table])
    frame = pd.DataFrame(dict(enumerate(typed)), index=pd.RangeIndex(rows), copy=False)
    # Given names, pandas would infer what they are, which takes it longer than all else about a small frame.
    frame.columns = _template(table).columns.view()
    return frame


def conform(table: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` with exactly the columns of `table`, in order, typed; absent ones are null.

    A frame that has them is returned as it is.

    Args:
        table: name of the table.
        frame: any frame.

    Raises:
        RecordError: if `frame` has a column that the schema does not declare.
    """
    names, dtypes = _names_and_dtypes(table)
    if frame.columns.tolist() == names and frame.dtypes.tolist() == dtypes:
        return frame
    _refuse_undeclared(table, frame)
    typed = {
        column.name: frame[column.name].astype(_PANDAS_DTYPES[column.kind]).array
        if column.name in frame
        else _typed(column, None, len(frame))
        for column in TABLES[table]
    }
    return pd.DataFrame(typed, index=frame.index, copy=False)


def _refuse_undeclared(table: str, names: Iterable[Any]) -> None:
    undeclared = sorted({str(name) for name in names}.difference(_names_and_dtypes(table)[0]))
    if undeclared:
        raise RecordError(
            f"table '{table}' has columns that schema version {SCHEMA_VERSION} does not declare: "
            f"{', '.join(undeclared)}"
        )


def stack(table: str, frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return frames of `table`, one below the other, as `conform` returns one.

    Args:
        table: name of the table.
        frames: any number, empty ones among them.
    """
    # pandas deprecates stacking empty frames: they have no bearing on the columns' types.
    filled = [frame for frame in frames if len(frame)]
    return conform(table, pd.concat(filled, ignore_index=True)) if filled else empty(table)


def _repeated(name: str, value: Any, rows: int) -> Any:
    """Return a column of one whole number.

    Raises:
        RecordError: if it is none, or takes more than 64 bits.
    """
    if value is None:
        return np.full(rows, np.nan)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, (int, np.integer)) or not -(2**63) <= value < 2**63:
        raise RecordError(f"{name} must be a whole number of 64 bits, not {value!r}")
    return np.full(rows, value, dtype=np.int64)


def _typed(column: Column, values: Any, rows: int) -> Any:
    """Return what a frame takes for a column without looking at it again; None stands for no values."""
    if column.kind == "float64":
        return np.full(rows, np.nan) if values is None else np.asarray(values, dtype=np.float64)
    if column.kind == "int64" and isinstance(values, np.ndarray):
        none = np.isnan(values)
        return pd.arrays.IntegerArray(np.where(none, 0, values).astype(np.int64), none)
    return pd.array([pd.NA] * rows if values is None else values, dtype=_PANDAS_DTYPES[column.kind])
