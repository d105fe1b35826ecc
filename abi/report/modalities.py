"""Several kinds of input on the page: what attention each modality has, and what the model loses without it (`abi.report.modality_losses`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from abi.modality import OF_TABLE, modality_of
from abi.problem import Schema
from abi.report.axis import Axis
from abi.report.wording import alignment_sentence, clean, decimals, number, percent, plural
from abi.types import Estimate

if TYPE_CHECKING:
    from abi.report.content import Report


def modalities_of(schema: Schema) -> dict[str, tuple[int, ...]]:
    """Modality -> its features' places: the table, each text, each column of pictures or sounds."""
    found: dict[str, list[int]] = {}
    for place, feature in enumerate(schema.features):
        found.setdefault(modality_of(feature), []).append(place)
    return {name: tuple(places) for name, places in found.items()}


def modalities(report: Report) -> dict[str, Any]:
    """A row per modality, the one with the most attention first; none where all features are of one."""
    schema = report.checks.problem.schema
    weights = [w.weight for w in report.plan.attention.weights]
    found = modalities_of(schema)
    if len(found) < 2:  # noqa: PLR2004 - of one there is nothing to compare
        return {"modalities": []}
    losses = {m.modality: m.ablation for m in (report.exhibits.modalities if report.exhibits is not None else ())}
    order = sorted(found, key=lambda name: -_total(weights, found[name]))
    axis = Axis.upto([v for own in found.values() for v in (_total(weights, own), len(own) / len(weights))])
    scale = Axis.upto([e.high for e in losses.values()])
    places = decimals(max((abs(e.value) for e in losses.values()), default=0.0), 3)
    return {
        "modalities": [
            {
                "name": clean(name),
                "features": _said(schema, found[name]),
                "share": percent(_total(weights, found[name])),
                "fill": axis.at(_total(weights, found[name])),
                "even": axis.at(len(found[name]) / len(weights)),
                "missing": _missing(schema, found[name]),
                **_loss(losses.get(name), scale, places),
            }
            for name in order
        ],
        "shuffled": bool(losses),
        "aligned": alignment_sentence(report.evaluation.trained),
    }


def _total(weights: Sequence[float], places: Sequence[int]) -> float:
    return sum(weights[place] for place in places)


def _said(schema: Schema, places: Sequence[int]) -> str:
    """``'4 features'``, ``'text'``, ``'picture, 16 regions'``."""
    first = schema.features[places[0]]
    if first.kind in OF_TABLE:
        return plural(len(places), "feature")
    medium = schema.media.get(first.column)
    if medium is None:
        return "text"
    regions = sum(schema.features[place].kind == "region" for place in places)
    parts = ["sound" if medium == "audio" else "picture", *([plural(regions, "region")] if regions else [])]
    return ", ".join(parts if regions == len(places) else [*parts, "a pretrained encoder"])


def _missing(schema: Schema, places: Sequence[int]) -> str:
    share = sum(schema.features[place].missing_share for place in places) / len(places)
    return f"{percent(share)} missing" if share else ""


def _loss(ablation: Estimate | None, scale: Axis, places: int) -> dict[str, Any]:
    if ablation is None:
        return {"loss": "", "loss_interval": "", "loss_fill": 0, "loss_whisker": (0, 0)}
    value, low, high = (number(v, places, sign=True) for v in (ablation.value, ablation.low, ablation.high))
    return {
        "loss": value,
        "loss_interval": f"{low} to {high}",
        "loss_fill": scale.at(ablation.value),
        "loss_whisker": scale.span(ablation.low, ablation.high),
    }
