"""Words of a text: letters and digits with an apostrophe inside, and single marks.

Combining marks (vowels of Devanagari, points of Arabic and Hebrew, accents) belong to the letter that they stand behind.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from abi.problem import Reading

_PLAIN: Final = re.compile(r"\w+(?:'\w+)?|[^\w\s]")
LEAST_WORDS, MOST_WORDS = 4, 128
"""Words of a text that are read in order: the longest window of `abi.inputs.sequence` at least."""


def words_in(text: str) -> list[str]:
    """The words and marks of a text in their order, in lower case; an accent is the same whether composed or not (NFC)."""
    lower = composed(text).lower()
    words: list[str] = _PLAIN.findall(lower)
    if text.isascii() or _combining().isdisjoint(words):
        return words
    found: list[str] = _with_marks()[0].findall(lower)
    return found


def spans(text: str) -> list[tuple[str, int, int]]:
    """The words of `words_in`, each with where it starts and ends in the text as it is."""
    word, character = _with_marks()
    if unicodedata.is_normalized("NFC", text):
        return [(found[0].lower(), *found.span()) for found in word.finditer(text)]
    characters = character.findall(text)
    parts = [composed(one) for one in characters]
    owner = [i for i, part in enumerate(parts) for _ in part]
    ends = [0, *accumulate(map(len, characters))]
    return [
        (composed(found[0]).lower(), ends[owner[found.start()]], ends[owner[found.end() - 1] + 1])
        for found in word.finditer("".join(parts))
    ]


@functools.cache
def _combining() -> frozenset[str]:
    """All combining marks."""
    every = map(chr, range(128, sys.maxunicode + 1))
    return frozenset(one for one in every if unicodedata.category(one) in ("Mn", "Mc"))


@functools.cache
def _with_marks() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What a word is, and a character with its marks; slower than `_PLAIN`, which cuts words at marks."""
    marks = "".join(sorted(_combining()))
    letters = rf"\w+(?:[{marks}]+\w*)*"
    return re.compile(rf"{letters}(?:'{letters})?|[^\w\s]"), re.compile(rf".[{marks}]*", re.DOTALL)


def composed(text: str) -> str:
    """In the form in which letters and their marks are one character where there is one (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def reading_of(texts: Sequence[str]) -> Reading:
    """How texts such as these are read in order: as far as the longest of them goes, up to `MOST_WORDS`."""
    longest, known = LEAST_WORDS, set[str]()
    for text in texts:
        words = words_in(text)
        longest = max(longest, len(words))
        known.update(words)
    return Reading(length=min(longest, MOST_WORDS), known=len(known))
