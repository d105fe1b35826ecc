"""Training that aligns modalities: what it reaches, what it leaves behind, and what it costs beside the network."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abi.config import load_config
from abi.data.columns import Codes, Columns
from abi.errors import UsageError
from abi.execution.allocator import allocated_peaks
from abi.execution.footprint import footprint
from abi.execution.footprint import peak_bytes as peak_of
from abi.execution.step import PHASES
from abi.execution.target import Target
from abi.families.alignment import begin_alignment
from abi.families.artifact import load
from abi.families.begin import begin
from abi.families.sizes import COMMON
from abi.inputs.terms import count_terms
from abi.planning.family import plan_family
from abi.planning.traced import training_of
from abi.scoring.terms import add, empty, from_counts
from abi.training import loop
from abi.training.hardening import Aim, add_gradients
from abi.training.memory import peak_bytes
from abi.training.objective import training_target
from abi.training.step import Step
from abi.types import Alignment, Envelope, Hardening
from tests.abi.training.conftest import Kept

ASKED = Alignment(weight=0.5, temperature=0.07)
LONG = {"training.epochs": 25, "training.patience": 99}


def _listing(toy: Any, related: bool = True, rows: int = 480) -> Any:
    """Two numbers, and a text that says them in words: of the same row, or of another one."""
    random = np.random.default_rng(0)
    levels = random.integers(0, 8, (rows, 2))
    said = levels if related else random.permutation(levels)
    texts = tuple(f"left{a} right{b} w{i}" for (a, b), i in zip(said, random.integers(0, 20, rows), strict=True))
    target = (levels.sum(1) // 5).astype(np.int64)
    numbers = levels + 0.1 * random.normal(size=(rows, 2))
    whole = Columns(numbers, (Codes(np.arange(rows, dtype=np.int32), texts),), target, np.arange(rows))
    held = np.arange(rows) % 3 == 2
    train, vocabulary = whole.take(~held), count_terms(texts)[1]
    counts = add(empty(len(vocabulary), 3), train.categorical[0], target[~held], vocabulary)
    plain = toy.texts("multiclass", rows=8, numeric=2)
    problem = toy.problem({"t0": "text", "x0": "numeric", "x1": "numeric"}, "multiclass", rows)
    return replace(plain, problem=problem, train=train, validation=whole.take(held), terms=(from_counts("t0", vocabulary, counts),))  # fmt: skip


@pytest.fixture(scope="module")
def listing(toy: Any) -> Any:
    return _listing(toy)


@pytest.fixture(scope="module")
def aligned(toy: Any, listing: Any) -> Any:
    return toy.fitted(listing, toy.config(training__alignment=0.5, **LONG))


def test_modalities_that_say_the_same_find_each_others_rows(aligned: Any) -> None:
    (found,) = aligned.trained.retrieval
    assert found.modalities == ("t0", "table")
    assert (found.batch_rows, found.rows) == (64, 128)
    assert found.accuracy > 0.25  # chance is 1/64 = 0.016


@pytest.mark.parametrize(("related", "weight"), [(False, 0.5), (True, 1e-9)])
def test_without_a_common_cause_or_without_the_loss_they_do_not(toy: Any, related: bool, weight: float) -> None:
    fitted = toy.fitted(_listing(toy, related), toy.config(training__alignment=weight, **LONG))
    (found,) = fitted.trained.retrieval
    assert found.accuracy < 0.08


def test_rows_without_a_text_are_neither_drawn_near_nor_asked_for(toy: Any, listing: Any) -> None:
    texts = listing.train.categorical[0]
    few = np.where(np.arange(len(texts.codes)) < 100, texts.codes, -1).astype(np.int32)
    held = listing.validation.categorical[0]
    fewer = np.where(np.arange(len(held.codes)) < 20, held.codes, -1).astype(np.int32)
    table = replace(
        listing,
        train=replace(listing.train, categorical=(replace(texts, codes=few),)),
        validation=replace(listing.validation, categorical=(replace(held, codes=fewer),)),
    )
    (found,) = toy.fitted(table, toy.config(training__alignment=0.5)).trained.retrieval
    assert (found.batch_rows, found.rows) == (20, 20)


def test_the_model_has_no_projections_and_predicts_the_same_from_its_files(
    toy: Any, listing: Any, aligned: Any, tmp_path: Path
) -> None:
    plain = toy.fitted(listing, toy.config(**LONG))
    assert plain.trained.retrieval == ()
    assert plain.trained.loss != aligned.trained.loss
    assert aligned.model.network.state_dict().keys() == plain.model.network.state_dict().keys()
    assert aligned.model.parameters == plain.model.parameters == aligned.trained.plan.predicted.parameters
    for name, content in aligned.model.files().items():
        (tmp_path / name).write_bytes(content)
    there = load(tmp_path)
    assert there.artifact == aligned.trained.artifact
    np.testing.assert_array_equal(
        there.predict_columns(listing.validation), aligned.model.predict_columns(listing.validation)
    )


def test_the_plan_says_so(aligned: Any) -> None:
    said = "'t0', 'table' are aligned in 32 dimensions by a contrastive loss of weight 0.5 at temperature 0.07"
    assert aligned.trained.plan.reasons[-1].startswith(said)


def test_documents_without_it_are_as_they_were(toy: Any, listing: Any) -> None:
    plain = load_config(ambient=False)
    assert plain.training.aligned() is None
    assert not {"alignment", "alignment_temperature"} & set(plain.recorded()["training"])
    same = load_config(settings={"training.alignment": 0, "training.alignment_temperature": 0.07}, ambient=False)
    assert same.digest() == plain.digest()
    asked = load_config(settings={"training.alignment": 0.3, "training.alignment_temperature": 0.1}, ambient=False)
    assert asked.digest() != plain.digest()
    assert asked.training.aligned() == Alignment(weight=0.3, temperature=0.1)
    assert type(asked).restore(asked.recorded()).digest() == asked.digest()
    plan = toy.plan(listing.problem, attention=toy.attention(listing.problem, terms=listing.terms))
    assert "alignment" not in plan.execution.to_json()
    for refused in ("training.alignment=-1", "training.alignment=inf", "training.alignment_temperature=0"):
        key, value = refused.split("=")
        with pytest.raises(UsageError, match=key):
            load_config(settings={key: value}, ambient=False)


def test_one_modality_alone_is_refused_and_trees_know_none_of_it(toy: Any) -> None:
    table, config = toy.table(), toy.config(training__alignment=0.5)
    with pytest.raises(
        UsageError, match=r"several modalities .* training\.alignment=0\.5, got table alone: set it to 0"
    ):
        toy.plan(table.problem, config)
    attention = toy.attention(table.problem)
    plan = plan_family(attention, Envelope(), config, toy.machine, train_rows=180, validation_rows=60, family="trees")
    assert plan.execution.alignment is None


def test_a_modality_without_a_width_leaves_nothing_to_align(toy: Any, listing: Any) -> None:
    attention = toy.attention(listing.problem, [0.9, 0.0, 0.0], 0.2, frugal=True, terms=listing.terms, silent=("x0", "x1"))  # fmt: skip
    fitted = toy.fitted(listing, toy.config(training__alignment=0.5), attention=attention)
    assert [f.feature for f in fitted.trained.plan.capacity.features if f.width] == ["t0"]
    assert fitted.trained.retrieval == ()
    assert fitted.trained.plan.reasons[-1] == "No modalities are aligned: t0 alone has a width."


def _plan(toy: Any, table: Any, **execution: Any) -> Any:
    config = toy.config(training__alignment=0.5, training__checkpoint="1us")
    plan = toy.plan(table.problem, config, toy.attention(table.problem, terms=table.terms))
    return replace(plan, execution=replace(plan.execution, batch_rows=80, **execution)), config


@pytest.mark.parametrize(
    "how",
    [
        {"modality_dropout": 0.3, "average": 0.9, "micro_batch": 30},
        {"hardening": Hardening(mixup=0.5, adversarial="fgsm"), "modality_dropout": 0.3},
    ],
)
def test_resumed_it_ends_bit_for_bit_as_undisturbed(toy: Any, listing: Any, how: Any) -> None:
    plan, config = _plan(toy, listing, **how)
    whole = Kept()
    first = loop.train(plan, listing.train, listing.validation, config, seed=0, checkpoints=whole)
    second = loop.train(plan, listing.train, listing.validation, config, seed=0, checkpoints=Kept(whole.all[0]))
    assert second.trained.artifact == first.trained.artifact
    assert second.trained.retrieval == first.trained.retrieval


def test_two_processes_align_their_own_rows_and_step_as_one(toy: Any, listing: Any) -> None:
    plan, config = _plan(toy, listing, dropout=0.0, term_dropout=0.0)
    # other rows are those of a process: in one process, two parts of a step are what two processes have
    parts = replace(plan, execution=replace(plan.execution, micro_batch=40))
    alone = loop.train(parts, listing.train, listing.validation, config, seed=0).trained
    both = loop.train(plan, listing.train, listing.validation, config, seed=0, processes=2).trained
    for one, other in zip(alone.history, both.history, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, abs=1e-4)
    assert both.retrieval[0].accuracy == pytest.approx(alone.retrieval[0].accuracy, abs=0.05)


def test_a_pruned_network_ends_within_its_plan(toy: Any, listing: Any) -> None:
    config = toy.config(training__alignment=0.5, training__epochs=8, training__block_width=32, training__blocks=2)
    attention = toy.attention(listing.problem, frugal=True, pruned=True, terms=listing.terms)
    plan = toy.plan(listing.problem, config, attention, parameters=1200)
    assert plan.capacity.pruning is not None
    fitted = loop.train(plan, listing.train, listing.validation, config, seed=0)
    assert fitted.model.parameters <= plan.capacity.pruning.parameters
    assert fitted.trained.layers is not None
    split = fitted.trained.layers
    assert split.feature_extraction + split.middle + split.output == fitted.model.parameters


def test_modalities_that_dropout_takes_from_a_row_are_not_aligned(toy: Any, listing: Any) -> None:
    blueprint, network, fitting = begin(_plan(toy, listing)[0], listing.train)
    begin_alignment(network, ASKED)
    network.train()
    network.modality_dropout = 0.9  # nearly every row is given one of the two, or both where it would be given none
    cells = network.encode(listing.train, fitting)
    target = training_target(listing.train, blueprint.schema, blueprint.preparation)
    execution = replace(_plan(toy, listing)[0].execution, alignment=ASKED, hardening=None)
    torch.manual_seed(0)
    given = copy.deepcopy(network).hear(cells.rows, target.device)
    assert given is not None
    torch.manual_seed(0)
    dropped = copy.deepcopy(network)
    own, whole = add_gradients(dropped, cells, target, Aim(execution, "multiclass", 0.0), 1.0)
    network.modality_dropout = 0.0
    index = torch.nonzero(given.all(1)).flatten()
    two, three = add_gradients(network, cells.take(index), target[index], Aim(execution, "multiclass", 0.0), 1.0)
    assert float(whole - own) == pytest.approx(float(three - two), rel=1e-4)


def test_memory_of_the_loss_is_planned_and_traced(toy: Any, listing: Any) -> None:
    plan, _ = _plan(toy, listing)
    plain = replace(plan, execution=replace(plan.execution, alignment=None))
    read = sum(f.width for f in plan.capacity.features)
    own = COMMON * (read + 2)
    kind = Target(kind="gpu")
    traced, without = (footprint(training_of(p, 0.01), rows=(2, 80), target=kind) for p in (plan, plain))
    assert (
        traced.method == "traced"
    )  # under fake tensors: nothing of the loss waits for a value, so a GPU's graph can hold it
    assert traced.parameters - without.parameters == own
    actual = allocated_peaks(training_of(plan, 0.01), 50)
    assert peak_of(traced, 50) * (1 + traced.margin) >= max(actual[phase] for phase in PHASES[:3])
    blueprint, network, fitting = begin(plan, listing.train)
    cells, few = network.encode(listing.train, fitting), network.encode(listing.validation.take(np.arange(2)))
    target = training_target(listing.train, blueprint.schema, blueprint.preparation)
    found = []
    for alignment in (None, ASKED):
        begin_alignment(network, alignment)
        execution = replace(plan.execution, alignment=alignment, batch_rows=320)
        found.append(peak_bytes(network, cells, target, few, execution, "multiclass"))
    assert found[1] - found[0] > 5 * 320**2
    config = toy.config(training__batch_rows=320)
    wide = [
        toy.plan(listing.problem, c, toy.attention(listing.problem, terms=listing.terms)).predicted
        for c in (config, toy.config(training__batch_rows=320, training__alignment=0.5))
    ]
    assert wide[1].memory_bytes >= wide[0].memory_bytes
    assert wide[1].train_time_s > wide[0].train_time_s
    assert wide[1].parameters == wide[0].parameters


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
def test_on_a_gpu_its_step_is_a_graph(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table, steps = toy.media(rows=400), list[Step]()
    kinds = {f.name for f in table.problem.schema.features if f.kind != "region"}
    schema = replace(table.problem.schema, features=tuple(f for f in table.problem.schema.features if f.name in kinds), grids=())  # fmt: skip
    vectors = [replace(part, categorical=part.categorical[:1], pictures=()) for part in (table.train, table.validation)]
    plan = toy.plan(replace(table.problem, schema=schema), toy.config(training__alignment=0.5))
    plan = replace(plan, execution=replace(plan.execution, device="cuda", batch_rows=60, epochs=6, steps=30))
    real = Step.__init__
    monkeypatch.setattr(Step, "__init__", lambda self, *given: (steps.append(self), real(self, *given))[1])
    trained = loop.train(plan, *vectors, toy.config(), seed=0).trained
    assert steps[0].graphs is not None
    assert steps[0].graphs.refused == ""
    assert steps[0].graphs.count > 0
    assert len(trained.retrieval) == 1
