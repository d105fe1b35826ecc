"""A feature that is not numeric, gathered from chunks whose codes mean something else in each."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from abi.data.columns import FILES, MISSING_CODE, Codes


class Gathered:
    """Codes of up to `rows` rows, the same throughout; vectors and files come along where the chunks have them."""

    def __init__(self, rows: int) -> None:
        self._codes = np.empty(rows, np.int32)
        self._place: dict[str, int] = {}
        self._vectors: list[Float32[np.ndarray, "new dimensions"]] = []
        self._files: tuple[bytes, ...] = ()

    def add(self, here: slice, part: Codes) -> None:
        """The rows `here`."""
        place, known = self._place, len(self._place)
        lookup = np.array([*(place.setdefault(v, len(place)) for v in part.values), MISSING_CODE], np.int32)
        self._codes[here] = lookup[part.codes]
        if part.vectors is not None:
            self._vectors.append(part.vectors[lookup[:-1] >= known])
            self._files = self._files if known else part.files[:FILES]

    def whole(self, end: int) -> Codes:
        """The first `end` rows."""
        vectors = np.concatenate(self._vectors) if self._vectors else None
        return Codes(self._codes[:end], tuple(self._place), vectors, self._files)
