"""From weights by name into a model, or a line that says what does not fit and what would."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from gradflow.checkpoint.reading import Checkpoint, plain_name
from gradflow.errors import CheckpointError
from gradflow.models import ResidualNetwork, recognise, shapes_of

_SHOWN = 3
"""How many names of each kind an error lists before it counts the rest."""


def load_into(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Copy the checkpoint's weights into `model`, in the model's dtype and on its device.

    Every tensor of the model must be in the checkpoint with the same shape, and no other; only
    counters of batches that BN saw may be missing, which old checkpoints do not have.

    Args:
        model: the network, bare, compiled or wrapped for data parallelism.
        checkpoint: the weights.

    Raises:
        CheckpointError: if they belong to another architecture; then nothing was copied.
    """
    names = {plain_name(name): name for name in model.state_dict()}
    wanted = {plain_name(name): shape for name, shape in shapes_of(model).items()}
    given = {name: tuple(value.shape) for name, value in checkpoint.state_dict.items()}
    missing = [name for name in wanted if name not in given and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in wanted]
    misshapen = [name for name in wanted if name in given and wanted[name] != given[name]]
    if missing or unexpected or misshapen:
        shapes = [
            f"{name} is {_size(given[name])} and should be {_size(wanted[name])}"
            for name in misshapen[:_SHOWN]
        ]
        parts = [
            _listed("missing", missing, missing),
            _listed("unexpected", unexpected, unexpected),
            _listed("of another shape", misshapen, shapes),
        ]
        raise CheckpointError(
            f"checkpoint '{checkpoint.name}' does not fit {_name(model)}: "
            f"{'; '.join(part for part in parts if part)}; {_advice(given)}"
        )
    # The model's own dictionary brings its version marks along, which some modules insist on.
    target = model.state_dict()
    target.update({names[name]: value for name, value in checkpoint.state_dict.items()})
    try:
        model.load_state_dict(target)
    except RuntimeError as error:
        raise CheckpointError(
            f"checkpoint '{checkpoint.name}' could not be loaded into {_name(model)}: "
            f"{' '.join(str(error).split())}"
        ) from error


def _listed(what: str, names: Sequence[str], shown: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {what} ({', '.join(shown[:_SHOWN])}{more})"


def _advice(given: dict[str, tuple[int, ...]]) -> str:
    spec = recognise(given)
    if spec is None:
        return "no network of the zoo fits; name the one that it was saved from in --model"
    return f"it fits --model {spec.options()}"


def _name(model: nn.Module) -> str:
    return model.spec.options() if isinstance(model, ResidualNetwork) else type(model).__name__


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "a single number"
