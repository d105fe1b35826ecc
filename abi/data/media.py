"""Columns of media: binary cells (or Hugging Face's {bytes, path}) that are images or sounds, as files hold them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from abi.data.order import ROWS, times_of
from abi.data.split import ROLES, roles
from abi.data.table import ROW, ColumnProfile, MediaProfile
from abi.errors import clip
from abi.media import audio, grid, image
from abi.media.broken import Broken, Found
from abi.media.cells import files_of
from abi.problem import Feature, Grid, Medium

if TYPE_CHECKING:
    from abi.data.table import Tabular
    from abi.problem import Schema, Split
    from abi.reading import MediaConfig

LOOKED_AT: Final = 16
THREADS: Final = 2
SAMPLED: Final = 4096
"""Pictures that the codebook and the channels' moments are learned from."""


def medium_of(blocks: Iterable[pa.Array], meant: bytes | None = None) -> Medium | None:
    """What the cells of a binary column are, by the first bytes of the first ones that are there.

    Args:
        blocks: cells from the beginning of the column.
        meant: what they are where that does not tell.
    """
    votes: Counter[Medium] = Counter()
    left = LOOKED_AT
    for block in blocks:
        for cell in files_of(block).drop_null()[:LOOKED_AT]:
            data = cell.as_py()
            left -= bool(data)
            if image.is_image(data):
                votes["image"] += 1
            elif audio.is_audio(data):
                votes["audio"] += 1
        if left <= 0:
            break
    if votes:
        return votes.most_common(1)[0][0]
    return None if meant is None else "audio" if meant == b"audio" else "image"


class MediaColumn:
    """Reads a column of files: keeps them as they are, and tells what they hold. Empty cells are missing."""

    def __init__(self, name: str, medium: Medium) -> None:
        self.name, self.medium = name, medium
        self.restart()

    @property
    def arrow_type(self) -> pa.DataType:
        """Files as they are."""
        return pa.large_binary()

    def restart(self) -> None:
        """Forget what was seen."""
        self.rows = self.nulls = self.broken = 0
        self.example = ""
        self.found: Counter[Found] = Counter()

    def read(self, block: pa.Array, first: int) -> pa.Array:
        """The files; broken ones become nulls."""
        files = files_of(block)
        look: Callable[[bytes], Found] = {"image": image.examine, "audio": audio.examine}[self.medium]

        def judge(cell: pa.Scalar) -> Found | str | None:
            data = cell.as_py()
            if data is None:
                return None
            if not data:
                return "is empty, damaged in its archive, or was not found"
            try:
                return look(data)
            except Broken as error:
                return str(error)

        with ThreadPoolExecutor(THREADS) as pool:
            told = list(pool.map(judge, files))
        good = np.array([isinstance(one, Found) for one in told], dtype=bool)
        self.rows += len(told)
        self.nulls += sum(one is None for one in told)
        self.found.update(one for one in told if isinstance(one, Found))
        for place, one in enumerate(told):
            if isinstance(one, str):
                self.broken += 1
                self.example = self.example or f"row {first + place + 1} {clip(one)}"
        return pc.if_else(pa.array(good), files, pa.scalar(None, pa.large_binary()))

    def profile(self) -> ColumnProfile:
        """What was seen."""
        missing = self.nulls + self.broken
        base = ColumnProfile(name=self.name, type="media", nulls=missing, distinct=self.rows - missing)
        return replace(base, media=self._media())

    def _media(self) -> MediaProfile:
        found = self.found
        mixed = len({(f.height, f.width, f.rate) for f in found})
        channels, height, width, rate, seconds = 1, 0, 0, None, None
        if found and self.medium == "image":
            channels, height, width = image.size_of(found)
        elif found:
            rate, seconds, width = audio.size_of(found)
            height = audio.BANDS
        several = sum(times for f, times in found.items() if f.channels > 1) if self.medium == "audio" else 0
        return MediaProfile(
            medium=self.medium, broken=self.broken, first_broken=self.example, shapes=max(1, mixed), several=several,
            channels=channels, height=height, width=width, rate=rate, seconds=seconds,
        )  # fmt: skip


def features_of(column: ColumnProfile, rows: int, config: MediaConfig) -> tuple[tuple[Feature, ...], Grid]:
    """The regions of a media column, and the grid that they are in, of which nothing is learned yet (`with_codebooks`).

    Args:
        column: its profile, over all rows.
        rows: rows of the table.
        config: the largest side of a picture.
    """
    made = bare_grid(column, config)
    missing = column.nulls / rows
    found = tuple(
        Feature(name=name, column=column.name, kind="region", distinct=1, missing_share=missing, place=place)
        for place, name in enumerate(grid.region_names(made))
    )
    return found, made


def bare_grid(column: ColumnProfile, config: MediaConfig) -> Grid:
    """Size and regions, from the profile."""
    known = column.media
    assert known is not None
    height, width = known.height, known.width
    if known.medium == "image":
        scale = min(1.0, config.size / max(height, width))
        height, width = max(1, round(height * scale)), max(1, round(width * scale))
    rows, height = grid.cut(height)
    cols, width = grid.cut(width)
    return Grid(
        column=column.name, medium=known.medium, channels=known.channels, height=height, width=width,
        rows=rows, cols=cols, mean=(0.0,) * known.channels, deviation=(1.0,) * known.channels,
        rate=known.rate, seconds=known.seconds,
    )  # fmt: skip


def with_codebooks(schema: Schema, table: Tabular, split: Split | None = None) -> Schema:
    """The schema with what its grids learn from pictures: those of the sample's training rows, or of all its rows.

    Args:
        schema: its grids are bare.
        table: the training table.
        split: says which rows are for training; also where it is known, all rows count if none of these has a picture.
    """
    if not schema.grids:
        return schema
    names = [made.column for made in schema.grids]
    timed = split is not None and split.order not in ("", ROWS)
    sample = table.sample([*names, split.order] if split is not None and timed else names)
    train = sample
    if split is not None:
        times = times_of(sample[split.order]) if timed else None
        train = sample.filter(pa.array(roles(sample[ROW].to_numpy(), split, times) == ROLES.index("train")))
    learned: dict[str, Grid] = {}
    for made in schema.grids:
        cells = train if train[made.column].null_count < len(train) else sample
        learned[made.column] = learn_grid(made, cells[made.column].combine_chunks())
    features = tuple(
        replace(feature, distinct=_words(learned[feature.column])) if feature.kind == "region" else feature
        for feature in schema.features
    )
    return replace(schema, features=features, grids=tuple(learned.values()))


def learn_grid(made: Grid, sample: pa.Array) -> Grid:
    """The same grid with moments and codebook, from a sample of files; at least one is there."""
    pictures = grid.decode(sample.drop_null()[:SAMPLED], made)
    mean, deviation = grid.moments(pictures)
    made = replace(made, mean=mean, deviation=deviation)
    return replace(made, centres=grid.codebook(pictures, made))


def _words(made: Grid) -> int:
    """How many different things a region can show."""
    return max(1, len(made.centres) // grid.patch_size(made))
