"""What a record repeats: networks, or batches of one."""

from __future__ import annotations

import pytest
from _records import make_record

from gradflow.record import Record
from gradflow.repetitions import ENOUGH, find_repetitions
from gradflow.theory import UNDECIDED, compare

FILES = [{"name": "best.pt", "sha256": f"{number:064x}", "iteration": 40} for number in range(12)]


def stacked(keys: list[dict[str, int]], files: list[dict[str, object]] | None = None) -> Record:
    """Return a record of one measurement for each of `keys`, with the weights of `files`."""
    checkpoints = files or [None] * len(keys)
    return Record.concat(
        [
            make_record("preact8", stages=(3, 3), checks=False, checkpoint=file, **key)
            for key, file in zip(keys, checkpoints, strict=True)
        ]
    )


SEEDS = [{"seed": seed} for seed in range(12)]
BATCHES = [{"seed": 3, "batch_index": index} for index in range(12)]


def test_seeds_of_untrained_networks_are_networks() -> None:
    """Of enough of them something is decided; of fewer it is not."""
    found = find_repetitions(stacked(SEEDS))
    assert (found.of, found.count, str(found), found.decide) == ("networks", 12, "12 seeds", True)
    assert not find_repetitions(stacked(SEEDS[: ENOUGH - 1])).decide
    assert find_repetitions(stacked(SEEDS[:ENOUGH])).decide


def test_batches_are_of_one_network_however_many() -> None:
    """And say of which."""
    found = find_repetitions(stacked(BATCHES))
    assert str(found) == "12 batches of one network (seed 3)"
    assert not found.decide
    assert str(find_repetitions(stacked(BATCHES[:1]))) == "one batch of one network (seed 3)"


def test_seeds_of_one_file_of_weights_are_batches_and_of_several_are_networks() -> None:
    """With a checkpoint a seed only chooses the batch; of a checkpoint for each seed it does not."""
    one = find_repetitions(stacked(SEEDS, FILES[:1] * 12))
    assert str(one) == "12 batches of one network (best.pt, iteration 40)"
    assert not one.decide
    several = stacked(SEEDS, FILES)
    assert several.meta["checkpoint"]["iteration"] == 40
    assert find_repetitions(several).decide


@pytest.mark.parametrize("files", [None, FILES[:1] * 12])
def test_theory_counts_networks(files: list[dict[str, object]] | None) -> None:
    """A prediction is not decided over the batches of one trained network, and says one seed."""
    verdicts = compare(stacked(SEEDS, files)).set_index("law")
    gain = verdicts.loc[["identity_gain"]]
    assert gain["seeds"].unique().tolist() == [1 if files else 12]
    assert files is None or not gain["verdict"].isin(["agrees", "disagrees"]).any()
    assert (UNDECIDED in set(gain["verdict"]) or "out of its conditions" in set(gain["verdict"])) or not files
