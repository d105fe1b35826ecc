"""Rows as they may come tomorrow: noise in numbers and pictures, other categories, misspelt texts, missing features.

Columns that are derived of others are changed as any number is: each as if it were measured by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Bool, Float

from abi.data.columns import MISSING_CODE, Codes, with_vectors
from abi.data.mentions import MARK
from abi.media.grid import Pictures, codes
from abi.robustness import Strength

if TYPE_CHECKING:
    from abi.data.columns import Columns, Vectors
    from abi.problem import Grid, Schema


@dataclass(frozen=True)
class Noise:
    """How much of it: deviations added to numbers and pixels, share of categories replaced, of a text's words harmed."""

    deviations: float
    replaced: float
    words: float


NOISE: Final[Mapping[Strength, Noise]] = {
    "weak": Noise(0.1, 0.05, 0.05),
    "middle": Noise(0.3, 0.15, 0.15),
    "strong": Noise(1.0, 0.3, 0.3),
}
MISSING: Final[Mapping[Strength, float]] = {"weak": 0.1, "middle": 0.25, "strong": 0.5}
"""Share of the features that a row lacks."""
REPLACED: Final = ("categorical", "boolean")
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Known:
    """What noise is made from, as training rows have it.

    Attributes:
        deviations: of the numeric features.
        values: of the others.
        spreads: deviations of the vectors' dimensions of those that have vectors, by their places.
    """

    deviations: Float[np.ndarray, " numeric"]
    values: tuple[tuple[str, ...], ...]
    spreads: Mapping[int, Float[np.ndarray, " dimensions"]] = field(default_factory=dict)


def known(train: Columns) -> Known:
    """What the training rows say."""
    finite = np.where(np.isfinite(train.numeric), train.numeric, np.nan)
    there = ~np.isnan(finite).all(axis=0)
    deviations = np.zeros(finite.shape[1])
    deviations[there] = np.nanstd(finite[:, there], axis=0)
    values = tuple(tuple(c.values[i] for i in np.unique(c.codes[c.codes >= 0])) for c in train.categorical)
    spreads = {
        place: column.vectors[column.codes[column.codes >= 0]].std(axis=0, dtype=np.float64)
        for place, column in enumerate(train.categorical)
        if column.vectors is not None
    }
    return Known(deviations, values, spreads)


def with_noise(rows: Columns, schema: Schema, seen: Known, noise: Noise, seed: int) -> Columns:
    """Every row with noise of its own.

    Numbers and pixels get Gaussian noise in units of their deviation; a category is replaced by any known one; a word of a
    text is left out or misspelt, alike for all features of the text, whose vectors are still to be made (`encoded`). The
    numbers that a pretrained encoder made of a picture get noise as other numbers do. What is missing stays missing.
    """
    random = np.random.default_rng(seed)
    numeric = rows.numeric + noise.deviations * seen.deviations * random.normal(size=rows.numeric.shape)
    features = [f for f in schema.features if f.kind != "numeric"]
    misspelt: dict[tuple[str, str | None], Codes] = {}
    others = []
    for place, (feature, column, values) in enumerate(zip(features, rows.categorical, seen.values, strict=True)):
        if feature.of_sight:
            others.append(_blurred(column, noise.deviations * seen.spreads[place], random))
        elif feature.of_text:
            text = feature.column, feature.mention
            if text not in misspelt:
                misspelt[text] = _misspelt(column, noise.words, random)
            others.append(misspelt[text])
        elif feature.kind in REPLACED and values:
            others.append(_replaced(column, values, noise.replaced, random))
        else:
            others.append(column)
    found = replace(rows, numeric=numeric, categorical=tuple(others))
    drawn = [_grainy(*own, noise.deviations, random) for own in zip(rows.pictures, schema.grids, strict=True)]
    return _showing(found, schema, tuple(drawn)) if drawn else found


def encoded(rows: Columns, schema: Schema, vectors: Vectors | None) -> Columns:
    """The rows with the vectors of texts that were changed; as they are where there is nothing to make them."""
    return rows if vectors is None else replace(rows, categorical=with_vectors(rows.categorical, schema, vectors))


def without(rows: Columns, schema: Schema, feature: str) -> Columns:
    """The rows with that feature missing in all of them."""
    gone = np.zeros((len(rows), len(schema.features)), dtype=bool)
    gone[:, next(i for i, f in enumerate(schema.features) if f.name == feature)] = True
    return _missing(rows, schema, gone)


def with_gaps(rows: Columns, schema: Schema, share: float, seed: int) -> Columns:
    """Every feature of every row missing by a chance of `share`."""
    drawn = np.random.default_rng(seed).random((len(rows), len(schema.features)))
    return _missing(rows, schema, drawn < share)


