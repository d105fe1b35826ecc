"""The same answer spelled otherwise: true and false of the training rows, 1 and 0 of the rows that come later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

TWINS: Final = {"True": "1", "1": "True", "False": "0", "0": "False"}


def places_of(values: Sequence[str], known: Mapping[str, int], otherwise: int) -> list[int]:
    """The place of each value; `otherwise` of one that is not known.

    Where truth values are all that is known, and spelled in the other of the two ways, a value is where its twin is: files
    say 1 where frames say True.
    """
    alike = bool(known) and (known.keys() <= {"True", "False"} or known.keys() <= {"1", "0"})
    if not alike:
        return [known.get(value, otherwise) for value in values]
    return [known.get(value, known.get(TWINS.get(value, value), otherwise)) for value in values]
