"""What followed a stream, as it stood after the last row: a convex mixture of experts, each kept as a model of its own.

It predicts new rows without their labels as the stream's learner would: the last label and all that past labels tell
stay as they were at the stream's end, and the rows of a table are taken in order as those that come next.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float

from abi.data.columns import MISSING_CODE, Codes, Columns
from abi.errors import UsageError, WorkspaceError
from abi.families.family import MODEL, Model, predict_frame
from abi.families.mixing import changed, padded, persistence
from abi.families.onward import Onward
from abi.problem import Feature, Schema
from abi.values import Value

if TYPE_CHECKING:
    import pandas as pd

    from abi.metrics import Prediction

PARTS: Final[tuple[str, ...]] = ("champion", "network", "trees", "change")


@dataclass(frozen=True, kw_only=True)
class MixtureBlueprint(Value):
    """All that is needed beside the parts, which lie in folders of their names.

    Attributes:
        family: "mixture".
        schema: the stream's own columns, and all classes.
        shares: of persistence and of each part; they sum to 1.
        parts: the artifact of each part.
        last: the last label: its place among the classes, or its value; None where there is none.
        stay: how often a label was followed by itself.
        known: classes over which persistence spreads the rest.
        seen: classes that the stream showed: what the trees of the change share out.
        features: of each part, the names of its features here; "" where one is derived.
        onward: the derived columns.
    """

    family: str
    schema: Schema
    shares: dict[str, float]
    parts: dict[str, str]
    last: float | None
    stay: float
    known: tuple[int, ...]
    seen: tuple[int, ...]
    features: dict[str, tuple[str, ...]]
    onward: Onward


@dataclass(frozen=True)
class Mixture:
    """The blueprint and its parts by name."""

    blueprint: MixtureBlueprint
    parts: dict[str, Model]

    @property
    def schema(self) -> Schema:
        """Target, task and features."""
        return self.blueprint.schema

    @property
    def parameters(self) -> int:
        """Of all parts."""
        return sum(part.parameters for part in self.parts.values())

    @property
    def thresholds(self) -> None:
        """A stream has one class per row, or numbers."""
        return None

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Predictions for raw rows in order: column `prediction`, and `probability_<class>` per class.

        Raises:
            DataError: a feature's column is missing.
        """
        return predict_frame(self, frame)

    def predict_columns(self, columns: Columns) -> Float[np.ndarray, "rows ..."]:
        """Probabilities (rows, classes), or values (rows,) in the target's unit; the rows follow one another."""
        held, classes = self.blueprint, self.schema.classes
        last = self._last(len(columns))
        told = self._told(columns)
        spread = {"persistence": persistence(np.nan_to_num(last), held.stay, held.known, len(classes))}
        for name in ("champion", "network", "trees"):
            if name in self.parts:
                part = self.parts[name]
                place = {c: i for i, c in enumerate(classes)}
                said = part.predict_columns(self._columns_of(name, columns, told))
                spread[name] = padded(said, [place[c] for c in part.schema.classes], len(classes))
        if "change" in self.parts:
            found = self.parts["change"].predict_columns(self._columns_of("change", columns, told))
            spread["change"] = changed(found, last, self._believed(spread, len(columns)) if classes else None)
        mixed = sum(share * spread[name] for name, share in held.shares.items())
        return np.asarray(mixed, np.float64)

    def after(self, columns: Columns) -> Mixture:
        """The same once these rows have passed, without learning from them."""
        held, parts = self.blueprint, dict(self.parts)
        inner = parts.get("champion")
        if isinstance(inner, Mixture):
            parts["champion"] = inner.after(self._columns_of("champion", columns, {}))
        names = {name: part.artifact for name, part in parts.items()}
        return Mixture(replace(held, onward=held.onward.after(self._going(columns)), parts=names), parts)

    def _going(self, columns: Columns) -> Float[np.ndarray, "rows changes"]:
        """The values of each change's feature."""
        place = _places(self.schema, numeric=True)
        return columns.numeric[:, [place[g.feature] for g in self.blueprint.onward.going]]

    def _last(self, rows: int) -> Prediction:
        held = self.blueprint
        if self.schema.task == "regression":
            return np.full(rows, np.nan if held.last is None else held.last)
        return np.full(rows, -1 if held.last is None else int(held.last))

    def _believed(self, spread: dict[str, Prediction], rows: int) -> Prediction:
        """What trees of the change take for the other classes' chances, over those that the stream showed."""
        believed = spread.get("trees", spread.get("network"))
        if believed is None:
            return persistence(np.full(rows, -1), 0.5, self.blueprint.known, len(self.schema.classes))
        shown = np.zeros(believed.shape[1])
        shown[list(self.blueprint.seen)] = 1
        return believed * shown

    def _told(self, columns: Columns) -> dict[str, Float[np.ndarray, " rows"]]:
        """Name of each change that goes on -> its values."""
        onward = self.blueprint.onward
        changes = onward.changes(self._going(columns)).T
        return {g.name: column for g, column in zip(onward.going, changes, strict=True)}

    def _columns_of(self, name: str, columns: Columns, told: dict[str, Float[np.ndarray, " rows"]]) -> Columns:
        """The rows as one part takes them."""
        numeric, other = _places(self.schema, numeric=True), _places(self.schema, numeric=False)
        numbers, codes = list[Any](), list[Codes]()
        for feature, own in zip(self.parts[name].schema.features, self.blueprint.features[name], strict=True):
            if feature.kind == "numeric":
                numbers.append(columns.numeric[:, numeric[own]] if own else self._number(feature, len(columns), told))
            else:
                codes.append(columns.categorical[other[own]] if own else self._text(feature, len(columns)))
        table = np.column_stack(numbers) if numbers else np.empty((len(columns), 0))
        return replace(columns, numeric=np.asarray(table, np.float64), categorical=tuple(codes), target=None)

    def _number(
        self, feature: Feature, rows: int, told: dict[str, Float[np.ndarray, " rows"]]
    ) -> Float[np.ndarray, " rows"]:
        if feature.column in told:
            return told[feature.column]
        value = self.blueprint.onward.numbers[feature.column]
        return np.full(rows, np.nan if value is None else value)

    def _text(self, feature: Feature, rows: int) -> Codes:
        value = self.blueprint.onward.texts[feature.column]
        if value is None:
            return Codes(np.full(rows, MISSING_CODE, np.int32), ())
        return Codes(np.zeros(rows, np.int32), (value,))

    def files(self) -> dict[str, bytes]:
        """File name -> content."""
        parts = {f"{name}/{file}": data for name, part in self.parts.items() for file, data in part.files().items()}
        return {MODEL: self.blueprint.canonical(), **parts}

    @property
    def artifact(self) -> str:
        """SHA-256 of the blueprint, which names the parts' hashes."""
        return hashlib.sha256(self.blueprint.canonical()).hexdigest()


def load_mixture(folder: Path | str, plain: Any, load: Callable[[Path], Model]) -> Mixture:
    """Read a folder of parts, whose ``model.json`` is `plain`; `load` reads a part of any family.

    Raises:
        WorkspaceError: a file is missing or damaged, or the parts are not those that were mixed.
    """
    folder = Path(folder)
    try:
        blueprint = MixtureBlueprint.from_json(plain)
    except (ValueError, UsageError, json.JSONDecodeError) as error:
        msg = f"Expected a whole model in {folder}, got damaged files: {error} Follow the stream again or restore the folder."
        raise WorkspaceError(msg) from None
    parts = {name: load(folder / name) for name in PARTS if name in blueprint.parts}
    if {name: part.artifact for name, part in parts.items()} != blueprint.parts:
        msg = f"Expected the parts that were mixed in {folder}, got others. Follow the stream again or restore the folder."
        raise WorkspaceError(msg)
    return Mixture(blueprint, parts)


def _places(schema: Schema, *, numeric: bool) -> dict[str, int]:
    """Name -> place among the numeric features, or among the others."""
    chosen = (f.name for f in schema.features if (f.kind == "numeric") is numeric)
    return {name: place for place, name in enumerate(chosen)}
