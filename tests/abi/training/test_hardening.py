"""Hardened training: gradients that are known, and what it must not disturb."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from abi.config import load_config
from abi.evaluation.attack import attacked
from abi.families.losses import Leaning, members_loss
from abi.metrics import row_loss
from abi.planning.cost import Workload, epoch_seconds, predict_cost
from abi.training import loop
from abi.training.hardening import Aim, add_gradients, altered, row_of_gaps
from abi.training.objective import training_target
from abi.types import Execution, Hardening
from tests.abi.training.conftest import Kept

ALL = Hardening(mixup=0.5, corruption=0.2, missing=0.2, adversarial="pgd", size=0.1, steps=2, share=0.5)
TASKS = ["binary", "multiclass", "regression"]


def _held(toy: Any, task: str = "binary", texts: bool = False) -> tuple[Any, Any, Any, Any]:
    """A network of random weights with its training rows: nothing drops out."""
    table = toy.texts(task, numeric=2, categorical=1) if texts else toy.table(task)
    model = toy.fitted(table, dropout=0.0, term_dropout=0.0).model
    network = model.network.train()
    network.share = 0.0
    cells = network.encode(table.train)
    return network, cells, training_target(table.train, table.problem.schema, model.blueprint.preparation), table


def _gradients(network: Any, cells: Any, target: Any, task: str, hardening: Hardening | None, **given: Any) -> Any:
    execution = Execution(device="cpu", precision="float32", batch_rows=64, epochs=1, steps=1, threads=1, hardening=hardening)  # fmt: skip
    network.zero_grad()
    found = add_gradients(network, cells, target, Aim(execution, task, 0.01, **given), 1.0)  # type: ignore[arg-type]
    return found, [p.grad.clone() for p in network.parameters() if p.grad is not None]


@pytest.mark.parametrize("task", TASKS)
def test_without_any_of_it_the_loss_is_the_plain_one(toy: Any, task: str) -> None:
    network, cells, target, _ = _held(toy, task)
    (own, whole), gradients = _gradients(network, cells, target, task, None)
    network.zero_grad()
    loss = members_loss(network(cells), target, task)  # type: ignore[arg-type]
    total = loss + 0.01 * network.attention.divergence()
    total.backward()
    assert (float(own), float(whole)) == pytest.approx((loss.item(), total.item()))
    for one, other in zip(gradients, [p.grad for p in network.parameters() if p.grad is not None], strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("task", TASKS)
def test_no_mixing_and_no_reach_is_the_plain_loss_twice_by_halves(toy: Any, task: str) -> None:
    network, cells, target, _ = _held(toy, task)
    nothing = Hardening(adversarial="pgd", size=1e-9, steps=2, share=0.5)
    (own, _), plain = _gradients(network, cells, target, task, None)
    (same, _), gradients = _gradients(network, cells, target, task, nothing)
    assert float(same) == pytest.approx(float(own), rel=1e-5)
    for one, other in zip(gradients, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("how", ["fgsm", "pgd"])
def test_attacked_rows_have_a_higher_loss(toy: Any, how: Any) -> None:
    network, cells, target, _ = _held(toy)
    (own, _), _ = _gradients(network, cells, target, "binary", None)
    (whole, _), _ = _gradients(
        network, cells, target, "binary", Hardening(adversarial=how, size=0.2, steps=3, share=1.0)
    )
    (half, _), _ = _gradients(
        network, cells, target, "binary", Hardening(adversarial=how, size=0.2, steps=3, share=0.5)
    )
    assert float(own) < float(half) < float(whole)


def test_mixed_losses_are_those_of_mixed_targets(toy: Any) -> None:
    network, cells, _, _ = _held(toy)
    two = cells.take(torch.tensor([0, 0]))  # the same embedding: mixing it changes nothing but the targets
    torch.manual_seed(0)
    (mixed, _), _ = _gradients(network, two, torch.tensor([0, 1]), "binary", Hardening(mixup=1.0))
    plain = members_loss(network(two), torch.tensor([0, 1]), "binary")
    assert float(mixed) == pytest.approx(plain.item(), rel=1e-5)  # any share of (a + b) / 2 and (b + a) / 2


def test_corrupted_features_are_those_of_other_rows_and_missing_ones_those_of_a_gap(toy: Any) -> None:
    network, cells, _, table = _held(toy, texts=True)
    embedding = network.embed(cells).detach()
    torch.manual_seed(1)
    corrupted = altered(embedding, network, Hardening(corruption=0.5), None)
    changed = 0
    for feature in network.feature_of.unique():
        place = network.feature_of == feature
        own, theirs = embedding[:, place], corrupted[:, place]
        distances = torch.cdist(theirs, own, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1).values
        assert float(distances.max()) < 1e-4  # each is some row's
        changed += int(((theirs - own).abs().sum(1) > 1e-6).sum())
    share = changed / (len(embedding) * len(network.feature_of.unique()))
    assert 0.3 < share <= 0.55  # a half, less what another row has as well

    hardening = Hardening(missing=0.5)
    gone = row_of_gaps(network, table.problem.schema, hardening)
    empty = network.embed(gone)
    gaps = altered(embedding, network, hardening, gone)
    there = (gaps == embedding) | (gaps == empty)
    assert bool(there.all())
    assert 0.4 < float((gaps == empty).float().mean()) < 0.75
    assert row_of_gaps(network, table.problem.schema, Hardening(mixup=1.0)) is None


def test_a_row_of_gaps_is_what_a_table_of_gaps_is_encoded_to(toy: Any) -> None:
    from abi.evaluation.perturb import with_gaps

    network, _, _, table = _held(toy, texts=True)
    gone = network.embed(row_of_gaps(network, table.problem.schema, Hardening(missing=0.1)))
    rows = with_gaps(table.train, table.problem.schema, 0.999999, seed=0)
    torch.testing.assert_close(network.embed(network.encode(rows)), gone.expand(len(rows), -1))


def test_hardened_and_resumed_it_ends_bit_for_bit_as_undisturbed(toy: Any) -> None:
    table = toy.texts("binary", rows=240, numeric=2)
    config = toy.config(**{"training.checkpoint": "1us"})
    attention = toy.attention(table.problem, frugal=True, pruned=True, terms=table.terms)
    plan = toy.plan(table.problem, config, attention, parameters=600)
    execution = replace(plan.execution, hardening=ALL, epochs=3, batch_rows=64, steps=9, micro_batch=24)
    plan = replace(plan, execution=execution)
    whole = Kept()
    first = loop.train(plan, table.train, table.validation, config, seed=0, checkpoints=whole)
    again = Kept(whole.all[0])
    second = loop.train(plan, table.train, table.validation, config, seed=0, checkpoints=again)
    assert second.trained.artifact == first.trained.artifact
    assert first.trained.measured.parameters <= plan.predicted.parameters


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_trains_in_either_precision(toy: Any, precision: str) -> None:
    found = toy.fitted(toy.table("multiclass"), hardening=ALL, precision=precision, epochs=4)
    assert found.trained.history[-1].validation_loss < found.trained.history[0].validation_loss


def test_two_processes_train_it_together(toy: Any) -> None:
    table, config = toy.table("binary", rows=320), toy.config()
    plan = toy.plan(table.problem, config)
    fgsm = Hardening(adversarial="fgsm")  # draws nothing
    plan = replace(plan, execution=replace(plan.execution, hardening=fgsm, dropout=0.0, batch_rows=64))
    alone = loop.train(plan, table.train, table.validation, config, seed=0).trained
    both = loop.train(plan, table.train, table.validation, config, seed=0, processes=2).trained
    for one, other in zip(alone.history, both.history, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, abs=1e-5)


def test_what_it_was_hardened_against_harms_it_less(toy: Any) -> None:
    table = toy.table("binary", rows=960, numeric=3)
    losses = {}
    for name, hardening in (("plain", None), ("hard", Hardening(adversarial="fgsm", size=0.3, share=0.5))):
        model = toy.fitted(table, hardening=hardening, epochs=15, dropout=0.0, patience=99).model
        prediction = attacked(model, table.validation, 0.3)
        losses[name] = float(row_loss("binary", table.validation.target, prediction).mean())
    assert losses["hard"] < losses["plain"]


def test_its_passes_are_in_the_predicted_time(toy: Any) -> None:
    # FGSM: the plain step, the attacked one, and forward and back to the embeddings, 2/3 of one
    assert Hardening(adversarial="fgsm").passes == pytest.approx(8 / 3)
    assert Hardening(adversarial="pgd", steps=3, share=1.0).passes == pytest.approx(3)
    assert Hardening(mixup=1.0).passes == 1
    table = toy.table("binary")
    config = toy.config(training__robust__adversarial="fgsm")
    plain, hard = toy.plan(table.problem), toy.plan(table.problem, config)
    assert hard.execution.hardening == Hardening(adversarial="fgsm")
    work = Workload(train_rows=180, validation_rows=0, numeric=2, categorical=1, outputs=1, hardening=hard.execution.hardening)  # fmt: skip
    without = replace(work, hardening=None)
    times = [epoch_seconds(plain.capacity, 60, w, toy.machine) for w in (work, without)]
    assert times[0] == pytest.approx(8 / 3 * times[1])
    costs = [predict_cost(plain.capacity, plain.execution, w, toy.machine) for w in (work, without)]
    rows, width = plain.execution.part_rows, sum(f.width for f in plain.capacity.features)
    assert costs[0].memory_bytes - costs[1].memory_bytes in {
        0,
        32 * rows * width,
    }  # of a step, where validation takes less
    assert any("FGSM of 10% of the embeddings' norm" in reason for reason in hard.reasons)
    assert "hardening" not in plain.execution.to_json()


def test_everything_is_off_by_default() -> None:
    assert load_config(ambient=False).training.robust.hardening() is None
    asked = load_config(settings={"training.robust.mixup": 0.2, "training.robust.steps": 9}, ambient=False)
    assert asked.training.robust.hardening() == Hardening(mixup=0.2, steps=1)


def test_regions_and_pretrained_vectors_are_hardened_as_any_feature(toy: Any) -> None:
    table = toy.media()
    fitted = toy.fitted(table, hardening=ALL)
    model, schema = fitted.model, table.problem.schema
    assert len(model.network.grids) == 1
    assert fitted.trained.measured.memory_bytes > 0
    gone = row_of_gaps(model.network, schema, ALL)
    assert gone is not None
    cells = model.network.encode(table.train)
    network = model.network.train()
    before = {name: value.clone() for name, value in network.grids.state_dict().items()}
    found = altered(network.embed(cells).detach(), network, Hardening(missing=1.0), gone)
    after = network.grids.state_dict()
    moments = [name for name in before if name.endswith("running_mean")]
    once = {name: value.clone() for name, value in after.items()}
    altered(found, network, Hardening(missing=1.0), gone)  # what is missing teaches the moments nothing
    assert moments
    assert all(torch.equal(once[name], network.grids.state_dict()[name]) for name in moments)
    regions = torch.tensor([schema.features[i].kind == "region" for i in network.feature_of.tolist()])
    assert not found[:, regions].any()
    assert found[:, ~regions].any()
    assert attacked(model, table.validation, 0.1).shape == (len(table.validation), 2)


def test_labels_and_weighed_classes_are_hardened_with_their_own_loss(toy: Any) -> None:
    network, cells, _, _ = _held(toy, "multiclass")
    labels = torch.rand(cells.rows, 3) < 0.5
    (own, _), _ = _gradients(network, cells, labels, "multilabel", Hardening(mixup=0.5))
    assert torch.isfinite(own)
    one = cells.take(torch.tensor([0, 0]))
    torch.manual_seed(0)
    (mixed, _), _ = _gradients(network, one, torch.tensor([[True, False, True], [False, True, True]]), "multilabel", Hardening(mixup=1.0))  # fmt: skip
    half = torch.tensor([[0.5, 0.5, 1.0]]).unsqueeze(1).expand(2, network.members, 3)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(network(one), half)
    assert float(mixed) == pytest.approx(expected.item(), rel=1e-5)

    leaning = Leaning(torch.tensor([3.0, 1.0, 1.0]), torch.zeros(3))
    zeros = torch.zeros(cells.rows, dtype=torch.long)
    hardening = Hardening(adversarial="fgsm", size=1e-9, share=0.5)
    (plain, _), _ = _gradients(network, cells, zeros, "multiclass", hardening)
    (weighed, _), _ = _gradients(network, cells, zeros, "multiclass", hardening, leaning=leaning)
    assert float(weighed) == pytest.approx(3 * float(plain), rel=1e-5)
