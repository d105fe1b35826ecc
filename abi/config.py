"""``abi.yaml`` as typed, validated settings.

Precedence: flags > ``ABI_SECTION__KEY`` > ``abi.yaml`` > ``[tool.abi]`` in pyproject.toml > the defaults here.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
)

from abi.canonical import dumps
from abi.errors import UsageError
from abi.hardware import DeviceConfig
from abi.operations import AuditConfig, GatesConfig, MonitorConfig, ScheduleConfig, SigningConfig, TelemetryConfig
from abi.reading import ChecksConfig, DataConfig
from abi.recipes import IterateConfig, TrainingConfig
from abi.sections import MEBIBYTE, Bytes, Count, Energy, Seconds, Section, Share, numbers_alone
from abi.settings_file import SettingsFile
from abi.streaming import AdaptConfig
from abi.types import Envelope

PARTS = re.compile(r"Input should be a valid dictionary or instance of \w+")
"""What pydantic says where one value stands for a section."""
OPERATIONS = {"tracking", "audit", "signing", "gates", "monitor", "schedule", "telemetry", "devices", "adapt"}
"""Sections that change nothing in what `abi run` trains."""


class ScoringConfig(Section):
    """How features are scored."""

    bins: int = Field(default=32, ge=4, le=256)
    """Quantile bins per numeric feature."""
    target_bins: int = Field(default=16, ge=4, le=64)
    """Quantile bins of a numeric target."""
    groups: int = Field(default=10, ge=4, le=50)
    """Groups of rows for the jackknife intervals."""
    shuffles: int = Field(default=32, ge=8)
    """Shuffled targets that the null is drawn from."""
    significance: float = Field(default=0.05, gt=0, lt=1)
    """False discovery rate at which a feature counts as carrying signal."""
    relevance: float = Field(default=1.0, ge=0)
    """Share of relevance in the score."""
    discrimination: float = Field(default=0.5, ge=0)
    """Share of discrimination in the score."""
    complexity: float = Field(default=0.25, ge=0)
    """How much complexity raises the score of a feature that carries signal."""
    pieces: Literal["auto", "on", "off"] = "auto"
    """Whether pieces of words are terms of a text too; "auto" where texts are short."""
    chunk_rows: int = Field(default=65_536, ge=1)
    """Rows read at a time."""


class AttentionConfig(Section):
    """How scores become weights."""

    temperatures: tuple[Annotated[float, Field(gt=0, lt=math.inf)], ...] = (1.0, 0.4, 0.15)
    """Candidates beside the even split, which is always tried; the one with the best validation loss is kept."""
    floor: Share = 0.2
    """Least weight of a feature, as a share of the even weight."""
    cap: float = Field(default=0.5, gt=0, le=1)
    """Most weight of one feature."""
    caution: float = Field(default=1.0, ge=0)
    """A steeper split is taken over a flatter one where its validation loss is lower by this many standard errors."""
    compute: float = Field(default=0.5, gt=0, le=1)
    """Share of the even split's multiply-accumulates in a picture's regions that attention's split may take."""
    blend: bool = True
    """Also try scores whose blend and temperature are fitted to what the flat split's short-trained model showed."""
    kl: float = Field(default=0.01, ge=0)
    """Penalty on the Kullback-Leibler divergence between the weights in training and where they started."""
    tail: Share = 0.0
    """Share of attention that lies on the features and terms that tell the classes of the tail one by one, each class alike;
    network and trees, not the even split."""
    movement: float = Field(default=0.5, gt=0, le=1)
    """How far one round may move the weights towards what the model showed (1 = all the way)."""


class EnvelopeConfig(Section):
    """What may be spent on one model. null is no limit."""

    parameters: Count | None = 250_000
    """Trainable parameters."""
    memory: Bytes | None = 4 * 1024 * MEBIBYTE
    """Memory that training may add to the process."""
    train_time: Seconds | None = 180.0
    """Training time of the kept model."""
    run_time: Seconds | None = Field(default=None, exclude_if=lambda seconds: seconds is None)
    """Time of a whole `abi run`: pilots, rounds, the control's trainings and refits are planned to fit, and rounds end by it."""
    latency: Seconds | None = None
    """Time to predict one row."""
    energy: Energy | None = None
    """What the devices of a training may draw, as 1kWh, by the device's power."""
    cost: float | None = Field(default=None, gt=0, lt=math.inf)
    """What their time may cost, in the currency of the device's price_per_hour."""

    def limits(self) -> Envelope:
        """The same limits as the value that plans carry."""
        return Envelope(
            parameters=self.parameters,
            memory_bytes=self.memory,
            train_time_s=self.train_time,
            latency_s=self.latency,
            energy_j=self.energy,
            cost=self.cost,
        )


