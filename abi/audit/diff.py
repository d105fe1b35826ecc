"""Two runs side by side: what changed in data, settings and code, and with it scores, attention, allocation, cost, quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from scipy.spatial.distance import jensenshannon

from abi.attention.trees import trees_view
from abi.audit.record import RunRecord
from abi.outcomes import Gain
from abi.planning.compare import PlanChange, compare
from abi.types import Attention, Cost, Estimate, Plan
from abi.values import Value

Side = tuple[float | None, float | None]
DIGITS: Final = 9


@dataclass(frozen=True, kw_only=True)
class FeatureDiff(Value):
    """One feature in both runs; None where a run does not have it."""

    feature: str
    change: Literal["kept", "added", "removed", "kind"]
    kind: tuple[str | None, str | None]
    score: Side
    attention: Side
    width: tuple[int | None, int | None]
    parameters: tuple[int | None, int | None]
    contribution: Side

    @property
    def moved(self) -> float:
        """By how much attention moved."""
        return (self.attention[1] or 0.0) - (self.attention[0] or 0.0)


@dataclass(frozen=True, kw_only=True)
class MetricDiff(Value):
    """A held-out metric in both runs. `overlap` is whether the 95% intervals meet: then the difference may be chance."""

    metric: str
    before: Estimate | None
    after: Estimate | None
    overlap: bool | None


@dataclass(frozen=True, kw_only=True)
class GainDiff(Value):
    """The gain over a control in both runs."""

    control: str
    before: Gain | None
    after: Gain | None


@dataclass(frozen=True, kw_only=True)
class RunDiff(Value):
    """What changed between two runs.

    Attributes:
        before: title of the first run.
        after: of the second.
        same_data: whether both learned from the same snapshot.
        rows: of the training file.
        same_test: whether metrics are of the same held-out rows.
        target: what is predicted.
        settings: key -> value before and after, where they differ; None where a run did not record its settings.
        code: ids of the code, None where one is not known.
        libraries: name -> versions, where they differ.
        family: of the kept models.
        split: temperature of both kept attentions.
        total_variation: share of attention that moved, over the features of both.
        jensen_shannon: distance of the attentions (base 2; 0 is the same, 1 disjoint).
        features: by how far attention moved, the most first.
        predicted: cost.
        measured: cost.
        metrics: held-out quality.
        gains: over the controls.
        plan: layers, backbone, trees, envelope and execution of the kept plans.
    """

    before: str
    after: str
    same_data: bool
    rows: tuple[int, int]
    same_test: bool
    target: tuple[str, str]
    settings: dict[str, tuple[Any, Any]] | None
    code: tuple[str | None, str | None]
    libraries: dict[str, tuple[str | None, str | None]]
    family: tuple[str, str]
    split: Side
    total_variation: float
    jensen_shannon: float
    features: tuple[FeatureDiff, ...]
    predicted: tuple[Cost, Cost]
    measured: tuple[Cost, Cost]
    metrics: tuple[MetricDiff, ...]
    gains: tuple[GainDiff, ...]
    plan: PlanChange


def diff(before: RunRecord, after: RunRecord) -> RunDiff:
    """Compare two runs, of the same data or not."""
    first, second = before.evaluation, after.evaluation
    conditions = before.conditions, after.conditions
    known = conditions[0] is not None and conditions[1] is not None
    attentions = _attention(before), _attention(after)
    weights = [{w.feature: w.weight for w in a.weights} for a in attentions]
    names = list(dict.fromkeys([*weights[0], *weights[1]]))
    shares = [np.array([side.get(name, 0.0) for name in names]) for side in weights]
    features = sorted((_feature(before, after, name) for name in names), key=lambda f: (-abs(f.moved), f.feature))
    schema = before.problem.schema, after.problem.schema
    return RunDiff(
        before=before.title,
        after=after.title,
        same_data=before.snapshot.id == after.snapshot.id,
        rows=(before.snapshot.train.rows, after.snapshot.train.rows),
        same_test=_test_rows(before) == _test_rows(after),
        target=(schema[0].target, schema[1].target),
        settings=changed_settings(conditions[0].settings, conditions[1].settings) if known else None,  # type: ignore[union-attr]
        code=tuple(None if c is None else c.code for c in conditions),  # type: ignore[arg-type]  # two
        libraries=_changed(conditions[0].libraries, conditions[1].libraries) if known else {},  # type: ignore[union-attr]
        family=(first.trained.family, second.trained.family),
        split=(attentions[0].temperature, attentions[1].temperature),
        total_variation=round(float(np.abs(shares[0] - shares[1]).sum() / 2), DIGITS),
        jensen_shannon=round(float(np.nan_to_num(jensenshannon(shares[0], shares[1], base=2))), DIGITS),
        features=tuple(features),
        predicted=(first.trained.predicted, second.trained.predicted),
        measured=(first.measured, second.measured),
        metrics=tuple(
            _metric(name, first.metrics.get(name), second.metrics.get(name))
            for name in dict.fromkeys([first.primary, *first.metrics, *second.metrics])
        ),
        gains=tuple(
            GainDiff(control=name, before=_gain(before, name), after=_gain(after, name))
            for name in dict.fromkeys(c.name for c in (*first.controls, *second.controls))
        ),
        plan=compare(first.trained.plan, second.trained.plan, (before.title, after.title)),
    )


def changed_settings(
    before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> (before, after) of every setting that differs."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys([*before, *after]):
        one, other = before.get(key), after.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found |= changed_settings(one, other, f"{prefix}{key}.")
        elif one != other:
            found[f"{prefix}{key}"] = (one, other)
    return found


def overlapping(first: Estimate, second: Estimate) -> bool:
    """Whether the intervals have a value in common."""
    return first.low <= second.high and second.low <= first.high


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    names = dict.fromkeys([*before, *after])
    return {n: (before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)}


def _test_rows(run: RunRecord) -> tuple[str, int, float]:
    """What the held-out rows are: a file, or rows of the training file by seed and share, or from a time on."""
    file, split = run.snapshot.test, run.problem.split
    if file is not None:
        return file.sha256, 0, 0.0
    return (
        (run.snapshot.train.sha256, 0, split.starts[-1])
        if split.order
        else (run.snapshot.train.sha256, split.seed, split.test)
    )


def _attention(run: RunRecord) -> Attention:
    """The kept plan's, as the kept family had it."""
    kept = run.evaluation.trained
    return trees_view(kept.plan.attention) if kept.family == "trees" else kept.plan.attention


