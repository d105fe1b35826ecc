"""The whole story of one feature in one run: its data, scores, attention, what it was given and why, what it was worth."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from abi.attention.trees import trees_view
from abi.audit.entry import Entry
from abi.audit.record import RunRecord
from abi.errors import PlanInfeasible, UsageError, clip, listed
from abi.monitored import Drift
from abi.outcomes import Slice, TermWidth, Trained
from abi.planning.planner import Planner
from abi.planning.steps import NextStep, by_feature, next_steps
from abi.planning.trail import Trail
from abi.problem import Feature
from abi.trees_capacity import TreeFeature
from abi.types import Attention, Estimate, Family, FeatureCapacity, FeatureScore, Plan, ScoreBlend, Scores, Trial
from abi.values import Late, Value

APPROVING: Final = ("registration", "gates", "promotion", "approval", "rollback", "quarantine")
"""Entries that say what became of a version."""


@dataclass(frozen=True, kw_only=True)
class RoundStory(Value):
    """One round: the feature's share and why, what it was given and why, and what training made of it.

    Attributes:
        round: from 1.
        kept: whether this round's model was kept.
        weight: attention, with the interval that follows the score's.
        rank: 1 is the most attention.
        bound: whether the weight stands on the floor or the cap.
        floor: least weight.
        cap: most weight.
        before: the weight of the round before, None in the first.
        shown: what the model of the round before showed: its score from the model, None in the first.
        capacity: of the network, None where there was none.
        trees: of the trees, None where there were none.
        trees_weight: of a blend, the trees' own attention; None elsewhere.
        trained_weight: the weight after training.
        left: parameters that training left it, None where the plan did not prune.
        ablation: what shuffling it adds to the validation loss of the round's model; None where that was not recorded.
        ablation_rank: 1 is the feature whose loss hurts most.
        trees_ablation: of a blend, what shuffling it adds to the trees' own loss.
    """

    round: int
    kept: bool
    weight: Estimate
    rank: int
    bound: Literal["floor", "cap"] | None
    floor: float
    cap: float
    before: float | None
    shown: FeatureScore | None
    capacity: FeatureCapacity | None
    trees: TreeFeature | None
    trees_weight: float | None
    trained_weight: float
    left: int | None
    ablation: Estimate | None
    ablation_rank: int | None
    trees_ablation: Estimate | None


@dataclass(frozen=True, kw_only=True)
class Event(Value):
    """An entry of the ledger that concerns the feature or the version; `said` is what it says of the feature."""

    seq: int
    time: str
    actor: str
    kind: str
    said: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SelectedFor(Value):
    """A class of the tail that the feature is selected for.

    `rows` are its training rows, `tells` the share of its entropy that the feature tells (0 where only terms of it are
    selected), `terms` of a text the best ones.
    """

    label: str
    rows: int
    tells: float
    terms: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Explanation(Value):
    """The story of one feature.

    Attributes:
        run_id: MLflow's.
        model: name and version.
        feature: kind, column, distinct values, missing share.
        features: how many there are.
        score: from the data, with its terms, interval and null.
        score_rank: 1 is the highest score.
        temperature: of attention; None for the even split.
        frugal: whether features without signal get nothing.
        pruned: whether training starts larger and drops weights.
        lean: whether it has few ensemble members whose encoders learn faster.
        trials: what was tried, and by how much each beat what was preferred before it.
        trees_trials: of a blend, the same of the trees' own attention.
        blend: the fitted blend of score terms, where it was kept.
        rounds: one story for each.
        next: what the kept plan would have given it next, its price and what that is expected to bring; of a blend in both
            families. Empty where the run did not record what its plans rest on, or the code plans otherwise now.
        even: what the even split of the same envelope would have given it in the network; None where there was none.
        even_trees: the same in the trees.
        family: of the kept model.
        loss: validation loss of the kept model, to hold the ablation against.
        slices: held-out quality on the feature's groups.
        terms: of a text, those that training kept the most of.
        drift: looks at new rows, and what they found of the feature.
        approvals: what became of the version, and by whom.
        tail: of the run's attention, the share that lies on what is selected for classes of the tail; None where none does.
        tail_classes: how many of these there are.
        selected_for: those that the feature is selected for, the rarest first.
    """

    run_id: str
    model: str
    feature: Feature
    features: int
    score: FeatureScore
    score_rank: int
    temperature: float | None
    frugal: bool
    pruned: bool
    lean: bool
    trials: tuple[Trial, ...]
    trees_trials: tuple[Trial, ...]
    blend: ScoreBlend | None
    rounds: tuple[RoundStory, ...]
    next: tuple[NextStep, ...]
    even: FeatureCapacity | None
    even_trees: TreeFeature | None
    family: str
    loss: float
    slices: tuple[Slice, ...]
    terms: tuple[TermWidth, ...]
    drift: tuple[Event, ...]
    approvals: tuple[Event, ...]
    tail: Late[float | None] = None
    tail_classes: Late[int | None] = None
    selected_for: Late[tuple[SelectedFor, ...]] = ()


def explain(
    run: RunRecord, feature: str, entries: Sequence[Entry] = (), drifts: Mapping[str, Drift] | None = None
) -> Explanation:
    """Everything that the run, and the ledger's entries about its model, say of one feature.

    Args:
        run: what was recorded.
        feature: its name.
        entries: of the ledger, about the run's model.
        drifts: id -> what a look at new rows found.

    Raises:
        UsageError: there is no such feature; near names are given.
    """
    known = run.problem.schema.features
    names = [f.name for f in known]
    if feature not in names:
        near = difflib.get_close_matches(feature, names, n=3, cutoff=0.5)
        column = [f.name for f in known if f.column == feature]
        hint = f"did you mean {listed(near or column)}?" if near or column else f"the features are {listed(names)}."
        msg = f"Expected a feature of run {run.title}, got {clip(feature)!r}: {hint}"
        raise UsageError(msg)
    place = names.index(feature)
    kept = run.evaluation.trained
    first = _as_kept(kept, run.rounds[0].plan.attention)
    even = _even(run)
    return Explanation(
        run_id=run.run_id,
        model=run.title,
        feature=known[place],
        features=len(names),
        score=run.scores.features[place],
        score_rank=_rank([f.score for f in run.scores.features], place),
        temperature=first.temperature,
        frugal=first.frugal,
        pruned=first.pruned,
        lean=first.lean,
        trials=first.trials,
        trees_trials=first.trees.trials if first.trees is not None and kept.family == "blend" else (),
        blend=first.blend,
        rounds=tuple(_round(run, i, place) for i in range(len(run.rounds))),
        next=tuple(s for s in by_feature(_steps(run), feature) if kept.family in {"blend", s.part}),
        even=even.capacity.features[place] if even and even.capacity.features and kept.family != "trees" else None,
        even_trees=even.trees.features[place] if even and even.trees and kept.family != "network" else None,
        family=kept.family,
        loss=kept.loss,
        slices=tuple(s for s in run.evaluation.slices if s.feature == feature),
        terms=tuple(t for t in kept.terms if t.feature == feature),
        drift=tuple(
            _event(e, said)
            for e in entries
            if e.kind == "drift"
            and e.detail.get("version") == run.version
            and (said := _drift(e, feature, drifts or {})) is not None
        ),
        approvals=tuple(
            _event(e, e.detail) for e in entries if e.kind in APPROVING and e.detail.get("version") == run.version
        ),
        tail=first.tail,
        tail_classes=len(run.scores.tail) or None,
        selected_for=selected_for(run.scores, feature),
    )


def selected_for(scores: Scores, feature: str) -> tuple[SelectedFor, ...]:
    """The classes of the tail that a feature, or a term of it, is selected for."""
    found = []
    for selection in scores.tail:
        tells, terms = dict(selection.features).get(feature), dict(selection.terms).get(feature, ())
        if tells is not None or terms:
            label = scores.problem.schema.classes[selection.place]
            found.append(SelectedFor(label=label, rows=selection.rows, tells=tells or 0.0, terms=terms))
    return tuple(found)


def planned(run: RunRecord) -> tuple[Planner, Attention, Family | None] | None:
    """What the kept round's plan was made by and of; None where the run did not record it."""
    if run.conditions is None:
        return None
    before = run.moves[run.kept - 1] if run.kept else None
    family = None if before is None else before.trained.family
    return Planner.of(run.conditions), run.rounds[run.kept].plan.attention, family


