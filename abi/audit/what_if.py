"""What would have been decided under another envelope, temperature or recipe: nothing is trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from abi.attention.fit import fit
from abi.attention.simplex import distance
from abi.attention.trees import trees_view
from abi.audit.record import RunRecord
from abi.audit.replay import compared
from abi.config import Config
from abi.errors import UsageError
from abi.planning.planner import Planner
from abi.training.revise import move_again
from abi.training.trees_pilots import fit_again
from abi.types import Attention, Cost, Plan
from abi.values import Value

ENVELOPE: Final = ("parameters", "memory", "train_time", "latency", "energy", "cost")
TEMPERATURE: Final = "attention.temperature"
ATTENTION: Final = (TEMPERATURE, "attention.floor", "attention.cap", "attention.caution", "attention.movement")
MEASURED: Final = ("training.device", "training.precision", "training.threads", "training.checkpoint", "training.gpus")
"""Settings that a plan follows only through what was measured on a machine."""


@dataclass(frozen=True, kw_only=True)
class FeatureChange(Value):
    """One feature before and after; a width of None is where there is no network, contributions where there are no trees."""

    feature: str
    attention: tuple[float, float]
    width: tuple[int | None, int | None]
    parameters: tuple[int | None, int | None]
    bins: tuple[int | None, int | None]
    contribution: tuple[float | None, float | None]


@dataclass(frozen=True, kw_only=True)
class WhatIf(Value):
    """The kept round's plan before and after the changes. `moved` is the total variation between the attentions.

    Later rounds move attention by what their models showed; where attention itself changes, that is taken as it was.
    """

    run_id: str
    changes: dict[str, str]
    round: int
    moved: float
    features: tuple[FeatureChange, ...]
    predicted: tuple[Cost, Cost]
    family: tuple[str, str]
    reasons: tuple[str, ...]


def what_if(run: RunRecord, changes: Mapping[str, str]) -> WhatIf:
    """Decide again with `changes` (setting -> value as it would be written in abi.yaml).

    Raises:
        UsageError: a setting that needs data or training, is unknown, or out of bounds.
        PlanInfeasible: nothing fits the changed envelope.
    """
    if run.conditions is None:
        msg = f"Expected a run that recorded its settings and machine, got {run.title}, which is older: run it again first."
        raise UsageError(msg)
    keys = {f"envelope.{key}" if key in ENVELOPE else key: value for key, value in changes.items()}
    for key in keys:
        _expect_free(key)
    settings = _laid_over(run.conditions.settings, {k: v for k, v in keys.items() if k != TEMPERATURE})
    planner = Planner.of(replace(run.conditions, settings=settings))
    before = run.rounds[run.kept].plan
    after = (
        _decided(run, planner, keys)
        if any(key.startswith("attention.") for key in keys)
        else planner.divide(before.attention, _family(run, run.kept, keys))  # type: ignore[arg-type]  # a family or None
    )
    return WhatIf(
        run_id=run.run_id,
        changes=dict(changes),
        round=run.kept + 1,
        moved=round(distance(_weights(run, before), _weights(run, after)), 9),
        features=_features(run, before, after),
        predicted=(before.predicted, after.predicted),
        family=(before.family, after.family),
        reasons=after.reasons,
    )


def _expect_free(key: str) -> None:
    section, _, name = key.partition(".")
    free = (section == "envelope" and name in ENVELOPE) or key in ATTENTION or (section == "training" and name)
    if not free or key in MEASURED:
        msg = f"Expected a setting that needs no data or training to decide again, got {key!r}: use {', '.join(ENVELOPE)}, {', '.join(ATTENTION)} or one of training.*, and `abi run --set` for others."
        raise UsageError(msg)


def _laid_over(settings: Mapping[str, Any], changes: Mapping[str, str]) -> dict[str, Any]:
    plain = copy.deepcopy(dict(settings))
    for key, text in changes.items():
        *parents, leaf = key.split(".")
        place = plain
        for i, parent in enumerate(parents):
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                msg = f"Expected a setting, got {key!r}: {'.'.join(parents[: i + 1])!r} is one value, without parts."
                raise UsageError(msg)
        place[leaf] = None if text == "null" else text
    return plain


def _temperature(text: str, config: Config) -> float | None:
    """A temperature as the candidates are checked; None for the even split."""
    if text == "even":
        return None
    plain = {"attention": {**config.attention.model_dump(mode="json"), "temperatures": [text]}}
    return Config.restore(plain).attention.temperatures[0]


def _decided(run: RunRecord, planner: Planner, keys: Mapping[str, str]) -> Plan:
    """The kept round's plan where attention itself is decided again."""
    recorded, config = run.rounds[0].plan.attention, planner.config
    if TEMPERATURE not in keys:
        _expect(compared(recorded), run)
        attention = fit_again(run.scores, recorded, config, planner.divide)
    else:
        temperature = _temperature(keys[TEMPERATURE], config)
        attention = fit(
            run.scores,
            temperature,
            config.attention,
            recorded.trials,
            frugal=recorded.frugal,
            pruned=recorded.pruned,
            lean=recorded.lean,
        )
        if recorded.trees is not None:
            own = replace(recorded.trees, temperature=temperature, weights=attention.weights, blend=None)
            attention = replace(attention, trees=own)
    for move in run.moves[: run.kept]:
        moved = move_again(attention, move.attention, move.trained.family, config)
        _expect(moved is not None, run)
        assert moved is not None
        attention = moved
    return planner.divide(attention, _family(run, run.kept, {}))  # type: ignore[arg-type]  # a family or None


def _expect(recorded: bool, run: RunRecord) -> None:
    if not recorded:
        msg = f"Expected a run that recorded what its trials and models showed, got {run.title}, which is older: run it again first."
        raise UsageError(msg)


def _family(run: RunRecord, index: int, keys: Mapping[str, str]) -> str | None:
    """The family that an earlier round decided on; another one where it is asked for."""
    return None if index == 0 or "training.family" in keys else run.moves[index - 1].trained.family


def _attention(run: RunRecord, plan: Plan) -> Attention:
    """As the kept family had it."""
    return trees_view(plan.attention) if run.evaluation.trained.family == "trees" else plan.attention


def _weights(run: RunRecord, plan: Plan) -> Float[np.ndarray, " features"]:
    return np.array([w.weight for w in _attention(run, plan).weights])


def _features(run: RunRecord, before: Plan, after: Plan) -> tuple[FeatureChange, ...]:
    def of(plan: Plan) -> Sequence[dict[str, Any]]:
        network = {f.feature: f for f in plan.capacity.features}
        trees = {f.feature: f for f in plan.trees.features} if plan.trees is not None else {}
        return [
            {
                "attention": w.weight,
                "width": network[w.feature].width if w.feature in network else None,
                "parameters": network[w.feature].parameters if w.feature in network else None,
                "bins": trees[w.feature].bins if w.feature in trees else None,
                "contribution": trees[w.feature].contribution if w.feature in trees else None,
            }
            for w in _attention(run, plan).weights
        ]

    return tuple(
        FeatureChange(feature=w.feature, **{key: (old[key], new[key]) for key in old})
        for w, old, new in zip(before.attention.weights, of(before), of(after), strict=True)
    )
