"""What a record says about itself: the keys of `Record.meta`, their types and their meaning."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gradflow.errors import RecordError

Meta = dict[str, Any]
"""Metadata of a record: what `json` can hold, with the keys of `META`."""


@dataclass(frozen=True)
class Key:
    """One key of the metadata.

    Attributes:
        name: the key.
        types: Python types that its value may have; float takes whole numbers, too.
        meaning: what it says.
        required: whether it must be there; inside a value it is then required of that value.
        parts: keys of a value that is a dict. A dict may hold others: what a builder takes is its own.
        each: what every item of a list, or every value of a dict, must be.
    """

    name: str
    types: tuple[type, ...]
    meaning: str
    required: bool = True
    parts: tuple[Key, ...] = ()
    each: Key | None = None

    @property
    def told_types(self) -> str:
        """The types as a reader of JSON knows them, and of what a list or dict is."""
        words = " or ".join("null" if kind is _NULL else kind.__name__ for kind in self.types)
        return words if self.each is None else f"{words} of {self.each.told_types}"


_NULL = type(None)

_MODEL = (
    Key("name", (str,), "as it is built, or the class's name"),
    Key("options", (dict, _NULL), "that the builder was given"),
    Key("class", (str,), "with its module"),
    Key("parameters", (int,), "how many numbers the parameters have"),
)
_CHECKPOINT = (
    Key("name", (str, _NULL), "the file's name; null if they were of several"),
    Key("sha256", (str, _NULL), "of the file", required=False),
    Key("iteration", (int, _NULL), "training steps taken; null if it does not say", required=False),
)
_DATA = (
    Key("name", (str, _NULL), "of the data", required=False),
    Key("split", (str, _NULL), "which part of them", required=False),
    Key("normalisation", (dict, str, _NULL), "of the inputs", required=False),
    Key("classes", (int, list, _NULL), "how many there are, or their names by number", required=False),
)
_LOSS = (
    Key("name", (str,), "of the loss"),
    Key("value", (float, _NULL), "mean over the batches and seeds; null if not finite"),
)
_SKIPPED = (
    Key("what", (str,), "what was not measured"),
    Key("why", (str,), "the reason"),
)
_BEST = (
    Key("iteration", (int,), "of the best test"),
    Key("test_error", (float,), "share of the test data put into a wrong class"),
)
_TRAINING = (
    Key("recipe", (dict,), "as it ran", required=False),
    Key("iteration", (int,), "that was reached"),
    Key("data_seed", (int,), "of the order of the data", required=False),
    Key("processes", (int,), "how many trained together", required=False),
    Key("batch_norm", (str,), "what batch normalisation is over", required=False),
    Key("best", (dict, _NULL), "the best test; null without one", required=False, parts=_BEST),
    Key("last_error", (float, _NULL), "test error of the last test; null without one", required=False),
)

META = (
    Key("schema_version", (int,), "version of the layout, `gradflow.record.SCHEMA_VERSION`"),
    Key("gradflow_version", (str,), "gradflow that measured"),
    Key("created", (str,), "when, ISO 8601 in UTC"),
    Key("command", (str, _NULL), "command line, paths masked to names; null if made from Python"),
    Key("model", (dict,), "the network", parts=_MODEL),
    Key("checkpoint", (dict, _NULL), "where the weights are from; null if untrained", parts=_CHECKPOINT),
    Key("data", (dict,), "what the network was given", parts=_DATA),
    Key("batch_size", (int,), "samples in a batch"),
    Key("loss", (dict,), "what was minimised", parts=_LOSS),
    Key("bn", (str,), "batch normalisation: `batch`, `running` or `frozen`"),
    Key("samples_coupled", (bool,), "whether a sample's gradient depends on the rest of its batch"),
    Key("dtype", (str,), "dtype in which both passes ran"),
    Key("device", (str,), "device on which they ran"),
    Key("threads", (int,), "threads of the processor that a pass used"),
    Key("seeds", (list,), "seeds, in the order measured", each=Key("", (int,), "a seed")),
    Key("batches", (int,), "batches per seed"),
    Key(
        "versions",
        (dict,),
        "version by name: Python, the libraries, the platform",
        each=Key("", (str,), "a version"),
    ),
    Key("skipped", (list,), "what was not measured", each=Key("", (dict,), "one of it", parts=_SKIPPED)),
    Key("notes", (list,), "sentences that a reader of the numbers needs", each=Key("", (str,), "a sentence")),
    Key(
        "training",
        (dict,),
        "only of a training run: how it went, and the cadences of its measurements",
        required=False,
        parts=_TRAINING,
    ),
)
"""Every key, and what its value holds; the reference page and the validation both come from it."""

BN_MODES = ("batch", "running", "frozen")

SAMPLES_COUPLED = (
    "Batch normalisation used the batch's statistics, which couple its samples: per-sample columns are "
    "slices of the whole batch's gradient."
)
"""Note of a record whose `samples_coupled` is true."""

_LARGEST = 2**63
"""Whole numbers must fit 64 bits: beyond, they are no counts, and cannot become floats."""


def validate_meta(meta: Mapping[str, Any]) -> None:
    """Check that `meta` has the keys of `META`, no other, and values of the right types down to the last.

    Raises:
        RecordError: naming the first key that is missing, unknown or of another type: `loss.value`,
            `seeds[0]`, `versions.torch`.
    """
    if unknown := sorted(set(meta) - {key.name for key in META}, key=str):
        raise RecordError(f"the record's metadata has an unknown key '{unknown[0]}'")
    _validate_parts(meta, META, "")
    if meta["bn"] not in BN_MODES:
        raise RecordError(f"the record's BN mode is '{meta['bn']}', expected {', '.join(BN_MODES)}")


def _validate_parts(value: Mapping[str, Any], keys: tuple[Key, ...], inside: str) -> None:
    for key in keys:
        path = f"{inside}{key.name}"
        if key.name in value:
            _validate(value[key.name], key, path)
        elif key.required:
            raise RecordError(f"the record's metadata lacks '{path}': {key.meaning}")


def _validate(value: Any, key: Key, path: str) -> None:
    kinds = (*key.types, int) if float in key.types else key.types
    # bool is a subclass of int, but a truth value is not a count.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise RecordError(
            f"the record's metadata has {type(value).__name__} for '{path}', expected {key.told_types}"
        )
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise RecordError(f"the record's metadata has a number beyond 64 bits for '{path}'")
    if isinstance(value, Mapping):
        _validate_parts(value, key.parts, f"{path}.")
        items = {f"{path}.{name}": item for name, item in value.items()}
    else:
        items = {f"{path}[{at}]": item for at, item in enumerate(value)} if isinstance(value, list) else {}
    if key.each is not None:
        for name, item in items.items():
            _validate(item, key.each, name)


def as_json(value: Any) -> Any:
    """Return `value` in what JSON can hold; NaN and infinity become null.

    Raises:
        RecordError: if a part of it is of a type that JSON has no place for, or a number beyond 64 bits.
    """
    match value:
        case None | bool():
            return value
        case int():
            if abs(value) < _LARGEST:
                return value
            raise RecordError("a record's metadata cannot hold a whole number beyond 64 bits")
        case str():
            return _text(value)
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {_text(str(key)): as_json(item) for key, item in value.items()}
        case list() | tuple():
            return [as_json(item) for item in value]
    raise RecordError(f"a record's metadata cannot hold a {type(value).__name__}: {value!r}")


def _text(value: str) -> str:
    # A file's name may hold bytes that are no text, and a file of JSON may not.
    return value.encode(errors="replace").decode()


def mask_paths(arguments: Iterable[str]) -> str:
    """Join a command line's arguments, each path in them cut down to its last name.

    A record is shown to others, and directories are nobody's business.

    >>> mask_paths(["gradflow", "probe", "--data", "folder:/home/ann/cats", "--out=runs/a"])
    'gradflow probe --data folder:cats --out=a'
    """
    separators = re.escape(os.sep + (os.altsep or ""))
    path = re.compile(
        rf"(?P<prefix>--[\w-]+=)?(?P<kind>\w{{2,}}:)?.*[{separators}](?P<name>[^{separators}]*)"
    )

    def mask(argument: str) -> str:
        found = path.fullmatch(argument.rstrip(os.sep) or argument)
        return f"{found['prefix'] or ''}{found['kind'] or ''}{found['name']}" if found else argument

    return shlex.join(map(mask, arguments))
