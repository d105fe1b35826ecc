"""Recorded decisions come out again byte for byte, and a changed one is named."""

from __future__ import annotations

import json
import sys
from dataclasses import fields, replace
from typing import Any

import pytest

from abi.audit.record import RunRecord
from abi.audit.replay import Decision, replay, verdict
from abi.documents import document, read_document
from abi.errors import AuditBroken, WorkspaceError
from abi.types import Estimate, Trial, Usage
from abi.values import Value

RUNS: list[dict[str, Any]] = [
    {"training__family": "auto"},
    {"training__family": "network"},
    {"training__family": "trees"},
    {"training__family": "blend"},
    {"training__family": "trees", "ids": True},
    # too little for what the rows ask for: frugal, with a fitted blend; with seed 3 pruned
    {"training__family": "network", "envelope__parameters": 1500, "attention__caution": 0},
    {"training__family": "network", "envelope__parameters": 800, "attention__caution": 0, "text": True},
    {"training__family": "network", "attention__tail": 0.3, "attention__caution": 0, "text": True},
]
SEEDED = [(1, asked) for asked in RUNS] + [(2, asked) for asked in RUNS[:4]]
SEEDED += [(3, {"training__family": "network", "envelope__parameters": 1000, "attention__caution": 0})]


def again(run: RunRecord) -> RunRecord:
    """The run as JSON gives it back."""

    def read(value: Any) -> Any:
        return read_document(json.loads(json.dumps(document(value)))) if isinstance(value, Value) else value

    held = {f.name: getattr(run, f.name) for f in fields(run)}
    return RunRecord(**{name: tuple(map(read, v)) if isinstance(v, tuple) else read(v) for name, v in held.items()})


@pytest.mark.slow
def test_a_hundred_recorded_decisions_come_out_byte_for_byte(record: Any) -> None:
    replayed: list[Decision] = []
    for seed, asked in SEEDED:
        made = record(seed, **asked)
        found = replay(again(made.run), made.tables)
        assert [(seed, asked, d.name, d.difference, d.why) for d in found if not d.same] == []
        replayed += found
    sys.stdout.write(f"seeds 1 and 2: {len(replayed)} decisions of {len(SEEDED)} runs\n")
    assert len(replayed) >= 100


@pytest.mark.slow
def test_those_runs_have_every_family_and_kind_of_split(record: Any) -> None:
    kept = [record(seed, **asked).run.evaluation.trained for seed, asked in SEEDED]
    assert {t.family for t in kept} == {"network", "trees", "blend"}
    assert any(t.plan.capacity.pruning is not None for t in kept)
    assert any(t.plan.attention.scores.terms for t in kept)
    assert any(trial.blended for t in kept for trial in t.plan.attention.trials)
    assert any(t.plan.attention.frugal for t in kept)
    assert any(t.plan.attention.trees is not None and t.plan.attention.trees.treatments for t in kept)
    assert max(t.plan.attention.round for t in kept) >= 1


def test_the_decisions_of_a_run_in_their_order(record: Any) -> None:
    made = record(1, training__family="auto")
    found = replay(made.run, made.tables)
    rounds = [f"{name} {i}" for i in range(1, len(made.run.moves) + 1) for name in ("plan", "family", "move")]
    assert len(made.run.moves) > 1
    held = [n for n in rounds if not n.startswith("family") or made.run.rounds[int(n[-1]) - 1].choice]
    assert [d.name for d in found] == ["schema", "scores", "attention", *held, "best round", "control"]
    assert all(d.recorded == d.recomputed for d in found)
    verdict(found)


def _changed_weight(run: RunRecord) -> RunRecord:
    """The second round's attention, as it was trained on, with two weights exchanged."""
    trained = run.rounds[1]
    weights = list(trained.plan.attention.weights)
    weights[0], weights[1] = (
        replace(weights[0], weight=weights[1].weight),
        replace(weights[1], weight=weights[0].weight),
    )
    attention = replace(trained.plan.attention, weights=tuple(weights))
    forged = replace(trained, plan=replace(trained.plan, attention=attention))
    return replace(run, moves=(run.moves[0], replace(run.moves[1], trained=forged), *run.moves[2:]))


def _changed_score(run: RunRecord) -> RunRecord:
    first = run.moves[0]
    attention = first.trained.plan.attention
    features = attention.scores.features
    scores = replace(attention.scores, features=(replace(features[0], relevance=0.123), *features[1:]))
    plan = replace(first.trained.plan, attention=replace(attention, scores=scores))
    return replace(run, moves=(replace(first, trained=replace(first.trained, plan=plan)), *run.moves[1:]))


def _without_beside(run: RunRecord) -> RunRecord:
    """The run as it was recorded before features were tested beside one another."""
    first = run.moves[0]
    attention = first.trained.plan.attention
    features = tuple(
        replace(f, beside=None, carries_signal=f.carries_signal and not f.only_beside)
        for f in attention.scores.features
    )
    plan = replace(
        first.trained.plan, attention=replace(attention, scores=replace(attention.scores, features=features))
    )
    return replace(run, moves=(replace(first, trained=replace(first.trained, plan=plan)), *run.moves[1:]))


def _changed_gain(run: RunRecord) -> RunRecord:
    first = run.moves[0]
    attention = first.trained.plan.attention
    trials = [replace(t, gain=t.gain and -t.gain) for t in attention.trials]
    plan = replace(first.trained.plan, attention=replace(attention, trials=tuple(trials)))
    return replace(run, moves=(replace(first, trained=replace(first.trained, plan=plan)), *run.moves[1:]))


