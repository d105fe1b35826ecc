"""What is to be learned from which data: snapshot, schema and split, and what the data checks found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from abi.tuning import Tuning
from abi.values import Floats, Late, Value

Task = Literal["binary", "multiclass", "multilabel", "regression"]
Kind = Literal["numeric", "categorical", "boolean", "text", "embedding", "sequence", "region"]
Medium = Literal["image", "audio"]
Role = Literal["train", "validation", "test", "taught"]
"""What rows are for; the taught ones are those of training and validation together."""
DatePart = Literal["time", "month", "weekday", "hour"]
WindowStatistic = Literal["mean", "std", "min", "max"]
Pooling = Literal["mean", "cls", "max"]


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
class Sight(Value):
    """How a pretrained encoder sees a picture.

    Attributes:
        channels: 3 colours, or 1 grey.
        height: in pixels, of what it is brought to.
        width: in pixels.
        macs: multiply-accumulates that one takes.
    """

    channels: int
    height: int
    width: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Pretrained(Value):
    """A pretrained encoder, whose weights stay as they are; another one is another problem.

    Attributes:
        sha256: of the files that it is made of (`abi.data.encoder_folder`).
        dimensions: numbers that a text or picture becomes.
        pooling: how its tokens' vectors become one; nothing that is said of pictures, as are the next two and `matrices`.
        normalise: whether that is brought to length 1.
        max_tokens: tokens of a text that are read.
        parameters: its frozen weights.
        matrices: those of them that every token is multiplied by.
        sight: of an encoder of pictures; None where it reads texts.
    """

    sha256: str
    dimensions: int
    pooling: Pooling
    normalise: bool
    max_tokens: int
    parameters: int
    matrices: int
    sight: Late[Sight | None] = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one picture, or of a text as long as any that is read."""
        return self.matrices * self.max_tokens if self.sight is None else self.sight.macs


@dataclass(frozen=True, kw_only=True)
class Reading(Value):
    """How a trained encoder reads a text in order: its first `length` words; the sample showed `known` distinct ones."""

    length: int
    known: int


@dataclass(frozen=True, kw_only=True)
class Feature(Value):
    """A thing that attention can be given to: a column, a part of a date column, what an encoder makes of a column, a region.

    A text's `mention` is the column whose value is marked in it (`abi.data.mentions`). `place` is a region's number in its
    `Grid`, row by row. `words` are there where a text is read as a sequence.
    """

    name: str
    column: str
    kind: Kind
    part: DatePart | None = None
    distinct: int
    missing_share: float
    encoder: Late[Pretrained | None] = None
    mention: Late[str | None] = None
    place: Late[int | None] = None
    words: Late[Reading | None] = None

    @property
    def of_text(self) -> bool:
        """Whether it is made of texts: their terms, their words in order, or what a pretrained encoder makes of them."""
        return self.kind in ("text", "sequence") or (self.kind == "embedding" and not self.of_sight)

    @property
    def of_sight(self) -> bool:
        """Whether it is what a pretrained encoder makes of pictures."""
        return self.encoder is not None and self.encoder.sight is not None


@dataclass(frozen=True, kw_only=True)
class Grid(Value):
    """How the files of a media column become pictures of one size, and the regions that these are cut into.

    A sound becomes a log-mel spectrogram: high bands in the first rows, time from left to right.

    Attributes:
        column: of the table.
        medium: what the files are.
        channels: of a picture (3 colours, 1 grey or sound).
        height: in pixels or mel bands.
        width: in pixels or frames.
        rows: of regions.
        cols: of regions.
        mean: of each channel, in [0, 255].
        deviation: of each channel.
        centres: of the codebook, one after another: what a region shows is told, for scoring, by the nearest one.
        rate: samples per second that sounds are brought to.
        seconds: of sound that the width stands for.
        mirrored: whether a mirrored picture is as good as the picture.
        views: that a prediction is the mean over, a picture and its mirror image where 2; the picture alone where None.
    """

    column: str
    medium: Medium
    channels: int
    height: int
    width: int
    rows: int
    cols: int
    mean: Floats
    deviation: Floats
    centres: Floats = ()
    rate: Late[int | None] = None
    seconds: Late[float | None] = None
    mirrored: bool = False
    views: Late[int | None] = None

    @property
    def regions(self) -> int:
        """Number of regions."""
        return self.rows * self.cols


@dataclass(frozen=True, kw_only=True)
class SetAside(Value):
    """A column that is not used, and why."""

    column: str
    kind: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Series(Value):
    """What of earlier rows stands beside each row: of every channel its lags, its difference, statistics of windows.

    Rows with the same value in `group` are a series of their own. A window ends with the row itself. `target_lags` are
    earlier values of the target, which must be known by then.
    """

    channels: tuple[str, ...]
    lags: tuple[int, ...]
    windows: tuple[int, ...]
    statistics: tuple[WindowStatistic, ...]
    differences: bool
    group: Late[str] = ""
    target_lags: Late[tuple[int, ...]] = ()

    def columns(self, channel: str) -> tuple[str, ...]:
        """Names of what is derived from a channel: lags, difference, then windows."""
        names = [f"{channel}@lag{lag}" for lag in self.lags]
        names += [f"{channel}@diff"] if self.differences else []
        return (*names, *(f"{channel}@{statistic}{window}" for window in self.windows for statistic in self.statistics))

    @property
    def reach(self) -> int:
        """How many rows before a row it looks at."""
        return max([0, int(self.differences), *self.lags, *self.target_lags, *(window - 1 for window in self.windows)])