def _feature(before: RunRecord, after: RunRecord, name: str) -> FeatureDiff:
    one, other = _facts(before, name), _facts(after, name)
    kinds = one.get("kind"), other.get("kind")
    change: Literal["kept", "added", "removed", "kind"] = (
        "added" if kinds[0] is None else "removed" if kinds[1] is None else "kind" if kinds[0] != kinds[1] else "kept"
    )
    held = {
        key: (one.get(key), other.get(key))
        for key in ("kind", "score", "attention", "width", "parameters", "contribution")
    }
    return FeatureDiff(feature=name, change=change, **held)


def _facts(run: RunRecord, name: str) -> dict[str, Any]:
    names = [f.name for f in run.problem.schema.features]
    if name not in names:
        return {}
    i, kept = names.index(name), run.evaluation.trained
    plan: Plan = kept.plan
    network = plan.capacity.features[i] if plan.capacity.features and kept.family != "trees" else None
    trees = plan.trees.features[i] if plan.trees is not None and kept.family != "network" else None
    return {
        "kind": run.problem.schema.features[i].kind,
        "score": run.scores.features[i].score,
        "attention": _attention(run).weights[i].weight,
        "width": None if network is None else network.width,
        "parameters": None if network is None else network.parameters,
        "contribution": None if trees is None else trees.contribution,
    }


def _metric(name: str, before: Estimate | None, after: Estimate | None) -> MetricDiff:
    overlap = None if before is None or after is None else overlapping(before, after)
    return MetricDiff(metric=name, before=before, after=after, overlap=overlap)


def _gain(run: RunRecord, name: str) -> Gain | None:
    return next((c.gain for c in run.evaluation.controls if c.name == name), None)
