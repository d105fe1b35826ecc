"""The choice between network, trees and blend."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from abi.attention.trees import trees_view
from abi.data.columns import Codes, Columns
from abi.families.artifact import Model
from abi.families.blend import Blend
from abi.families.family import MODEL
from abi.families.trees import TreesModel, load_trees
from abi.planning.family import plan_family
from abi.training.choice import keep, paired, standings
from abi.training.family import blend_weight, train
from abi.training.revise import even_twin, revise, trial_count
from abi.training.trees_pilots import fit_again, fit_families
from abi.trees_capacity import Pair
from abi.types import Envelope, Inherited, TreesAttention, Trial

WAVE = np.sin(np.arange(100.0))


def test_a_paired_difference_has_the_standard_error_of_its_mean() -> None:
    assert paired(np.array([3.0, 5.0]), np.array([1.0, 1.0])) == pytest.approx((3.0, 1.0))


@pytest.mark.parametrize(
    ("network", "trees", "blend", "expected"),
    [(0.5, 0.9, 0.9, "network"), (0.9, 0.5, 0.9, "trees"), (0.9, 0.8, 0.4, "blend"), (0.9, 0.8, 0.79, "blend")],
)
def test_the_least_loss_is_kept(network: float, trees: float, blend: float, expected: str) -> None:
    losses = [trees + 0 * WAVE, network + 0 * WAVE, blend + WAVE - WAVE.mean()]
    place, reason = keep(["trees", "network", "blend"], standings(losses))
    assert ("trees", "network", "blend")[place] == expected
    assert reason.startswith(f"the {expected}")


def test_the_reason_says_how_much_and_how_surely() -> None:
    # differences of 0.1 and 0.3 by turns: mean 0.2, deviation 0.1 * sqrt(100 / 99), so 0.2 / 0.01005 = 19.9
    uneven = 0.6 + 0.1 * (-1.0) ** np.arange(100)
    _, reason = keep(["trees", "network"], standings([uneven, 0.4 + 0 * WAVE]))
    assert reason == "the network has the least validation loss, 33.3% less than the trees (19.9 standard errors)"


def test_the_blend_of_two_opposite_errors_is_their_mean() -> None:
    target = np.zeros(50)
    assert blend_weight("regression", target, target + 1, target - 1) == 0.5
    assert blend_weight("regression", target, target + 1, target - 3) == 0.75


def test_a_share_that_rows_cannot_tell_from_a_half_is_a_half() -> None:
    # the least loss is at 0.6, by far less than its noise
    target = np.zeros(400)
    noise = 5 * np.random.default_rng(0).normal(size=400)
    noise -= noise.mean()
    network, trees = 1 + noise, -1 - noise
    skewed = trees - 0.1
    assert blend_weight("regression", target, network, skewed) == 0.5
    assert blend_weight("regression", target, network, 9 * trees) == 0.9


def _fitted(toy: Any, table: Any, setting: str, **envelope: Any) -> Any:
    config = toy.config(training__family=setting, training__trees__rounds=20)
    plan = plan_family(
        toy.attention(table.problem), Envelope(**envelope), config, toy.machine, train_rows=180, validation_rows=60
    )
    return train(plan, table.train, table.validation, config, seed=0)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_auto_keeps_the_least_loss(toy: Any, task: Any) -> None:
    table = toy.table(task)
    trained = _fitted(toy, table, "auto").trained
    assert trained.choice is not None
    tried = {c.family: c.loss for c in trained.choice.candidates}
    assert set(tried) == {"network", "trees", "blend"}
    assert trained.loss == min(tried.values()) == tried[trained.family]
    assert trained.choice.reason


def test_a_blend_is_described_as_it_predicts(toy: Any) -> None:
    table = toy.table("regression")
    fitted = _fitted(toy, table, "blend")
    assert isinstance(fitted.model, Blend)
    trained = fitted.trained
    assert trained.family == "blend"
    assert trained.artifact == fitted.model.artifact
    assert trained.measured.parameters == fitted.model.parameters
    error = (fitted.model.predict_columns(table.validation) - table.validation.target) ** 2
    np.testing.assert_allclose(fitted.row_losses, error)
    assert trained.loss == pytest.approx(error.mean() / table.train.target.std() ** 2, rel=1e-6)


def test_no_blend_where_both_together_do_not_fit(toy: Any) -> None:
    table = toy.table("binary")
    network = _fitted(toy, table, "network").trained.measured.parameters
    trained = _fitted(toy, table, "auto", parameters=network).trained
    assert trained.choice is not None
    assert {c.family for c in trained.choice.candidates} == {"network", "trees"}
    assert "do not fit into the limit of parameters" in trained.choice.reason
    assert trained.measured.parameters <= network


def test_each_family_is_trained_alone_where_it_is_asked_for(toy: Any) -> None:
    table = toy.table("binary")
    network, trees = (_fitted(toy, table, name) for name in ("network", "trees"))
    assert isinstance(network.model, Model)
    assert isinstance(trees.model, TreesModel)
    assert (network.trained.choice, trees.trained.choice) == (None, None)


def _attention(toy: Any, table: Any, setting: str, parameters: int | None = None) -> Any:
    config = toy.config(training__family=setting, training__trees__rounds=10, attention__temperatures=[0.5])
    scores = toy.scores(table.problem, [0.9, 0.1, 0.2])

    def plan(attention: Any, family: Any) -> Any:
        return plan_family(
            attention,
            Envelope(parameters=parameters),
            config,
            toy.machine,
            train_rows=180,
            validation_rows=60,
            family=family,
        )

    return fit_families(scores, config, plan, table.train, table.validation)


def test_each_family_has_its_own_trials(toy: Any) -> None:
    table = toy.table("binary")
    network, trees, both = (_attention(toy, table, name) for name in ("network", "trees", "auto"))
    assert network.trees is None
    assert [(t.temperature, t.blended) for t in network.trials][:2] == [(None, False), (0.5, False)]
    assert trees.trees is not None
    assert (trees.trials, trees.weights) == (trees.trees.trials, trees.trees.weights)
    assert both.trials == network.trials
    assert both.trees == trees.trees
    assert trial_count(both) == max(len(both.trials), len(trees.trials)) >= 2
    prior = Inherited(
        source="a", matched=(), prior=(), shares=(0.0, 0.5, 1.0), trials=(network.trials[0],) * 3, share=0.5
    )
    assert trial_count(replace(network, inherited=prior)) == len(network.trials) + 3


def test_ids_go_in_as_categories_where_their_statistics_do_not_fit(toy: Any) -> None:
    table = toy.table("binary")
    kinds = {"x0": "numeric", "x1": "numeric", "c0": "categorical"}
    many = replace(table, problem=toy.problem(kinds, "binary", {"x0": 240, "x1": 240, "c0": 5000}))
    roomy, tight = (_attention(toy, many, "trees", limit).trees for limit in (None, 4000))
    assert roomy is not None
    assert len(roomy.treatments) == 2
    assert tight is not None
    assert (tight.treatments, tight.statistics) == ((), False)
    assert len(tight.trials) >= 2


def _paired(toy: Any, rows: int = 4000) -> Any:
    """The target follows two categories together, which alone say nothing of it."""
    random = np.random.default_rng(0)
    names = [tuple(f"{letter}{i}" for i in range(count)) for letter, count in (("a", 70), ("b", 6))]
    codes = [random.integers(0, len(values), rows).astype(np.int32) for values in names]
    target = random.permutation(np.arange(420) % 2).reshape(70, 6)[codes[0], codes[1]]
    target = np.where(random.random(rows) < 0.05, 1 - target, target).astype(np.int64)
    whole = Columns(np.zeros((rows, 0)), tuple(map(Codes, codes, names)), target, np.arange(rows))
    problem = toy.problem({"a": "categorical", "b": "categorical"}, "binary", {"a": 70, "b": 6})
    held = np.arange(rows) % 4 == 3
    return problem, whole.take(~held), whole.take(held)


def _of_pairs(toy: Any, parameters: int | None = None) -> Any:
    problem, train_rows, held = _paired(toy)
    config = toy.config(training__family="trees", training__trees__rounds=40, attention__temperatures=[0.5])
    scores = toy.scores(problem, [0.3, 0.3])

    def plan(attention: Any, family: Any) -> Any:
        return plan_family(
            attention, Envelope(parameters=parameters), config, toy.machine,
            train_rows=3000, validation_rows=1000, family=family,
        )  # fmt: skip

    return fit_families(scores, config, plan, train_rows, held), plan, train_rows, held, config


def test_pairs_of_categories_go_in_where_validation_rows_say_so(toy: Any, tmp_path: Path) -> None:
    attention, plan, train_rows, held, config = _of_pairs(toy)
    own = attention.trees
    assert (own.statistics, own.pairs) == (True, (Pair(("a", "b"), 420),))
    even, single, paired_too = own.treatments
    assert paired_too.loss < 0.7 * min(even.loss, single.loss)
    assert paired_too.gain > 0
    planned = plan(attention, "trees")
    assert planned.trees.pairs[0].values == 420
    fitted = train(planned, train_rows, held, config, seed=0)
    assert fitted.model.parameters <= planned.predicted.parameters
    assert (fitted.model.predict_columns(held).argmax(axis=1) == held.target).mean() > 0.9
    for name, content in fitted.model.files().items():
        (tmp_path / name).write_bytes(content)
    back = load_trees(tmp_path, json.loads((tmp_path / MODEL).read_bytes()))
    np.testing.assert_array_equal(back.predict_columns(held), fitted.model.predict_columns(held))
    # what is decided again from the record is the same, and the control has the same pairs
    assert fit_again(attention.scores, attention, config, plan) == attention
    assert even_twin(attention, attention).trees.pairs == own.pairs
    moved = revise(fitted.model, held, attention, config)
    assert moved.trees.pairs == own.pairs
    # shuffling either breaks the pair, and nothing else tells of the target
    assert all(f.ablation.value > 0.3 for f in moved.scores.features)


def test_pairs_that_do_not_fit_the_envelope_stay_out(toy: Any) -> None:
    own = _of_pairs(toy, parameters=900)[0].trees
    assert len(own.treatments) == 2
    assert own.pairs == own.tried_pairs == ()


def test_pairs_that_were_tried_stay_on_record(toy: Any) -> None:
    attention, plan, *_, config = _of_pairs(toy)
    own = attention.trees
    assert own.tried_pairs == own.pairs
    noisy = replace(own.treatments[2], gain=0.0, error=1.0)
    unsure = replace(own, treatments=(*own.treatments[:2], noisy), pairs=())
    again = fit_again(attention.scores, replace(attention, trees=unsure), config, plan).trees
    assert (again.pairs, again.tried_pairs) == ((), own.tried_pairs)
    sure = replace(unsure, treatments=own.treatments)
    assert fit_again(attention.scores, replace(attention, trees=sure), config, plan).trees.pairs == own.tried_pairs


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_attention_moves_to_the_feature_that_the_target_follows(toy: Any, task: Any) -> None:
    table = toy.table(task)
    config = toy.config()
    attention = toy.attention(table.problem)
    trees, blend = (_fitted(toy, table, name).model for name in ("trees", "blend"))
    moved = revise(trees, table.validation, attention, config)
    weights = [w.weight for w in moved.weights]
    assert weights[0] == max(weights) > 1 / 3
    assert sum(weights) == pytest.approx(1)
    assert (moved.scores.source, moved.round) == ("model", 1)
    assert moved.trees is not None
    assert moved.trees.weights == moved.weights
    own = TreesAttention(temperature=None, weights=attention.weights)
    both = revise(blend, table.validation, replace(attention, trees=own), config)
    assert both.trees is not None
    assert both.trees.weights[0].weight > 1 / 3
    assert both.weights != both.trees.weights


def test_the_even_twin_keeps_how_categories_go_in(toy: Any) -> None:
    table = toy.table("binary")
    even, steep = toy.attention(table.problem), toy.attention(table.problem, [0.9, 0.1, 0.2], 0.5)
    trial = Trial(temperature=0.5, loss=1.0, metric=None)
    own = TreesAttention(temperature=0.5, weights=steep.weights, trials=(trial,), statistics=True)
    twin = even_twin(even, replace(steep, trees=own))
    assert twin.trees is not None
    assert (twin.trees.statistics, twin.trees.temperature, twin.trees.weights) == (True, None, even.weights)
    assert even_twin(even, steep) == even
    assert trees_view(replace(even, trees=own)).weights == steep.weights
