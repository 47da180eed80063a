"""The loop: what a hand-written one computes, to the bit, with numbers, tests and checkpoints in place."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from _runs import run, same_bits, short_plan, short_recipe, small_model, some_images
from torch import nn

from gradflow.errors import TrainingError
from gradflow.probing import probe
from gradflow.record import Record, load_record
from gradflow.training import Batches, Job, Plan, fit_normalisation
from gradflow.training.evaluation import evaluate
from gradflow.training.numbers import StepNumbers
from gradflow.training.steps import Steps


def by_hand(model: nn.Module, plan: Plan) -> tuple[nn.Module, list[tuple[float, float]]]:
    """Train without any of gradflow's loop; return the network, and loss and gradient norm of each step."""
    recipe, images = plan.recipe, some_images()
    data = Batches(
        images, fit_normalisation(recipe.normalisation, images), 8, plan.seed, recipe.padding, flip=True
    )
    model = model.to(memory_format=torch.channels_last).train()
    velocities = [torch.zeros_like(parameter) for parameter in model.parameters()]
    numbers = []
    for iteration in range(1, recipe.length + 1):
        rate = 0.01 if iteration <= 2 else 0.1 if iteration <= 6 else 0.01 if iteration <= 9 else 0.001
        inputs, targets = data.at(iteration)
        loss = F.cross_entropy(model(inputs), targets)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        norm = torch.stack([gradient.double().square().sum() for gradient in gradients]).sum().sqrt()
        numbers.append((loss.item(), norm.item()))
        with torch.no_grad():
            for parameter, velocity, gradient in zip(model.parameters(), velocities, gradients, strict=True):
                velocity.mul_(0.9).add_(gradient + 1e-4 * parameter)
                parameter.sub_(rate * velocity)
    return model, numbers


def probing(iteration: int, model: nn.Module) -> Record | None:
    """Probe every second iteration."""
    if iteration % 2:
        return None
    inputs = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    weights = {"name": "in training", "sha256": None, "iteration": iteration}
    return probe(model, inputs, torch.arange(6) % 4, meta={"checkpoint": weights, "seeds": [3]})


def test_same_as_a_loop_by_hand(tmp_path: Path) -> None:
    """Momentum, decay, warm-up and drops by hand give the same weights to rounding, and the same numbers."""
    model, _ = run(tmp_path / "run", on_step=probing)
    expected, numbers = by_hand(small_model(), short_plan())
    for (name, value), wanted in zip(model.state_dict().items(), expected.state_dict().values(), strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-3, atol=1e-5, msg=name)
    steps = load_record(tmp_path / "run").steps
    assert steps["iteration"].tolist() == list(range(1, 13))
    assert steps["loss"].tolist() == pytest.approx([loss for loss, _ in numbers], rel=1e-3)
    assert steps["param_grad_norm"].tolist() == pytest.approx([norm for _, norm in numbers], rel=1e-3)
    assert steps["learning_rate"].tolist() == pytest.approx([0.01] * 2 + [0.1] * 4 + [0.01] * 3 + [0.001] * 3)


def test_probes_change_no_bit(tmp_path: Path) -> None:
    """A run with probes ends with the same weights and buffers as one without, and a lesser seed does not."""
    probed, _ = run(tmp_path / "probed", on_step=probing)
    plain, _ = run(tmp_path / "plain")
    other, _ = run(tmp_path / "other", replace(short_plan(), seed=4))
    assert same_bits(probed, plain)
    assert not same_bits(probed, other)


def test_nothing_is_hooked_between_probes(tmp_path: Path) -> None:
    """Whenever a step begins, no module and no parameter carries a hook."""

    def look(iteration: int, model: nn.Module) -> Record | None:
        record = probing(iteration, model)
        for module in model.modules():
            for kind in ("forward", "forward_pre", "backward", "backward_pre"):
                assert not getattr(module, f"_{kind}_hooks")
        assert not any(parameter._backward_hooks for parameter in model.parameters())
        return record

    _, outcome = run(tmp_path / "run", on_step=look)
    assert outcome.finished


