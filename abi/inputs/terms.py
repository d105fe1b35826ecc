"""Terms of free text: words, punctuation, pairs of neighbours, pieces of words, and what stands near a mention; by TF-IDF.

Pieces are a word's runs of 3 to 5 characters with its ends, as in fastText (Bojanowski et al. 2017): words that were never
seen share them with those that were. Where a text is read for something that it mentions (`abi.data.mentions`), the words
close to that are terms of their own, before and after it.
"""

from __future__ import annotations

import functools
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from jaxtyping import Float32, Int, Int64
from scipy.sparse import csr_array

from abi.data.mentions import MARK
from abi.data.words import words_in

PIECES: Final = (3, 4, 5)
"""Characters of a piece."""
NEAR: Final = 4
"""Words before and after a mention that are terms of their own."""
REACH: Final = 3
"""Places between two words whose order is told."""
PIECE: Final = "~"
"""What a piece begins with; the ends of its word are `_`."""
KEPT: Final = 32
"""Letters of the longest words whose pieces are kept from one text to the next."""
_BEFORE, _AFTER = f"{MARK}<", f"{MARK}>"
GROUPS: Final = 3


@dataclass(frozen=True)
class Bags:
    """Texts as bags of terms in CSR form: text i has `ids[offsets[i]:offsets[i+1]]`, increasing, with their weights."""

    ids: Int64[np.ndarray, " cells"]
    weights: Float32[np.ndarray, " cells"]
    offsets: Int64[np.ndarray, " ends"]


def terms_in(text: str, pieces: bool = False) -> list[str]:
    """All terms of a text, as often as they stand in it."""
    words = words_in(text)
    found = [*words, *map(" ".join, pairwise(words))]
    if MARK in words:
        found += _near(words)
    if pieces:
        for word in words:
            found += pieces_of(word)
    return found


def ordered_pairs(text: str) -> list[str]:
    """The words of a text, and of each two that stand at most `REACH` places apart which comes first, and how far.

    What a text that is read as a sequence is scored by: its longest window (`abi.inputs.sequence`) sees as far.
    """
    words = words_in(text)
    pairs = [f"{one} {gap} {other}" for gap in range(1, REACH + 1) for one, other in zip(words, words[gap:])]  # noqa: B905
    return [*words, *pairs]


def located(words: Sequence[str], pieces: bool = False) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The terms of `terms_in` with the numbers of the words that each consists of."""
    every = range(len(words))
    yield from _runs(words, every)
    if MARK in words:
        at = words.index(MARK)
        for prefix, near in (
            (_BEFORE, range(max(0, at - NEAR), at)),
            (_AFTER, range(at + 1, min(at + 1 + NEAR, len(words)))),
        ):
            yield from ((prefix + term, places) for term, places in _runs(words, near))
    if pieces:
        yield from ((piece, (i,)) for i in every for piece in pieces_of(words[i]))


def _runs(words: Sequence[str], places: range) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from ((words[i], (i,)) for i in places)
    yield from ((f"{words[i]} {words[j]}", (i, j)) for i, j in pairwise(places))


def pieces_of(word: str) -> tuple[str, ...]:
    """Its runs of characters, with the word's ends; none of punctuation."""
    return _kept_pieces(word) if len(word) <= KEPT else _pieces(word)


def _pieces(word: str) -> tuple[str, ...]:
    if not word[0].isalnum():
        return ()
    whole = f"_{word}_"
    return tuple(PIECE + whole[i : i + n] for n in PIECES for i in range(len(whole) - n + 1))


_kept_pieces = functools.lru_cache(maxsize=2**16)(_pieces)


def group_of(term: str) -> int:
    """0 for words and pairs, 1 for pieces, 2 for what stands near a mention: each group has a length of its own."""
    if term.startswith((_BEFORE, _AFTER)):
        return 2
    return int(len(term) > 1 and term[0] == PIECE and term[1] != " ")


def _near(words: Sequence[str]) -> Iterator[str]:
    at = words.index(MARK)
    for prefix, part in ((_BEFORE, words[max(0, at - NEAR) : at]), (_AFTER, words[at + 1 : at + 1 + NEAR])):
        for term in (*part, *map(" ".join, pairwise(part))):
            yield prefix + term


