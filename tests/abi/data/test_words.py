"""Words in any script: marks stay with their letters, and composed and decomposed text is the same."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abi.data.text import labels, strings
from abi.data.words import spans, words_in


@pytest.mark.parametrize(
    "word",
    ["\u0939\u093f\u0928\u094d\u0926\u0940", "\u0ba4\u0bae\u0bbf\u0bb4\u0bcd", "\u0643\u064e\u062a\u064e\u0628\u064e", "\u05e9\u05b8\u05dc\u05d5\u05b9\u05dd", "\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48"],
)  # fmt: skip
def test_marks_do_not_cut_words(word: str) -> None:
    assert words_in(f"a {word}, {word}'s") == ["a", word, ",", f"{word}'s"]
    assert [(part, start, end) for part, start, end in spans(f"a {word}!")] == [
        ("a", 0, 1),
        (word, 2, 2 + len(word)),
        ("!", 2 + len(word), 3 + len(word)),
    ]


def test_composed_and_decomposed_text_has_the_same_words_and_labels() -> None:
    composed = "Caf\u00e9 \u2260 th\u00e9"
    apart = unicodedata.normalize("NFD", composed)
    assert apart != composed
    assert words_in(apart) == words_in(composed) == ["caf\u00e9", "\u2260", "th\u00e9"]
    assert [apart[start:end] for _, start, end in spans(apart)] == apart.split()
    assert [word for word, *_ in spans(apart)] == words_in(apart)
    assert labels(pa.array([composed, apart])).dictionary.to_pylist() == [composed]
    assert strings(pa.array([apart, None, "NA", " a "])).to_pylist() == [composed, None, None, "a"]


@given(st.text(st.characters(codec="ascii")))
def test_words_of_plain_text_are_letters_and_single_marks(text: str) -> None:
    assert words_in(text) == re.findall(r"\w+(?:'\w+)?|[^\w\s]", text.lower())
    assert [word for word, *_ in spans(text)] == words_in(text)


@given(st.text())
def test_spans_are_the_words_in_their_order(text: str) -> None:
    found = spans(text)
    assert all(0 <= start < end <= len(text) for _, start, end in found)
    assert all(one[2] <= other[1] for one, other in pairwise(found))