def test_tables_stack_iterations(tmp_path: Path) -> None:
    """Units, parameters and steps have a row for every iteration at which they were measured."""
    _, outcome = run(tmp_path / "run", on_step=probing)
    record = load_record(tmp_path / "run")
    assert sorted(record.units["iteration"].unique()) == list(range(0, 13, 2))
    assert (record.units.groupby("iteration")["unit"].nunique() == 3).all()
    tested = record.steps[record.steps["test_error"].notna()]
    assert tested["iteration"].tolist() == [4, 8, 12]
    assert tested["test_error"].iloc[-1] == outcome.test_error
    training = record.meta["training"]
    assert training["recipe"]["drops"] == [6, 9]
    assert (training["iteration"], training["processes"]) == (12, 1)
    assert training["best"]["test_error"] == outcome.best_error == tested["test_error"].min()


def test_error_and_test_are_what_they_say() -> None:
    """The share of wrong classes and the mean loss over the test images, in evaluation mode."""
    model, images = small_model(), some_images(20, seed=1)
    data = Batches(images, fit_normalisation("pixel-mean", images), 1, 0, padding=0, flip=False)
    loss, error = evaluate(model.train(), data)
    assert model.training
    with torch.no_grad():
        outputs = model.eval()(data.plain(slice(None))[0])
    assert error == pytest.approx(float((outputs.argmax(1) != images.targets).float().mean()))
    assert loss == pytest.approx(float(F.cross_entropy(outputs, images.targets)), rel=1e-5)


def test_parts_of_a_batch_are_averaged(tmp_path: Path) -> None:
    """With BN frozen out of the way, a batch in four parts trains to the same weights as in one."""
    models = []
    for parts in (1, 4):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
        models.append(run(tmp_path / str(parts), short_plan(accumulate=parts), model=model)[0])
    for whole, divided in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(whole, divided, rtol=1e-4, atol=1e-6)


