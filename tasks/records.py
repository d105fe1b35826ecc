"""What is recorded of one operation, before any tracker is asked: values, and names that MLflow takes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from abi.errors import clip

if TYPE_CHECKING:
    import pandas as pd

    from abi.problem import Snapshot

KEY_LENGTH, VALUE_LENGTH = 250, 500
HASH_LENGTH = 8


@dataclass(frozen=True, kw_only=True)
class Round:
    """A nested run. `steps` are (metric, step, value)."""

    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    steps: Sequence[tuple[str, int, float]] = ()


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The data that a run used: an input of the run in MLflow's words."""

    snapshot: Snapshot
    name: str
    target: str


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What is recorded of one operation as a run.

    Attributes:
        operation_id: names the operation; letters, digits, dot, dash and underscore.
        name: the model that it is about.
        run_name: what people see in the list of runs.
        dataset: the snapshot that was learned from.
        params: settings, nested as they are; flattened to dotted keys.
        metrics: final figures.
        tags: of the run (and of the version, where there is one).
        rounds: nested runs.
        documents: artifact path -> JSON-able.
        files: artifact path -> file or folder.
    """

    operation_id: str
    name: str
    run_name: str
    dataset: Dataset
    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    rounds: Sequence[Round] = ()
    documents: Mapping[str, object] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The id goes into MLflow's search filters."""
        assert re.fullmatch(r"[\w.-]+", self.operation_id), self.operation_id


@dataclass(frozen=True, kw_only=True)
class Record(RunRecord):
    """The same with a model that is registered as a version of `name`.

    Attributes:
        model_dir: folder with ``model.json`` and weights.
        example: some input rows.
        output: what the model predicts for them; gives the signature.
        requirements: pip requirements of the model.
        written: column -> another name that it may have in input rows.
        description: of the model version.
    """

    model_dir: Path
    example: pd.DataFrame
    output: pd.DataFrame
    requirements: Sequence[str]
    written: Mapping[str, str] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Where the record went. `uri` loads the model."""

    run_id: str
    name: str
    version: int
    uri: str


def flatten(plain: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """``{"a": {"b": 1}}`` -> ``{"a.b": "1"}``, values as short JSON."""
    flat: dict[str, str] = {}
    for key, value in plain.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat[f"{prefix}{key}"] = clip(text, VALUE_LENGTH)
    return flat


def mlflow_key(name: str) -> str:
    """A name that MLflow takes; one that had to change ends in a hash, so that two stay two."""
    clean = re.sub(r"[^\w\-. /]", "_", name)
    clean = re.sub(r"\.\.+|//+", "_", clean).strip("/. ")
    if clean == name and len(name) <= KEY_LENGTH:
        return name
    return f"{clean[: KEY_LENGTH - HASH_LENGTH - 1]}_{hashlib.sha256(name.encode()).hexdigest()[:HASH_LENGTH]}"