@dataclass(frozen=True, kw_only=True)
class ValueSet(Value):
    """A column of several values in one, as "Action|Drama", and those of its values that are features."""

    column: str
    values: tuple[str, ...]

    def columns(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(f"{self.column}={value}" for value in self.values)


@dataclass(frozen=True, kw_only=True)
class Behaviour(Value):
    """Who did what: columns of users and items, what is known of an item, and which rows may be remembered.

    Of the rows before a row counts, means, recent means and times are derived. How many rows its user has `seen` before it is
    counted without their targets, so that a user who is new to the model is not new from row to row. `titles` is a column
    that ends with a year in brackets. `history` is "train" where what happens after the training rows is not remembered, "stream" where it is.
    """

    user: str
    item: str
    history: Literal["train", "stream"]
    separator: str = "|"
    sets: tuple[ValueSet, ...] = ()
    titles: Late[str] = ""

    def columns(self) -> tuple[str, ...]:
        """Names of what is derived."""
        names = [f"{self.user}@{name}" for name in ("count", "seen", "mean", "since")]
        names += [f"{self.item}@{name}" for name in ("count", "mean", "recent", "since", "age")]
        if self.sets:
            names += [f"{self.user}@{'+'.join(one.column for one in self.sets)}"]
        if self.sets or self.titles:
            names += ["content@mean"]
        if self.titles:
            names += [f"{self.titles}@year", f"{self.titles}@age"]
        return (*names, *(name for one in self.sets for name in one.columns()))


@dataclass(frozen=True, kw_only=True)
class Derivation(Value):
    """What is derived from rows before the row: a model that was trained with it derives the same of new rows.

    `order` is the column of times that says which rows are before, or "rows" for the order in which they come.
    """

    order: str
    series: Late[Series | None] = None
    behaviour: Late[Behaviour | None] = None


@dataclass(frozen=True, kw_only=True)
class Schema(Value):
    """Target, task and features, in column order. `classes` are the labels as text (empty for regression).

    `derivation` makes columns that some features come from. `separator` stands between the labels of a multilabel target
    that is text; None where it holds lists. `out_of_scope` is the class that means none of the others. `spelled` are
    columns that are read as text also from a CSV whose values there are all numbers or dates, since 1.10 is not 1.1 in them.
    """

    target: str
    task: Task
    classes: tuple[str, ...]
    features: tuple[Feature, ...]
    set_aside: tuple[SetAside, ...]
    grids: Late[tuple[Grid, ...]] = ()
    derivation: Late[Derivation | None] = None
    separator: Late[str | None] = None
    out_of_scope: Late[str | None] = None
    spelled: Late[tuple[str, ...]] = ()

    @property
    def media(self) -> dict[str, Medium]:
        """Columns of files, and what these are."""
        seen: dict[str, Medium] = {feature.column: "image" for feature in self.features if feature.of_sight}
        return {grid.column: grid.medium for grid in self.grids} | seen


@dataclass(frozen=True, kw_only=True)
class Split(Value):
    """Which rows are for what, so that any shard can tell alone: by a hash of (seed, row number) against the shares, or by order.

    With `order` (a column, or "rows" for the file's order) rows before `starts[0]` are for training, those from there on for
    validation and those from `starts[1]` on, where there is one, for the test. Times are seconds since 1970 (UTC).
    """

    seed: int
    validation: float
    test: float
    order: Late[str] = ""
    starts: Late[tuple[float, ...]] = ()


@dataclass(frozen=True, kw_only=True)
class Problem(Value):
    """What is to be learned, from which data."""

    snapshot: Snapshot
    schema: Schema
    split: Split


def with_tuned(problem: Problem, tuned: tuple[Tuning, ...]) -> Problem:
    """The same with the encoders that were tuned in place of those that the settings name."""
    new = {(one.feature, one.base): one.sha256 for one in tuned}

    def its(feature: Feature) -> Feature:
        own = feature.encoder
        if own is None or (feature.name, own.sha256) not in new:
            return feature
        return replace(feature, encoder=replace(own, sha256=new[feature.name, own.sha256]))

    schema = replace(problem.schema, features=tuple(map(its, problem.schema.features)))
    return replace(problem, schema=schema)


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
    """The outcome of the data checks. `suite_sha256` is the hash of the expectation file that was used.

    Where encoders were tuned after the checks, `problem` has the tuned ones, and `tuned` says what became of each.
    """

    problem: Problem
    suite_sha256: str
    results: tuple[Check, ...]
    tuned: Late[tuple[Tuning, ...]] = ()

    def failed(self, severity: str) -> tuple[Check, ...]:
        """The results of that severity which did not pass."""
        return tuple(r for r in self.results if r.severity == severity and r.status != "passed")
