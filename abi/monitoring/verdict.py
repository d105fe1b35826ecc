"""From what was measured to what it means: reasons, the alarm, and whether a retraining is due."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abi.errors import clip
from abi.monitored import AttentionDrift, Drift, FeatureDrift
from abi.monitoring.alarm import Alarm, stamp, step
from abi.monitoring.drift import attention_level, data_level, prediction_level

if TYPE_CHECKING:
    from abi.operations import MonitorConfig


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Which rows were held against which reference of which version."""

    model: str
    version: int
    reference: str
    snapshot: str
    rows: int


def conclude(
    subject: Subject,
    features: tuple[FeatureDrift, ...],
    prediction: FeatureDrift | None,
    attention: AttentionDrift | None,
    before: Alarm,
    now: datetime.datetime,
    retrained: datetime.datetime | None,
    config: MonitorConfig,
    notes: tuple[str, ...] = (),
) -> Drift:
    """The whole of one look at new rows.

    Args:
        subject: what was looked at.
        features: of the schema, in its order.
        prediction: of the model's predictions, where they were made.
        attention: where the new rows have a target.
        before: the alarm after the last look.
        now: the time.
        retrained: when drift last led to a retraining.
        config: limits.
        notes: what a reader should know besides.
    """
    judged = subject.rows >= config.rows
    level = max(data_level(features, config), prediction_level(prediction, config), attention_level(attention, config))
    alarm = step(before, level if judged else None, now, retrained, config)
    if not judged:
        rows = "1 row is" if subject.rows == 1 else f"{subject.rows} rows are"
        notes = (*notes, f"{rows} too few to judge (monitor.rows is {config.rows})")
    reasons = _reasons(features, prediction, attention, config) if judged else ()
    if alarm.on and not reasons:
        why = f"it ends below {config.hysteresis:.0%} of each limit" if judged else "these rows are too few to end it"
        reasons = (f"the alarm of {alarm.since} stays on: {why}",)
    return Drift(
        model=subject.model,
        version=subject.version,
        reference=subject.reference,
        snapshot=subject.snapshot,
        time=stamp(now),
        rows=subject.rows,
        features=features,
        prediction=prediction,
        attention=attention,
        share=drifted_share(features),
        psi=max((f.psi for f in features if f.judged), default=0.0),
        level=level,
        judged=judged,
        alarm=alarm.on,
        due=alarm.due,
        since=alarm.since,
        reasons=reasons,
        notes=notes,
    )


def drifted_share(features: tuple[FeatureDrift, ...]) -> float:
    """The share of attention that lies on drifted features."""
    return sum((f.weight for f in features if f.drifted), 0.0)


def _reasons(
    features: tuple[FeatureDrift, ...],
    prediction: FeatureDrift | None,
    attention: AttentionDrift | None,
    config: MonitorConfig,
) -> tuple[str, ...]:
    found = []
    moved = sorted((f for f in features if f.drifted), key=lambda f: -f.psi)
    if drifted_share(features) > config.share:
        most = moved[0]
        some = "1 feature" if len(moved) == 1 else f"{len(moved)} features"
        found.append(
            f"{some} with {drifted_share(features):.0%} of the attention drifted, most of all {clip(most.feature)} (PSI {most.psi:.2f}, limit {config.psi:g})"
        )
    if prediction is not None and prediction.drifted:
        found.append(f"predictions drifted (PSI {prediction.psi:.2f}, limit {config.psi:g})")
    if attention is not None and attention.drifted:
        found.append(
            f"attention drifted (Jensen-Shannon distance {attention.distance:.3f}, limit {config.attention:g}, chance stays below {attention.band:.3f})"
        )
    return tuple(found)