def _steps(run: RunRecord) -> tuple[NextStep, ...]:
    """Of all features, where the plan comes out as it was recorded."""
    found = planned(run)
    if found is None:
        return ()
    planner, attention, family = found
    trail = Trail(planner.machine.solver)
    try:
        made = planner.divide(attention, family, trail=trail)
    except PlanInfeasible:
        return ()
    return next_steps(made, trail) if made.id == run.rounds[run.kept].plan.id else ()


def _even(run: RunRecord) -> Plan | None:
    found = planned(run)
    if found is None:
        return None
    planner, attention, family = found
    try:
        return planner.divide(attention, family, allocation="even")
    except PlanInfeasible:
        return None


def _as_kept(trained: Trained, attention: Attention) -> Attention:
    """As the kept family had it."""
    return trees_view(attention) if trained.family == "trees" else attention


def _round(run: RunRecord, index: int, place: int) -> RoundStory:
    trained = run.rounds[index]
    attention = _as_kept(trained, trained.plan.attention)
    weights = [w.weight for w in attention.weights]
    own = attention.weights[place]
    plan = trained.plan
    before = _as_kept(trained, run.rounds[index - 1].plan.attention) if index else None
    moved = run.moves[index].attention
    shown = moved.scores.features  # what this round's model showed
    trees = attention.trees if trained.family == "blend" else None
    ablations = [f.ablation.value if f.ablation is not None else 0.0 for f in shown]
    return RoundStory(
        round=index + 1,
        kept=index == run.kept,
        weight=Estimate(value=own.weight, low=own.low, high=own.high),
        rank=_rank(weights, place),
        bound=own.bound,
        floor=attention.floor,
        cap=attention.cap,
        before=None if before is None else before.weights[place].weight,
        shown=run.moves[index - 1].attention.scores.features[place] if index else None,
        capacity=plan.capacity.features[place] if plan.capacity.features and trained.family != "trees" else None,
        trees=plan.trees.features[place] if plan.trees is not None and trained.family != "network" else None,
        trees_weight=None if trees is None else trees.weights[place].weight,
        trained_weight=trained.attention[place] if trained.attention else own.weight,
        left=trained.kept[place] if trained.kept else None,
        ablation=shown[place].ablation,
        ablation_rank=_rank(ablations, place) if shown[place].ablation is not None else None,
        trees_ablation=moved.trees.features[place].ablation if moved.trees and moved.trees.features else None,
    )


def _rank(values: Sequence[float], place: int) -> int:
    """1 is the largest."""
    return 1 + sum(v > values[place] for v in values)


def _event(entry: Entry, said: Mapping[str, Any]) -> Event:
    return Event(seq=entry.seq, time=entry.time, actor=entry.actor, kind=entry.kind, said=dict(said))


def _drift(entry: Entry, feature: str, drifts: Mapping[str, Drift]) -> dict[str, Any] | None:
    """What a look at new rows found of one feature: all of it where its value is here, else whether it had drifted."""
    value = drifts.get(entry.values.get("drift", ""))
    if value is None:
        return {"drifted": True} if feature in entry.detail.get("drifted", ()) else None
    row = next((f for f in value.features if f.feature == feature), None)
    return None if row is None else {key: held for key, held in row.to_json().items() if key != "feature"}
