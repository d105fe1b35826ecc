"""Words of a text: letters and digits with an apostrophe inside, and single marks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from abi.problem import Reading

PATTERN: Final = r"(?u)\w+(?:'\w+)?|[^\w\s]"
WORD: Final = re.compile(PATTERN)
LEAST_WORDS, MOST_WORDS = 4, 128
"""Words of a text that are read in order: the longest window of `abi.inputs.sequence` at least."""


def words_in(text: str) -> list[str]:
    """The words and marks of a text in their order, in lower case."""
    words: list[str] = WORD.findall(text.lower())
    return words


def reading_of(texts: Sequence[str]) -> Reading:
    """How texts such as these are read in order: as far as the longest of them goes, up to `MOST_WORDS`."""
    longest, known = LEAST_WORDS, set[str]()
    for text in texts:
        words = words_in(text)
        longest = max(longest, len(words))
        known.update(words)
    return Reading(length=min(longest, MOST_WORDS), known=len(known))
