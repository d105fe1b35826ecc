"""Sections of ``abi.yaml`` about the rows: which columns are what, how media and series are read, what is held out, checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from abi.problem import WindowStatistic
from abi.sections import OneOrMore, Section, Share


class MediaConfig(Section):
    """How images and sounds are read."""

    folder: Path | None = None
    """Folder or ZIP archive that the paths of a media column are relative to; beside the table where null: its own folder,
    `media` or `media.zip`."""
    size: int = Field(default=64, ge=8, le=512)
    """Largest side of a picture in pixels; larger ones are scaled down."""
    mirror: Literal["auto"] | bool = "auto"
    """Whether training mirrors images; "auto" finds out whether left and right mean something for the target."""
    mirror_predictions: bool = False
    """Whether a prediction is the mean over an image and its mirror image, where training mirrors: better, at twice the
    multiply-accumulates of a prediction."""

    @model_validator(mode="after")
    def _mirrored_in_training(self) -> Self:
        if self.mirror_predictions and self.mirror is False:
            msg = "Expected data.media.mirror to be auto or true where data.media.mirror_predictions is true, got false: a network that has seen no mirror images is no judge of them."
            raise ValueError(msg)
        return self


class SeriesConfig(Section):
    """What of earlier rows stands beside each row, in the order of data.order."""

    channels: Annotated[Literal["all"] | tuple[str, ...], OneOrMore] = "all"
    """Columns that are measured over time; all numeric ones where "all"."""
    lags: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = (1, 2, 3)
    """Values of so many rows before."""
    windows: tuple[Annotated[int, Field(ge=2, le=100_000)], ...] = (8,)
    """Lengths of windows that end with the row, in rows."""
    statistics: tuple[WindowStatistic, ...] = ("mean", "std", "min", "max")
    """What is taken of a window."""
    differences: bool = True
    """The change since the row before."""
    group: str | None = None
    """Column whose values are series of their own: a machine, a patient, a shop."""
    target_lags: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = ()
    """Earlier values of the target, which then must be known in time, when rows are predicted too."""

    @field_validator("lags", "windows", "statistics", "target_lags")
    @classmethod
    def _once(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(dict.fromkeys(values))


class RolesConfig(Section):
    """Who did what, and when: of the rows before a row it is derived what is known of its user and item."""

    user: str
    """Column of users."""
    item: str
    """Column of items."""
    time: str | None = None
    """Column of times, as dates or as seconds, milli-, micro- or nanoseconds since 1970; that of data.order where null."""
    sets: Annotated[Literal["auto"] | tuple[str, ...], OneOrMore] = "auto"
    """Columns of several values in one, as "Action|Drama"; those with the separator in many rows where "auto"."""
    ids: bool = True
    """Whether users and items are features of their own too; what was known of them always is."""
    separator: str = Field(default="|", min_length=1, max_length=1)
    """What stands between the values of a set."""
    history: Literal["train", "stream"] = "train"
    """train: validation and test rows know of the rows that came before their part alone; stream: also of earlier ones in it."""


class TuneConfig(Section):
    """How the last layers of an encoder are trained for the target, before everything else."""

    epochs: int = Field(default=3, ge=1, le=100)
    """Most passes over the training rows; the one with the least validation loss is kept, or none."""
    learning_rate: float = Field(default=5e-5, gt=0, lt=1)
    """Largest one of AdamW, reached after a tenth of the steps; then it falls to zero in a line."""
    layers: int = Field(default=2, ge=1)
    """How many of the last layers are trained, of the list of layers that holds most of the weights: a transformer's blocks,
    the last stage of a network in stages. All of these where there are no more."""


def _asked(value: object) -> object:
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


class EncoderConfig(Section):
    """A pretrained encoder of a column of text or images, in a local folder."""

    path: Path
    """Folder with config.json, model.safetensors and, for text, tokenizer.json, as Hugging Face, sentence-transformers and
    (for images) timm keep them."""
    pooling: Literal["mean", "cls", "max"] | None = None
    """How the vectors of a text's tokens become one; null takes what the folder says, else their mean."""
    max_tokens: int = Field(default=128, ge=3, le=8192)
    """Tokens of a text that are read; the folder may make it less."""
    embed: bool = False
    """Copy the encoder into the saved model, which otherwise names the folder that it needs; a tuned one always is."""
    tune: Annotated[TuneConfig | None, BeforeValidator(_asked)] = Field(
        default=None, exclude_if=lambda tune: tune is None
    )
    """Train the encoder's last layers for the target first: true, or epochs, learning_rate and layers; false is not."""