def count_terms(
    texts: Sequence[str],
    vocabulary: Sequence[str] | None = None,
    *,
    pieces: bool = False,
    read: Callable[[str], list[str]] | None = None,
) -> tuple[csr_array, tuple[str, ...]]:
    """How often each term stands in each text, shape (texts, terms), and the terms.

    Args:
        texts: any strings.
        vocabulary: the terms to look for, in the order of the columns; all that occur, sorted, where None.
        pieces: whether pieces of words are terms, where there is no vocabulary to tell.
        read: gives the terms of a text where they are others than those of `terms_in`.
    """
    if vocabulary is not None:
        place: Mapping[str, int] = {term: i for i, term in enumerate(vocabulary)}
        pieces = read is None and bool((groups_of(vocabulary) == 1).any())
        return _counted(texts, place, pieces, read), tuple(vocabulary)
    met: defaultdict[str, int] = defaultdict()
    met.default_factory = met.__len__  # a new term gets the next number
    ids, offsets = array("i"), array("q", [0])
    for text in texts:
        ids.extend([met[term] for term in (terms_in(text, pieces) if read is None else read(text))])
        offsets.append(len(ids))
    terms = tuple(sorted(met))
    rank = np.zeros(len(terms), dtype=np.int64)
    rank[[met[term] for term in terms]] = np.arange(len(terms))
    return _matrix(rank[np.frombuffer(ids, dtype=np.int32)] if ids else rank[:0], offsets, len(terms)), terms


def _counted(
    texts: Sequence[str], place: Mapping[str, int], pieces: bool, read: Callable[[str], list[str]] | None = None
) -> csr_array:
    ids, offsets = array("i"), array("q", [0])
    for text in texts:
        found = terms_in(text, pieces) if read is None else read(text)
        ids.extend([place[term] for term in found if term in place])
        offsets.append(len(ids))
    return _matrix(np.frombuffer(ids, dtype=np.int32) if ids else np.zeros(0, np.int32), offsets, len(place))


def _matrix(ids: Int[np.ndarray, " cells"], offsets: array[int], terms: int) -> csr_array:
    ends = np.frombuffer(offsets, dtype=np.int64)
    counts = csr_array((np.ones(len(ids)), ids, ends), shape=(len(ends) - 1, terms))
    counts.sum_duplicates()
    return counts


def groups_of(terms: Iterable[str]) -> Int64[np.ndarray, " terms"]:
    """The group of each term."""
    return np.fromiter((group_of(term) for term in terms), dtype=np.int64)


def inverse_frequency(rows: Int64[np.ndarray, " terms"] | Sequence[int], texts: int) -> Float32[np.ndarray, " terms"]:
    """ln((1 + texts) / (1 + rows)) + 1 (Sparck Jones 1972, smoothed): what a term in few texts counts for."""
    smoothed = np.log((1 + texts) / (1 + np.asarray(rows, dtype=np.float64))) + 1
    return np.asarray(smoothed, dtype=np.float32)


def weigh(
    counts: csr_array, inverse: Float32[np.ndarray, " terms"], groups: Int64[np.ndarray, " terms"] | None = None
) -> Bags:
    """TF-IDF with (1 + ln count) as term frequency, each text of length 1 (Salton and Buckley 1988).

    Where terms are of several `groups` (`group_of`), each group of a text has the same length, and all together 1.
    """
    counts = counts.sorted_indices()
    weights = (1 + np.log(counts.data)) * inverse[counts.indices]
    texts = counts.shape[0]
    row = np.repeat(np.arange(texts), np.diff(counts.indptr))
    part = row * GROUPS + (0 if groups is None else groups[counts.indices])
    squares = np.bincount(part, weights**2, minlength=texts * GROUPS)
    there = (squares > 0).reshape(texts, GROUPS).sum(axis=1)
    weights = weights / np.sqrt(squares[part] * there[row])
    return Bags(counts.indices.astype(np.int64), weights.astype(np.float32), counts.indptr.astype(np.int64))


def bags_of(
    texts: Sequence[str],
    place: Mapping[str, int],
    inverse: Float32[np.ndarray, " terms"],
    groups: Int64[np.ndarray, " terms"] | None = None,
) -> Bags:
    """The texts in terms of a known vocabulary, whose `groups` are looked up where they are not given; others are left out."""
    if groups is None:
        groups = groups_of(sorted(place, key=place.__getitem__))
    return weigh(_counted(texts, place, bool((groups == 1).any())), inverse, groups)


def narrow(x: csr_array) -> csr_array:
    """With 32-bit indices: liblinear reads no other."""
    return csr_array((x.data, x.indices.astype(np.int32), x.indptr.astype(np.int32)), shape=x.shape)
