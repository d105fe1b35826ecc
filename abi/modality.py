"""Modalities: the table's columns together, each text, each column of images or sounds."""

from __future__ import annotations

from typing import Final

from abi.problem import Feature, Schema

TABLE: Final = "table"
OF_TABLE: Final = frozenset({"numeric", "categorical", "boolean"})


def modality_of(feature: Feature) -> str:
    """The modality that a feature is of: its column, or the table."""
    return TABLE if feature.kind in OF_TABLE else feature.column


def modalities(schema: Schema) -> tuple[str, ...]:
    """All of them, in the order of their first feature."""
    return tuple(dict.fromkeys(modality_of(feature) for feature in schema.features))
