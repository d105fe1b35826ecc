"""Settings of what happens around training: the ledger, signed models, gates, monitoring, schedules, telemetry.

None of them changes what is trained, so none is part of a run's identity (`Config.digest`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from abi.cron import check_cron, check_timezone
from abi.sections import Seconds, Section, Share


def _sink(text: str) -> str:
    scheme, divider, _ = text.partition("://")
    if divider and scheme.lower() not in {"http", "https"}:
        msg = "expected a file or an http(s):// URL"
        raise ValueError(msg)
    return text


class AuditConfig(Section):
    """Where decisions are written down."""

    url: str | None = None
    """SQLAlchemy URL of the ledger (sqlite:///… or postgresql+psycopg://…); an SQLite file in the workspace where null."""
    key: Path | None = None
    """Ed25519 private key (PEM) that signs entries; one is made in the workspace where null."""
    checkpoints: Path | None = None
    """Folder for signed checkpoints, best on another disk or machine; a folder in the workspace where null."""
    every: int = Field(default=100, ge=1)
    """Entries from one checkpoint to the next; the end of a run makes one as well."""
    actor: str | None = None
    """Who acts, as entries name them; user@host where null."""
    patience: Seconds = 300.0
    """How long a decision waits for a database that does not answer."""


class SigningConfig(Section):
    """Keys of signed models."""

    private_key: Path | None = None
    """Elliptic-curve private key (PEM, P-256) that signs models; one is made in the workspace where null."""
    public_key: Path | None = None
    """File of the public keys (PEM, one after another) that models are verified with; that of the private key where null."""


class GatesConfig(Section):
    """What a version must show before it becomes champion. null turns a gate off."""

    signal: bool = True
    """Held-out rows must show that the model knows more than chance, interval considered."""
    champion: float | None = Field(default=0.0, ge=0)
    """The lower end of the paired 95% interval of the gain over the champion must lie above minus this (metric's unit)."""
    uniform: float | None = Field(default=0.01, ge=0)
    """The gain over the uniform control must not be below minus this share of the control's value."""
    baseline: float | None = Field(default=0.02, ge=0)
    """The gain over the baseline must not be below minus this share of the baseline's value."""
    slices: float | None = Field(default=0.2, ge=0)
    """No slice's metric may be worse than the overall one by more than this share, interval considered."""
    calibration: float | None = Field(default=0.1, ge=0)
    """Most expected calibration error (classification) above what chance alone shows on so many rows."""
    latency: Seconds | None = None
    """Most time to predict one row; the envelope's limit where null."""
    memory: bool = True
    """Measured training memory must lie inside the envelope."""
    robustness: float | None = Field(default=None, ge=0)
    """Most that noise, missing features and adversarial steps of middle strength may cost, as a share of the metric's value."""
    movement: float | None = Field(default=0.3, gt=0, le=1)
    """Most total variation between the champion's attention and the candidate's."""
    checks: bool = True
    """All critical data checks passed."""
    loads: bool = True
    """The signed artifact loads in a fresh process and predicts what was recorded."""
    approvable: tuple[
        Literal[
            "signal",
            "champion",
            "uniform",
            "baseline",
            "slices",
            "calibration",
            "latency",
            "memory",
            "robustness",
            "movement",
        ],
        ...,
    ] = ("movement",)
    """Gates that a person may waive with `abi promote --approve --reason`."""


class MonitorConfig(Section):
    """When new data counts as drifted away from what the champion was trained on."""

    psi: float = Field(default=0.25, gt=0)
    """Population stability index of a feature from which it has drifted."""
    attention: float = Field(default=0.15, gt=0, le=1)
    """Jensen-Shannon distance (base 2) between the champion's attention and that of the new rows from which attention has drifted."""
    share: Share = 0.0
    """Drift counts where more than this share of the attention lies on drifted features."""
    p_value: float = Field(default=0.01, gt=0, lt=1)
    """A feature counts as drifted only where the two-sample test's p-value (Holm-corrected) lies below this too."""
    hysteresis: Annotated[float, Field(gt=0, le=1)] = 0.8
    """An alarm ends only below this share of its limit."""
    cooldown: Seconds = 86_400.0
    """Time after a drift-triggered retraining in which drift triggers none again."""
    rows: int = Field(default=30, ge=2)
    """Fewer new rows than this are not judged."""


class ScheduleConfig(Section):
    """What makes a scheduled retraining due."""

    cron: Annotated[str, AfterValidator(check_cron)] | None = None
    """Cron expression; each due time retrains unless nothing changed."""
    timezone: Annotated[str, AfterValidator(check_timezone)] = "UTC"
    """Time zone of the cron expression."""
    new_data: bool = True
    """Retrain when the snapshot is another than that of the last run."""
    drift: bool = True
    """Retrain when `abi monitor` raised its alarm."""
    age: Seconds | None = None
    """Retrain when the champion is older than this."""
    poll: Seconds = 900.0
    """Time between two looks at the triggers."""
    grace: Seconds = 3600.0
    """A run that starts later than this after its due time is skipped where a newer one is due; it is named as missed."""
    promote: Literal["never", "gates"] = "gates"
    """Whether a scheduled run's version is promoted where it passes its gates."""


class TelemetryConfig(Section):
    """What is told to the outside, to files or addresses of your own."""

    metrics: Path | None = None
    """File for Prometheus text metrics (textfile collector); none where null."""
    openlineage: Annotated[str, AfterValidator(_sink)] | None = None
    """File or http(s) URL for OpenLineage run events; none where null."""