def _folder(value: object) -> object:
    return {"path": value} if isinstance(value, (str, Path)) else value


class DataConfig(Section):
    """Which columns are what, and which rows are held out."""

    columns: dict[str, Literal["numeric", "categorical", "boolean", "date", "id", "text", "ignore"]] = Field(
        default_factory=dict
    )
    """Kinds that replace the inferred ones, per column."""
    encoders: dict[str, Annotated[EncoderConfig, BeforeValidator(_folder)]] = Field(default_factory=dict)
    """Pretrained encoders of columns of text or images: a folder, or path, pooling, max_tokens, embed and tune, per column."""
    sequences: Annotated[Literal["all"] | tuple[str, ...], OneOrMore] = Field(
        default=(), exclude_if=lambda names: names == ()
    )
    """Text columns that a network also reads word after word, by a small convolution that is trained with it; "all" are all of them."""
    mentions: Literal["auto"] | dict[str, str] = "auto"
    """Per text column, the column whose value is marked where it stands in the text; "auto" finds them, {} is none."""
    task: Literal["auto", "binary", "multiclass", "multilabel", "regression"] = "auto"
    """Inferred from the target where "auto": lists of labels are multilabel."""
    separator: str | None = Field(default=None, min_length=1, max_length=10)
    """What stands between the labels of a text target that holds several, as |; null where a row has one label or a list."""
    out_of_scope: str | None = Field(default=None, min_length=1)
    """Class that means none of the others, as oos: it is predicted by rejection, whether training rows have it or not."""
    validation: Share = 0.15
    """Share of the training rows that decisions are made on."""
    test: Share = 0.2
    """Share of the rows held out for the final figures where no test file is given."""
    media: MediaConfig = MediaConfig()
    """Images and sounds."""
    order: str | None = Field(default=None, min_length=1)
    """Column of times that orders the rows, or "rows" for the order of the file."""
    series: SeriesConfig | None = None
    """Lags, differences and windows of channels, as features of their own; needs data.order."""
    roles: RolesConfig | None = None
    """Users and items of recommendations and clicks."""
    split: Literal["auto", "random", "ordered"] = "auto"
    """ordered: the earliest rows train, the latest are held out; auto takes it where data.order or a column of times that sorts the rows says so."""

    @model_validator(mode="after")
    def _one_order(self) -> Self:
        if self.order is not None and self.roles is not None and self.roles.time not in (None, self.order):
            msg = f"Expected one order, got data.order {self.order!r} and data.roles.time {self.roles.time!r}: leave one of them out."
            raise ValueError(msg)
        return self

    @property
    def ordering(self) -> str | None:
        """What orders the rows: `order`, or the time of `roles`."""
        return self.order or (self.roles.time if self.roles is not None else None)


class ChecksConfig(Section):
    """Limits that the derived expectation suite starts from; the suite file can be edited afterwards."""

    null_slack: Share = 0.1
    """A column may have this much more missing values than the training data had."""
    duplicate_rows: Share = 0.5
    """Warn above this share of duplicate rows."""
    test_overlap: Share = 0.25
    """Warn where more than this share of test rows also stands in the training rows."""
    broken_files: Share = 0.01
    """Refuse data where more than this share of a column's images or sounds cannot be read."""
    no_time: Share = 0.01
    """Most rows without a readable time in the column of data.order; they are left out."""
    leak: float = Field(default=0.99, gt=0, le=1)
    """Warn about a feature that alone tells the target this well (normalised mutual information or R2)."""
    data_docs: bool = True
    """Build Great Expectations' Data Docs as evidence."""
