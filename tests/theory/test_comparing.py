"""Records beside theory: what applies, what is out of its conditions, and what a wrong network shows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from _records import make_record

import gradflow
from gradflow.record import Record
from gradflow.statistics import aggregate, with_shares
from gradflow.theory import UNIT_KINDS, compare, predicted_branch_share


def probed(name: str, *, seeds: int = 10, bn: str = "frozen", **options: str) -> Record:
    """Probe an untrained network with several seeds on noise, named as the command line names it."""
    records = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        images = torch.randn(4, 3, 16, 16, generator=generator)
        targets = torch.randint(10, (4,), generator=generator)
        model = gradflow.build_model(name, seed=seed, **options)
        meta = {"model": {"name": name, "options": dict(options)}, "seeds": [seed]}
        units = r"stage\d\.\d+" if name.startswith("plain") else None
        records.append(gradflow.probe(model, images, targets, bn=bn, units=units, meta=meta))
    return Record.concat(records)


@pytest.fixture(scope="module")
def preact() -> Record:
    """Ten seeds of an untrained pre-activation network."""
    return probed("preact32")


def test_an_untrained_preactivation_network_meets_the_conditions(preact: Record) -> None:
    """Shares, growth and direction are judged in each stage; shares agree, nearly or in full."""
    verdicts = compare(preact).set_index(["law", "stage"])
    shares = verdicts.loc["branch_share"]
    assert len(shares) == 3
    assert (shares["seeds"] == 10).all()
    assert shares["verdict"].str.startswith("agrees").all()
    assert shares["value"].between(0.8, 1.2).all()
    assert (verdicts.loc["earlier_larger"]["verdict"] == "agrees").all()
    exponents = verdicts.loc["exponent_by_energy"]
    assert exponents["predicted"].tolist() == pytest.approx([UNIT_KINDS["basic"].exponent] * 3)
    assert exponents["outside"].map(bool).tolist() == [False, True, True]


def test_trained_networks_are_out_of_the_conditions(preact: Record) -> None:
    """With a checkpoint, what is about initialisation is not judged, and what is about training is."""
    trained = dataclasses.replace(preact, meta={**preact.meta, "checkpoint": {"name": "a.pt"}})
    verdicts = compare(trained).set_index("law")["verdict"]
    assert (verdicts["branch_share"] == "out of its conditions").all()
    assert verdicts["identity_gain"] != "out of its conditions"


def test_scaled_branches_do_not_agree(preact: Record) -> None:
    """Negative control: the same record with every branch a third smaller disagrees."""
    units = preact.units.assign(branch_norm=preact.units["branch_norm"] * 2 / 3)
    verdicts = compare(dataclasses.replace(preact, units=units)).set_index("law")["verdict"]
    assert (verdicts["branch_share"] == "disagrees").all()


def test_other_shortcuts_and_batch_statistics_are_out_of_the_conditions() -> None:
    """A scale on the shortcut, or coupled samples, and the prediction is not about the run."""
    scaled = compare(probed("preact20", seeds=1, shortcut="scale:0.5")).set_index("law")
    assert scaled.loc["branch_share", "outside"].str.contains("identity shortcuts").all()
    coupled = compare(probed("preact20", seeds=1, bn="batch")).set_index("law")
    assert coupled.loc["exponent_by_energy", "outside"].str.contains("constants").all()


def test_one_seed_decides_nothing() -> None:
    """Without an interval there is no verdict."""
    verdicts = compare(probed("preact20", seeds=1))
    assert "undecided" in set(verdicts["verdict"])
    assert not verdicts["verdict"].str.startswith("agrees").any()


def test_plain_networks_are_held_against_their_growth() -> None:
    """Plain networks have growth and nothing that takes shortcuts."""
    assert set(compare(probed("plain20", seeds=2))["law"]) == {"plain_growth"}


def test_predicted_shares_start_after_a_stages_first_unit(preact: Record) -> None:
    """a / (v_0 + a l) by hand, null in a stage's first unit; near what was measured."""
    units = aggregate(with_shares(preact.units), ["forward_branch_share"])
    shares = predicted_branch_share(preact, units)
    assert shares.isna().tolist() == [True, False, False, False, False] * 3
    assert shares[[1, 2, 6]].tolist() == pytest.approx([1 / 2.5, 1 / 3.5, 1 / 2.25])
    known = shares.notna()
    assert np.allclose(shares[known], units.loc[known, "forward_branch_share"], rtol=0.35)


def test_networks_that_are_not_the_zoos_have_no_share() -> None:
    """A record whose parameters have other names is only held against what identity units allow."""
    record = make_record("mine.nets:build", stages=(3, 3))
    assert set(compare(record)["law"]) <= {"identity_gain"}
    units = aggregate(with_shares(record.units), ["forward_branch_share"])
    assert predicted_branch_share(record, units).isna().all()