class EvaluationConfig(Section):
    """How held-out quality is stated."""

    metric: Literal[
        "auto", "roc_auc", "accuracy", "balanced_accuracy", "f1_macro", "f1_micro", "subset_accuracy",
        "head_accuracy", "medium_accuracy", "tail_accuracy", "log_loss", "rmse", "mae", "r2",
    ] = "auto"  # fmt: skip
    """The primary metric: ROC AUC (binary), accuracy (multiclass), micro F1 (multilabel) or RMSE (regression) where "auto"."""
    resamples: int = Field(default=1000, ge=100)
    """Bootstrap resamples."""
    slices: int = Field(default=3, ge=0)
    """Features with the most attention whose groups are reported one by one."""
    slice_rows: int = Field(default=30, ge=2)
    """Least rows of a reported group."""
    relevant: float | None = None
    """Target from which a row counts as relevant in rankings per user; the upper quartile of the taught rows where null."""
    latency_calls: int = Field(default=50, ge=5)
    """Single-row predictions timed."""
    robust: bool = False
    """Also measure the model under noise, missing features and adversarial steps, and how steady its attention is."""
    robust_rows: int = Field(default=5000, ge=10)
    """Most held-out rows of that; the first so many."""
    robust_features: int = Field(default=3, ge=0)
    """Features with the most attention that are missing one by one."""


class TrackingConfig(Section):
    """Where runs are recorded."""

    uri: str | None = None
    """MLflow tracking URI; an SQLite file in the workspace where null."""
    experiment: str = "abi"
    """MLflow experiment."""
    remote: str | None = None
    """DVC remote URL for snapshots; a folder in the workspace where null."""
    patience: Seconds = 300.0
    """How long a run waits for an MLflow or Prefect server that does not answer."""


class Config(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="ABI_",
        env_nested_delimiter="__",
        env_parse_none_str="null",
        use_attribute_docstrings=True,
        pyproject_toml_table_header=("tool", "abi"),
    )

    _numbers = field_validator("*", mode="before")(numbers_alone)

    yaml_path: ClassVar[Path | None] = None
    ambient: ClassVar[bool] = True

    name: str | None = Field(default=None, pattern=r"^[^/:.%\"']+$", max_length=100)
    """Name of the registered model; the data file's name where null."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the split and of every random choice."""
    data: DataConfig = DataConfig()
    checks: ChecksConfig = ChecksConfig()
    scoring: ScoringConfig = ScoringConfig()
    attention: AttentionConfig = AttentionConfig()
    envelope: EnvelopeConfig = EnvelopeConfig()
    training: TrainingConfig = TrainingConfig()
    iterate: IterateConfig = IterateConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()
    audit: AuditConfig = AuditConfig()
    signing: SigningConfig = SigningConfig()
    gates: GatesConfig = GatesConfig()
    monitor: MonitorConfig = MonitorConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    adapt: AdaptConfig = AdaptConfig()
    devices: dict[str, DeviceConfig] = Field(default_factory=dict)
    """Cards that the catalogue does not know, or prices and figures of those that it knows, by name."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic-settings'
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, ``abi.yaml``, pyproject; the first alone where nothing around is to be read."""
        if not cls.ambient:  # the last source finds nothing; without one pydantic warns of its table header
            return init_settings, PyprojectTomlConfigSettingsSource(settings_cls, Path(os.devnull))
        file = SettingsFile(settings_cls, yaml_file=cls.yaml_path)
        return init_settings, env_settings, file, PyprojectTomlConfigSettingsSource(settings_cls)

    def digest(self, *sections: str) -> str:
        """SHA-256 of the named sections (where none is named, of all that a model depends on)."""
        plain = self.model_dump(mode="json", include=set(sections) or set(type(self).model_fields) - OPERATIONS)
        return hashlib.sha256(dumps(plain)).hexdigest()

    def recorded(self) -> dict[str, Any]:
        """All settings that a model depends on, as plain JSON; what `digest()` is the hash of."""
        return self.model_dump(mode="json", include=set(type(self).model_fields) - OPERATIONS)

    @classmethod
    def restore(cls, plain: Mapping[str, Any]) -> Config:
        """Settings from plain JSON, with defaults for what it lacks; neither file nor environment is read.

        Raises:
            UsageError: a setting is unknown or out of bounds.
        """
        unknown = set(plain) - set(cls.model_fields)
        if unknown:
            msg = f"Expected settings that this version knows, got {', '.join(sorted(unknown))}: use the version that recorded them."
            raise UsageError(msg)
        read = {}
        for name, value in plain.items():
            kind: Any = cls.model_fields[name].annotation
            try:
                read[name] = TypeAdapter(kind).validate_python(value) if isinstance(value, dict) else value
            except ValidationError as error:
                raise UsageError(_explain(error, name)) from None
        return cls.model_construct(**read)


