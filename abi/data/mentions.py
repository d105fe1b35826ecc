"""Texts that are read for something they mention: a title with several companies says another thing of each.

Where a column's value stands in a text (`entity` in `title`), the text is read with a mark in its place, so that what is
said near it can be told from the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import pyarrow as pa

from abi.errors import UsageError, clip
from abi.problem import Feature

MARK: Final = "\N{POSITION INDICATOR}"
OFTEN: Final = 0.9
"""Share of sampled rows in which the value has to stand, to be found without being named."""
LEAST_LETTERS: Final = 2
SAMPLED: Final = 2000


def marked(text: str, mention: str | None) -> str:
    """The text with the mark where `mention` stands first, whatever its case; as it is where that is nowhere."""
    low, name = text.lower(), (mention or "").lower()
    if not name or len(low) != len(text):  # a few letters change their length
        return text
    first = at = low.find(name)
    while at >= 0 and not _alone(low, at, at + len(name)):
        at = low.find(name, at + 1)
    at = first if at < 0 else at  # else a part of a word
    return text if at < 0 else f"{text[:at]} {MARK} {text[at + len(name) :]}"


def _alone(text: str, start: int, end: int) -> bool:
    """Whether that part begins and ends with whole words."""
    before, after = text[start - 1 : start], text[end : end + 1]
    return not (before.isalnum() or after.isalnum())


def mark_all(texts: pa.Array, mentions: pa.Array) -> pa.Array:
    """Both row by row; a missing text stays missing."""
    pairs = zip(texts.cast(pa.string()).to_pylist(), mentions.cast(pa.string()).to_pylist(), strict=True)
    return pa.array([None if text is None else marked(text, mention) for text, mention in pairs], pa.string())


def with_mentions(
    features: Sequence[Feature], sample: pa.Table, settings: Mapping[str, str] | str
) -> tuple[Feature, ...]:
    """The texts with the column that each mentions: as the settings say, or where it is found in the sample ("auto").

    Raises:
        UsageError: a named column is not a text, or no feature comes from the mentioned one.
    """
    if isinstance(settings, str):
        return _in_order_too([_found(feature, features, sample) for feature in features])
    whole = {f.column for f in features if f.name == f.column and f.kind != "numeric"}
    texts = {f.column for f in features if f.kind == "text"}
    for text, mention in settings.items():
        if text not in texts or mention not in whole or text == mention:
            msg = f"Expected a column of text and another one that it mentions in data.mentions, got {clip(text)!r} and {clip(mention)!r}: set their kinds in data.columns, or leave that entry out."
            raise UsageError(msg)
    return _in_order_too(
        [replace(f, mention=settings[f.column]) if f.kind == "text" and f.column in settings else f for f in features]
    )


def _in_order_too(features: Sequence[Feature]) -> tuple[Feature, ...]:
    """A text that is read as a sequence is the same text as that of its terms."""
    found = {f.column: f.mention for f in features if f.kind == "text"}
    return tuple(replace(f, mention=found.get(f.column)) if f.kind == "sequence" else f for f in features)


def _found(feature: Feature, features: Sequence[Feature], sample: pa.Table) -> Feature:
    if feature.kind != "text":
        return feature
    texts = _spelled(sample, feature.column)
    for other in features:
        if other.kind not in ("categorical", "text") or other.name != other.column or other is feature:
            continue
        pairs = [(t, m) for t, m in zip(texts, _spelled(sample, other.column), strict=True) if t and m]
        if not pairs or other.distinct <= LEAST_LETTERS:
            continue
        inside = sum(len(m) >= LEAST_LETTERS and len(m) < len(t) and m.lower() in t.lower() for t, m in pairs)
        if inside >= OFTEN * len(pairs):
            return replace(feature, mention=other.column)
    return feature


def _spelled(sample: pa.Table, column: str) -> list[str | None]:
    values: list[str | None] = sample.column(column).slice(0, SAMPLED).cast(pa.string()).to_pylist()
    return values
