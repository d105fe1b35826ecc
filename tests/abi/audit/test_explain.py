"""The story of a feature, held against the values that it is told from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abi.audit.entry import Entry
from abi.audit.explain import Explanation, SelectedFor, explain
from abi.errors import UsageError
from abi.frequency import Selection
from abi.monitored import Drift, FeatureDrift
from abi.outcomes import Slice
from abi.types import Attention, Estimate


def _entry(seq: int, kind: Any, **detail: Any) -> Entry:
    return Entry(kind=kind, model="shop", detail=detail, seq=seq, previous="", time="2026-01-01T00:00:00Z", actor="ann")


def test_the_story_is_that_of_the_record(record: Any) -> None:
    run = record(1, training__family="network").run
    value = Estimate(value=0.7, low=0.6, high=0.8)
    part = Slice(feature="a", group="low", rows=30, metric=value)
    run = replace(run, evaluation=replace(run.evaluation, slices=(part, replace(part, feature="b"))))
    entries = [
        _entry(1, "promotion", version=1, reason="better"),
        _entry(2, "promotion", version=2),
        replace(_entry(3, "drift", version=1, drifted=[]), values={"drift": "d" * 64}),
        _entry(4, "drift", version=1, drifted=["a"]),
        _entry(5, "drift", version=1, drifted=["b"]),
        _entry(6, "drift", version=2, drifted=["a"]),
    ]
    row = FeatureDrift(
        feature="a", weight=0.5, psi=0.4, statistic=0.1, p_value=0.01, distance=None, missing_before=0.0, missing_now=0.0,
        unseen=0.0, drifted=True,
    )  # fmt: skip
    drift = Drift(
        model="shop", version=1, reference="r", snapshot="s", time="t", rows=9, features=(row,), prediction=None,
        attention=None, share=0.0, psi=0.4, level=0.5, judged=True, alarm=False, due=False, since=None, reasons=(),
    )  # fmt: skip
    told = explain(run, "a", entries, {"d" * 64: drift})
    place = [f.name for f in run.problem.schema.features].index("a")
    assert told.feature == run.problem.schema.features[place]
    assert told.score == run.scores.features[place]
    assert told.score_rank == 1 + sum(f.score > told.score.score for f in run.scores.features)
    assert told.slices == (part,)
    assert [(e.seq, e.actor, e.said) for e in told.approvals] == [(1, "ann", {"version": 1, "reason": "better"})]
    assert [(e.seq, e.said.get("psi"), e.said["drifted"]) for e in told.drift] == [(3, 0.4, True), (4, None, True)]
    assert [r.kept for r in told.rounds] == [i == run.kept for i in range(len(run.rounds))]
    for index, turn in enumerate(told.rounds):
        trained = run.rounds[index]
        assert turn.weight.value == trained.plan.attention.weights[place].weight
        assert turn.capacity == trained.plan.capacity.features[place]
        assert turn.trained_weight == trained.attention[place]
        assert turn.ablation == run.moves[index].attention.scores.features[place].ablation
        assert (turn.trees, turn.trees_weight, turn.trees_ablation) == (None, None, None)
    first, second = told.rounds[:2]
    assert (first.before, first.shown) == (None, None)
    assert second.before == first.weight.value
    assert second.shown == run.moves[0].attention.scores.features[place]
    assert Explanation.from_json(told.to_json()) == told


def test_trees_and_blends_tell_of_the_trees(record: Any) -> None:
    trees = explain(record(1, training__family="trees").run, "a")
    assert (trees.rounds[0].capacity, trees.rounds[0].trees_weight) == (None, None)
    assert trees.rounds[0].trees is not None
    assert trees.rounds[0].ablation is not None
    kept = record(1, training__family="trees").run
    frugal = [replace(m, trained=replace(m.trained, plan=replace(m.trained.plan, attention=replace(m.trained.plan.attention, frugal=True, pruned=True, lean=True)))) for m in kept.moves]  # fmt: skip
    told = explain(replace(kept, moves=tuple(frugal)), "a")  # what the network's split was besides is not the trees'
    assert (told.frugal, told.pruned, told.lean) == (False, False, False)
    run = record(1, training__family="blend").run
    both = explain(run, "a")
    assert run.evaluation.trained.family == "blend"
    own = run.rounds[0].plan.attention.trees
    assert own is not None
    assert both.rounds[0].trees_weight == own.weights[0].weight
    assert both.trees_trials == own.trials
    assert both.rounds[0].trees_ablation is not None


def test_a_feature_that_helps_most_ranks_first(record: Any) -> None:
    run = record(1, training__family="network").run
    last = run.moves[0].attention.scores.features
    best = max((f for f in last if f.ablation), key=lambda f: f.ablation.value if f.ablation else 0)
    told = explain(run, best.feature)
    assert told.rounds[0].ablation_rank == 1


def test_a_feature_says_which_classes_of_the_tail_it_is_selected_for(record: Any) -> None:
    run = record(1, training__family="network").run
    selection = Selection(place=1, rows=7, features=(("a", 0.25),), terms=(("b", ("fine",)),))
    assert explain(run, "a").to_json().keys().isdisjoint({"tail", "tail_classes", "selected_for"})
    moves = [replace(m, trained=replace(m.trained, plan=replace(m.trained.plan, attention=_with(m.trained.plan.attention, selection)))) for m in run.moves]  # fmt: skip
    run = replace(run, moves=tuple(moves))
    told = {name: explain(run, name) for name in ("a", "b", "noise")}
    assert (told["a"].tail, told["a"].tail_classes) == (0.3, 2)
    assert told["a"].selected_for == (SelectedFor(label="yes", rows=7, tells=0.25),)
    assert told["b"].selected_for == (SelectedFor(label="yes", rows=7, tells=0.0, terms=("fine",)),)
    assert told["noise"].selected_for == ()


def _with(attention: Attention, selection: Selection) -> Attention:
    nothing = Selection(place=0, rows=5, features=())
    return replace(attention, tail=0.3, scores=replace(attention.scores, tail=(selection, nothing)))


def test_unknown_features_get_near_names(record: Any) -> None:
    run = record(1, training__family="network").run
    with pytest.raises(UsageError, match="got 'colur': did you mean 'colour'"):
        explain(run, "colur")
    with pytest.raises(UsageError, match="got 'qqqq': the features are 'a', 'b', 'noise', 'colour'"):
        explain(run, "qqqq")