def _missing(rows: Columns, schema: Schema, gone: Bool[np.ndarray, "rows features"]) -> Columns:
    numbers = [i for i, f in enumerate(schema.features) if f.kind == "numeric"]
    others = [i for i, f in enumerate(schema.features) if f.kind != "numeric"]
    regions = {(f.column, f.place): i for i, f in enumerate(schema.features) if f.kind == "region"}
    return replace(
        rows,
        numeric=np.where(gone[:, numbers], np.nan, rows.numeric),
        categorical=tuple(
            replace(column, codes=np.where(gone[:, i], MISSING_CODE, column.codes).astype(np.int32))
            for i, column in zip(others, rows.categorical, strict=True)
        ),
        pictures=tuple(
            _blanked(pictures, grid, gone[:, [regions[grid.column, place] for place in range(grid.regions)]])
            for pictures, grid in zip(rows.pictures, schema.grids, strict=True)
        ),
    )


def _grainy(pictures: Pictures, grid: Grid, deviations: float, random: np.random.Generator) -> Pictures:
    """Gaussian noise on every pixel, in units of its channel's deviation."""
    pixels = np.empty_like(pictures.pixels)
    scale = deviations * np.array(grid.deviation, np.float32)[:, None, None]
    for row, own in enumerate(pictures.pixels):
        pixels[row] = np.clip(np.rint(own + scale * random.standard_normal(own.shape, np.float32)), 0, 255)
    pixels[~pictures.there] = pictures.pixels[~pictures.there]
    return Pictures(pixels, pictures.there)


def _blanked(pictures: Pictures, grid: Grid, gone: Bool[np.ndarray, "rows regions"]) -> Pictures:
    """The regions that are gone of one colour, the mean; a picture without any region is missing."""
    pixels, mean = pictures.pixels.copy(), np.rint(np.array(grid.mean)).astype(np.uint8)[:, None, None]
    tall, wide = grid.height // grid.rows, grid.width // grid.cols
    for place in range(grid.regions):
        top, left = place // grid.cols * tall, place % grid.cols * wide
        pixels[gone[:, place], :, top : top + tall, left : left + wide] = mean
    return Pictures(pixels, pictures.there & ~gone.all(axis=1))


def _showing(rows: Columns, schema: Schema, pictures: tuple[Pictures, ...]) -> Columns:
    """The rows with these pictures, and what is told of their regions."""
    shown = {grid.column: codes(own, grid) for own, grid in zip(pictures, schema.grids, strict=True)}
    others = [f for f in schema.features if f.kind != "numeric"]
    found = tuple(
        column if f.place is None else replace(column, codes=shown[f.column][:, f.place])
        for f, column in zip(others, rows.categorical, strict=True)
    )
    return replace(rows, categorical=found, pictures=pictures)


def _replaced(column: Codes, values: Sequence[str], share: float, random: np.random.Generator) -> Codes:
    hit = (random.random(len(column.codes)) < share) & (column.codes >= 0)
    drawn = random.integers(0, len(values), len(column.codes)) + len(column.values)
    return Codes(np.where(hit, drawn, column.codes).astype(np.int32), (*column.values, *values))


def _blurred(column: Codes, scale: Float[np.ndarray, " dimensions"], random: np.random.Generator) -> Codes:
    """Each row's vector with noise of its own."""
    assert column.vectors is not None
    there = np.flatnonzero(column.codes >= 0)
    names = column.codes[there]
    vectors = column.vectors[names] + scale * random.normal(size=(len(there), len(scale)))
    codes = np.full(len(column.codes), MISSING_CODE, np.int32)
    codes[there] = np.arange(len(there))
    return Codes(codes, tuple(column.values[name] for name in names), vectors.astype(np.float32))


def _misspelt(column: Codes, share: float, random: np.random.Generator) -> Codes:
    """Each row's text with words left out or misspelt, each word by a chance of `share`."""
    codes = np.full(len(column.codes), MISSING_CODE, dtype=np.int32)
    texts: dict[str, int] = {}
    for row in np.flatnonzero(column.codes >= 0):
        words = column.values[column.codes[row]].split()
        for place in np.flatnonzero(random.random(len(words)) < share):
            harm = HARMS[random.integers(len(HARMS))]
            words[place] = harm(words[place], random) if words[place] != MARK else MARK
        codes[row] = texts.setdefault(" ".join(word for word in words if word), len(texts))
    return Codes(codes, tuple(texts))


def _dropped(word: str, random: np.random.Generator) -> str:  # noqa: ARG001 - the signature of harms
    return ""


def _swapped(word: str, random: np.random.Generator) -> str:
    """Two neighbouring letters change places."""
    at = int(random.integers(max(1, len(word) - 1)))
    return word[:at] + word[at : at + 2][::-1] + word[at + 2 :]


def _shortened(word: str, random: np.random.Generator) -> str:
    """A letter is lacking."""
    at = int(random.integers(len(word)))
    return word[:at] + word[at + 1 :]


def _mistyped(word: str, random: np.random.Generator) -> str:
    """A letter is another one."""
    at = int(random.integers(len(word)))
    return word[:at] + LETTERS[random.integers(len(LETTERS))] + word[at + 1 :]


HARMS: Final[tuple[Callable[[str, np.random.Generator], str], ...]] = (_dropped, _swapped, _shortened, _mistyped)
"""What befalls a word; each as likely as the others."""