def test_divergence_stops_before_the_weights_are_spoilt(tmp_path: Path) -> None:
    """The line says where it began; the checkpoint before it stays, and so do the weights."""
    seen: list[torch.Tensor] = []

    def locate(model: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> str:
        assert all(parameter.isfinite().all() for parameter in model.parameters())
        seen.append(images)
        return "here"

    plan = short_plan(learning_rate=1e30, warmup_learning_rate=1e-3, warmup=6)
    message = r"diverged at iteration \d+: .* here\. The checkpoint of iteration 4 is kept"
    with pytest.raises(TrainingError, match=message):
        run(tmp_path / "run", plan, on_step=probing, locate=locate)
    assert len(seen) == 1
    kept = torch.load(tmp_path / "run/checkpoints/newest.pt")
    assert kept["iteration"] == 4
    assert all(value.isfinite().all() for value in kept["model"].values())


class Watching:
    """Keeps what a watcher is told of steps and of the end."""

    def __init__(self) -> None:
        self.stepped_to: list[int] = []
        self.ends = 0

    def started(self, iteration: int, length: int) -> None:
        assert self.ends == 0

    def stepped(self, rows: list[dict[str, float]]) -> None:
        self.stepped_to += [row["iteration"] for row in rows]

    def tested(self, iteration: int, loss: float, error: float) -> None:
        assert self.ends == 0

    def measured(self, iteration: int, record: Record) -> None:
        assert self.ends == 0

    def saved(self, iteration: int) -> None:
        assert self.ends == 0

    def ended(self) -> None:
        self.ends += 1


@pytest.mark.parametrize("resumed", [False, True])
def test_what_was_measured_until_a_divergence_is_kept(tmp_path: Path, resumed: bool) -> None:
    """The record goes on to the step that failed, with nulls there; a resume cuts it back."""
    out, watching = tmp_path / "run", Watching()
    # The rate is that of warm-up for 6 steps, and then far too high; step 7 spoils what step 8 computes.
    plan = short_plan(learning_rate=1e30, warmup_learning_rate=1e-3, warmup=6)
    if resumed:
        run(out, plan, on_step=probing, should_stop=iter([False] * 5 + [True]).__next__)
    with pytest.raises(TrainingError, match="training diverged at iteration 8: "):
        run(out, plan, on_step=probing, resume=resumed, watchers=lambda _: [watching])
    record = load_record(out)
    steps = record.steps
    assert steps["iteration"].tolist() == list(range(1, 9))
    finite = steps[["loss", "param_grad_norm"]].notna().all(axis=1)
    assert finite.tolist() == [True] * 7 + [False]
    assert sorted(record.units["iteration"].unique()) == [0, 2, 4, 6]
    kept = out / "checkpoints/newest.pt"
    saved = 6 if resumed else 4
    assert torch.load(kept)["iteration"] == saved
    assert record.meta["checkpoint"] == {
        "name": "newest.pt",
        "sha256": hashlib.sha256(kept.read_bytes()).hexdigest(),
        "iteration": saved,
    }
    assert record.meta["training"]["iteration"] == 7
    assert watching.stepped_to == list(range(7 if resumed else 1, 8))
    assert watching.ends == 1
    run(out, plan, on_step=probing, resume=True, should_stop=lambda: True)
    assert load_record(out).steps["iteration"].tolist() == list(range(1, saved + 2))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_image_without_a_largest_output_is_wrong(bad: float) -> None:
    """A network that puts out NaN alone is wrong about every image, of class 0 too; infinity is a number."""
    images = some_images(20, seed=1)
    data = Batches(images, fit_normalisation("pixel-mean", images), 1, 0, padding=0, flip=False)

    class Constant(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            outputs = torch.zeros(len(inputs), 4)
            outputs[:, 0] = bad
            return outputs

    model = Constant()
    first = int((images.targets == 0).sum())
    assert 0 < first < 20
    expected = 1.0 if bad != bad else (20 - first) / 20
    assert evaluate(model, data)[1] == pytest.approx(expected)
    numbers = StepNumbers(Job(0, 1, torch.device("cpu")), 1)
    numbers.begin(1, 0.1)
    outputs = model(data.plain(slice(None))[0])
    numbers.add(torch.zeros(()), outputs, images.targets, 1)
    numbers.finish(torch.ones(()))
    assert numbers.read()[0]["error"] == pytest.approx(expected)


def test_a_broken_step_moves_nothing_however_late_it_is_noticed() -> None:
    """After a gradient that is not finite no later step moves a weight, though nobody read a number."""
    images = some_images()
    data = Batches(images, fit_normalisation("pixel-mean", images), 8, 0, padding=0, flip=False)
    job = Job(0, 1, torch.device("cpu"))
    steps = Steps(small_model(), data, Plan(short_recipe()), job)
    numbers = StepNumbers(job, 20)
    steps.make(1, numbers)
    weight = steps.model.get_parameter("head.weight")
    with torch.no_grad():
        kept = weight[0, 0].item()
        weight[0, 0] = float("inf")
    before = {name: value.clone() for name, value in steps.model.named_parameters()}
    steps.make(2, numbers)
    with torch.no_grad():
        weight[0, 0] = kept
    steps.make(3, numbers)
    before["head.weight"][0, 0] = kept
    assert all(torch.equal(value, before[name]) for name, value in steps.model.named_parameters())
    rows = numbers.read()
    assert [row["iteration"] for row in rows] == [1, 2, 3]
    assert rows[0]["loss"] == rows[0]["loss"]
    assert not rows[1]["loss"] < float("inf")


def test_different_test_images_are_refused(tmp_path: Path) -> None:
    """Test images of another size are refused before a step is made."""
    from gradflow.training import train

    with pytest.raises(TrainingError, match="expected the same"):
        train(small_model(), some_images(), some_images(size=9), short_plan(), tmp_path / "run")
