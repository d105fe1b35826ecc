"""What is to be learned from which data: snapshot, schema and split, and what the data checks found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from abi.values import Value

Task = Literal["binary", "multiclass", "regression"]
Kind = Literal["numeric", "categorical", "boolean", "text"]
Role = Literal["train", "validation", "test"]
DatePart = Literal["time", "month", "weekday", "hour"]


@dataclass(frozen=True, kw_only=True)
class DataFile(Value):
    """One file of a snapshot, addressed by its content.

    A table in memory has no file: its `format` is "memory", and hashes and size are those of its columns' values
    (`abi.data.memory.hash_table`), so that equal tables have equal snapshots whatever library held them.
    """

    role: Literal["train", "test"]
    format: Literal["csv", "csv.gz", "parquet", "memory"]
    md5: str
    sha256: str
    size_bytes: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Snapshot(Value):
    """A dataset version: the training file and, where the user has one, the test file."""

    files: tuple[DataFile, ...]

    @property
    def train(self) -> DataFile:
        """The file that training rows come from."""
        return self.files[0]

    @property
    def test(self) -> DataFile | None:
        """The held-out file, or None where rows of `train` are held out."""
        return self.files[1] if len(self.files) > 1 else None


@dataclass(frozen=True, kw_only=True)
class Feature(Value):
    """A thing that attention can be given to: a column, or one part of a date column."""

    name: str
    column: str
    kind: Kind
    part: DatePart | None = None
    distinct: int
    missing_share: float


@dataclass(frozen=True, kw_only=True)
class SetAside(Value):
    """A column that is not used, and why."""

    column: str
    kind: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Schema(Value):
    """Target, task and features, in column order. `classes` are the labels as text (empty for regression)."""

    target: str
    task: Task
    classes: tuple[str, ...]
    features: tuple[Feature, ...]
    set_aside: tuple[SetAside, ...]


@dataclass(frozen=True, kw_only=True)
class Split(Value):
    """Which rows are for what: a hash of (seed, row number) against these shares, so any shard can tell alone."""

    seed: int
    validation: float
    test: float


@dataclass(frozen=True, kw_only=True)
class Problem(Value):
    """What is to be learned, from which data."""

    snapshot: Snapshot
    schema: Schema
    split: Split


@dataclass(frozen=True, kw_only=True)
class Check(Value):
    """One expectation and what was found. `error` means that it could not be evaluated."""

    name: str
    column: str | None
    severity: Literal["critical", "warning"]
    status: Literal["passed", "failed", "error"]
    expected: str
    observed: str


@dataclass(frozen=True, kw_only=True)
class Checks(Value):
    """The outcome of the data checks. `suite_sha256` is the hash of the expectation file that was used."""

    problem: Problem
    suite_sha256: str
    results: tuple[Check, ...]

    def failed(self, severity: str) -> tuple[Check, ...]:
        """The results of that severity which did not pass."""
        return tuple(r for r in self.results if r.severity == severity and r.status != "passed")