def load_config(
    path: Path | None = None, settings: Mapping[str, object] | None = None, *, ambient: bool = True
) -> Config:
    """Read ``abi.yaml`` (the one in this folder where `path` is None) and lay `settings` over it.

    Their keys are dotted, or name a section whose value has the parts; what stands twice is refused.

    Without `ambient` neither file nor environment is read: the settings and defaults are all.

    Raises:
        UsageError: the file is missing or not YAML, or a setting is unknown or out of bounds.
    """
    if path is not None and not path.is_file():
        msg = f"Expected a settings file at {path}, found none: write one with `abi init`."
        raise UsageError(msg)
    if ambient:
        _expect_sections(os.environ)
    default = Path("abi.yaml")
    chosen = path if path is not None else (default if default.is_file() else None)
    nested: dict[str, Any] = {}
    for key, value in (settings or {}).items():
        *parents, leaf = key.split(".")
        place: Any = nested
        for parent in parents:
            place = place.setdefault(parent, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            msg = f"Expected one value or its parts for a setting, got both for {key.rpartition('.')[0]!r}."
            raise UsageError(msg)
        _lay(place, leaf, value, key)
    reader = type(
        "Config",
        (Config,),
        {"yaml_path": chosen, "ambient": ambient, "__doc__": Config.__doc__, "__module__": __name__},
    )
    try:
        read: Config = reader(**nested)
    except ValidationError as error:
        raise UsageError(_explain(error)) from None
    except tomllib.TOMLDecodeError as error:
        msg = f"Expected readable settings in pyproject.toml, got: {str(error).splitlines()[0]}."
        raise UsageError(msg) from None
    except (ValueError, TypeError, OSError, yaml.YAMLError) as error:  # unreadable or odd YAML, odd environment
        msg = f"Expected readable settings in {chosen or 'the environment'}, got: {str(error).splitlines()[0]}."
        raise UsageError(msg) from None
    return Config.model_construct(**{name: getattr(read, name) for name in Config.model_fields})


def _expect_sections(environment: Mapping[str, str]) -> None:
    """See that each ``ABI_SECTION__KEY`` names a section: of a wrong one nothing would be read."""
    prefix = str(Config.model_config["env_prefix"])
    for variable in environment:
        section, parts, _ = variable.upper().removeprefix(prefix).lower().partition("__")
        if variable.upper().startswith(prefix) and parts and section not in Config.model_fields:
            near = get_close_matches(section, Config.model_fields, 1)
            meant = f", did you mean {near[0]!r}?" if near else ""
            msg = f"Expected a known section in the environment variable {variable}, got {section!r}{meant}: `abi config schema` lists them."
            raise UsageError(msg)


def _lay(place: dict[str, Any], leaf: str, value: object, key: str) -> None:
    """Put `value` there, part by part where it has parts and others are there."""
    if isinstance(value, Mapping):
        inner = place.setdefault(leaf, {})
        if isinstance(inner, dict):
            for name, part in value.items():
                _lay(inner, str(name), part, f"{key}.{name}")
            return
    if leaf in place:
        msg = f"Expected one value for a setting, got two for {key!r}."
        raise UsageError(msg)
    place[leaf] = value


def _explain(error: ValidationError, section: str = "") -> str:
    first = error.errors()[0]
    kinds = [place for place, part in enumerate(first["loc"]) if str(part).startswith("literal[")]
    where = (
        first["loc"][: kinds[0]] if kinds else first["loc"]
    )  # a word, or something else: what each kind of value is not
    key = ".".join(str(part) for part in ((section, *where) if section else where))
    if first["type"] == "extra_forbidden":
        return f"Expected a known setting, got {key!r}: `abi config schema` lists them."
    several = [e["msg"] for e in error.errors() if e["loc"][: len(where)] == where] if kinds else [first["msg"]]
    reason = " or ".join(dict.fromkeys(several)).removeprefix("Value error, ").replace(" or Input should be", " or")
    if reason.startswith("Expected"):  # a quantity's own sentence, which says what came
        return f"Setting {key!r}: {reason}"
    reason = PARTS.sub("Expected its parts, as {name: value}", reason).replace("Input should be", "Expected")
    return f"Setting {key!r}: {reason} (got {first['input']!r}): `abi config schema` lists what it takes."
