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
    """One key of the metadata; `types` are the Python types that its value may have."""

    name: str
    types: tuple[type, ...]
    meaning: str
    required: bool = True


_NULL = type(None)

META = (
    Key("schema_version", (int,), "version of the layout, `gradflow.record.SCHEMA_VERSION`"),
    Key("gradflow_version", (str,), "gradflow that measured"),
    Key("created", (str,), "when, ISO 8601 in UTC"),
    Key("command", (str, _NULL), "command line, paths masked to names; null if made from Python"),
    Key("model", (dict,), "`name`; `options` of the builder; `class`; number of `parameters`"),
    Key("checkpoint", (dict, _NULL), "`name`, `sha256`, `iteration` (or null); null if untrained"),
    Key("data", (dict,), "`name`, `split`, `normalisation`, `classes`; any of them may be null"),
    Key("batch_size", (int,), "samples in a batch"),
    Key("loss", (dict,), "`name`; `value`, the mean over the batches and seeds, null if not finite"),
    Key("bn", (str,), "batch normalisation: `batch`, `running` or `frozen`"),
    Key("samples_coupled", (bool,), "whether a sample's gradient depends on the rest of its batch"),
    Key("dtype", (str,), "dtype in which both passes ran"),
    Key("device", (str,), "device on which they ran"),
    Key("threads", (int,), "threads of the processor that a pass used"),
    Key("seeds", (list,), "seeds, in the order measured"),
    Key("batches", (int,), "batches per seed"),
    Key("versions", (dict,), "version by name: Python, the libraries, the platform"),
    Key("skipped", (list,), "`what` was not measured, and `why`"),
    Key("notes", (list,), "sentences that a reader of the numbers needs"),
    Key(
        "training",
        (dict,),
        "only of a training run: `recipe` as it ran, `data_seed`, `processes`, what `batch_norm` is over, "
        "cadences, `iteration` reached, `best` and `last` test error",
        required=False,
    ),
)

_MODEL_KEYS = ("name", "options", "class", "parameters")
BN_MODES = ("batch", "running", "frozen")


def validate_meta(meta: Mapping[str, Any]) -> None:
    """Check that `meta` has the keys of `META` with values of the right types, and no other key.

    Raises:
        RecordError: naming the first key that is missing, unknown or of another type.
    """
    if unknown := sorted(set(meta) - {key.name for key in META}):
        raise RecordError(f"the record's metadata has an unknown key '{unknown[0]}'")
    for key in META:
        if key.name not in meta:
            if not key.required:
                continue
            raise RecordError(f"the record's metadata lacks '{key.name}': {key.meaning}")
        value = meta[key.name]
        # bool is a subclass of int, but a truth value is not a count.
        if not isinstance(value, key.types) or (isinstance(value, bool) and bool not in key.types):
            expected = " or ".join("null" if kind is _NULL else kind.__name__ for kind in key.types)
            raise RecordError(
                f"the record's metadata has {type(value).__name__} for '{key.name}', expected {expected}"
            )
    if lacking := [name for name in _MODEL_KEYS if name not in meta["model"]]:
        raise RecordError(f"the record's metadata lacks '{lacking[0]}' of 'model'")
    if meta["bn"] not in BN_MODES:
        raise RecordError(f"the record's BN mode is '{meta['bn']}', expected {', '.join(BN_MODES)}")


def as_json(value: Any) -> Any:
    """Return `value` in what JSON can hold; NaN and infinity become null.

    Raises:
        RecordError: if a part of it is of a type that JSON has no place for.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): as_json(item) for key, item in value.items()}
        case list() | tuple():
            return [as_json(item) for item in value]
    raise RecordError(f"a record's metadata cannot hold a {type(value).__name__}: {value!r}")


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