def _changed_reason(run: RunRecord) -> RunRecord:
    return replace(run, moves=(*run.moves[:-1], replace(run.moves[-1], reason="enough")))


def _changed_control(run: RunRecord) -> RunRecord:
    return replace(run, control=replace(run.control, seed=run.control.seed + 1))


def _changed_width(run: RunRecord) -> RunRecord:
    first = run.moves[0]
    capacity = first.trained.plan.capacity
    features = (replace(capacity.features[0], width=capacity.features[0].width + 1), *capacity.features[1:])
    plan = replace(first.trained.plan, capacity=replace(capacity, features=features))
    return replace(run, moves=(replace(first, trained=replace(first.trained, plan=plan)), *run.moves[1:]))


@pytest.mark.parametrize(
    ("change", "named", "field"),
    [
        (_changed_weight, "plan 2", "attention.weights[a].weight: "),
        (_changed_score, "scores", "features[a].relevance: 0.123 -> "),
        (_changed_width, "plan 1", "capacity.features[a].width: "),
        (_changed_reason, "move ", 'reason: "enough" -> '),
        (_changed_control, "control", "seed: "),
    ],
)
def test_a_changed_decision_is_named_with_its_first_field(record: Any, change: Any, named: str, field: str) -> None:
    made = record(1, training__family="network")
    found = replay(change(made.run), made.tables)
    broken = [d for d in found if not d.same]
    assert broken[0].name.startswith(named)
    assert broken[0].difference.startswith(field)
    with pytest.raises(AuditBroken, match=named):
        verdict(found)


def test_scores_of_a_run_that_tested_no_feature_beside_others_come_out_as_they_were(record: Any) -> None:
    made = record(1, training__family="network")
    before = _without_beside(made.run)
    assert before.scores != made.run.scores
    assert next(d for d in replay(before, made.tables) if d.name == "scores").same


def test_evidence_that_says_otherwise_is_found(record: Any) -> None:
    made = record(1, training__family="network", attention__caution=0)
    trials = made.run.rounds[0].plan.attention.trials
    assert any(t.gain and t.gain > 0 for t in trials)
    found = {d.name: d for d in replay(_changed_gain(made.run), made.tables)}
    assert not found["attention"].same


def test_without_the_snapshot_its_decisions_are_not_replayed_and_the_others_are(record: Any) -> None:
    def gone() -> Any:
        msg = "Expected the data, got none."
        raise WorkspaceError(msg)

    found = replay(record(1, training__family="network").run, gone)
    left = [d for d in found if not d.same]
    assert [d.name for d in left] == ["schema", "scores"]
    assert all(
        d.recomputed is None and d.why == "the snapshot is not there: Expected the data, got none." for d in left
    )
    verdict(found)


def test_a_run_from_before_there_was_evidence_is_not_called_broken(record: Any) -> None:
    made = record(1, training__family="network")
    first = made.run.moves[0]
    attention = first.trained.plan.attention
    bare = replace(attention, trials=tuple(replace(t, gain=None, error=None) for t in attention.trials), usage=None)
    features = tuple(replace(f, share=None, ablation=None) for f in first.attention.scores.features)
    moved = replace(first.attention, scores=replace(first.attention.scores, features=features))
    trained = replace(first.trained, plan=replace(first.trained.plan, attention=bare))
    old = replace(
        made.run,
        moves=(replace(first, trained=trained, attention=moved), *made.run.moves[1:]),
        control=replace(made.run.control, tried=None),
    )
    why = {d.name: d.why for d in replay(old, made.tables) if d.recomputed is None}
    assert why == {
        "attention": "the run was recorded without what its trials were compared by",
        "move 1": "the run was recorded without the shares that its model showed",
        "control": "the run was recorded without the losses of its control's trainings",
    }
    bare_run = replace(made.run, conditions=None)
    assert {d.recomputed for d in replay(bare_run, made.tables) if d.name != "best round"} == {None}


@pytest.mark.parametrize(
    "value", [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.1 + 0.2, 2.0**-1074, 1e21, 123456789.123]
)
def test_floats_round_trip(value: float) -> None:
    made = Usage(shares=(value,), heard=(True,))
    back = Usage.from_json(json.loads(made.canonical()))
    assert back.shares[0].hex() == value.hex()
    assert back.canonical() == made.canonical()


def test_what_was_recorded_before_a_field_existed_keeps_its_bytes_and_id() -> None:
    old = {"temperature": 0.4, "loss": 0.5, "metric": None, "frugal": False, "pruned": False, "blended": False}
    trial = Trial.from_json(old)
    assert trial.to_json() == old
    assert (trial.gain, trial.error) == (None, None)
    assert Trial.from_json(replace(trial, gain=0.0, error=0.25).to_json()).gain == 0.0


def test_a_verdict_of_nothing_but_gaps_is_no_break() -> None:
    verdict([Decision(name="scores", recorded="a", recomputed=None, why="gone")])
    with pytest.raises(AuditBroken, match=r"'plan 1' .* \(x: 1 -> 2\)"):
        verdict([Decision(name="plan 1", recorded="a", recomputed="b", difference="x: 1 -> 2")])


def test_an_estimate_is_no_gap() -> None:
    assert Estimate(value=0.0, low=0.0, high=0.0).to_json() == {"value": 0.0, "low": 0.0, "high": 0.0}
