"""Terms of free text: words, punctuation and pairs of neighbours, weighted by TF-IDF."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from jaxtyping import Float32, Int64
from scipy.sparse import csr_array

PATTERN: Final = r"(?u)\w+(?:'\w+)?|[^\w\s]"
PAIRS: Final = (1, 2)
_WORDS: Final = re.compile(PATTERN).findall


@dataclass(frozen=True)
class Bags:
    """Texts as bags of terms in CSR form: text i has `ids[offsets[i]:offsets[i+1]]`, increasing, with their weights."""

    ids: Int64[np.ndarray, " cells"]
    weights: Float32[np.ndarray, " cells"]
    offsets: Int64[np.ndarray, " ends"]


def count_terms(texts: Sequence[str], vocabulary: Sequence[str] | None = None) -> tuple[csr_array, tuple[str, ...]]:
    """How often each term stands in each text, shape (texts, terms), and the terms.

    Args:
        texts: any strings.
        vocabulary: the terms to look for, in the order of the columns; all that occur, sorted, where None.
    """
    from sklearn.feature_extraction.text import (  # noqa: PLC0415 - scikit-learn takes a second to import
        CountVectorizer,
    )

    counter = CountVectorizer(
        token_pattern=PATTERN, ngram_range=PAIRS, vocabulary=None if vocabulary is None else list(vocabulary)
    )
    if vocabulary is not None:
        if not len(vocabulary):
            return csr_array((len(texts), 0)), ()
        return csr_array(counter.transform(texts)), tuple(vocabulary)
    try:
        found = csr_array(counter.fit_transform(texts))
    except ValueError:  # no text has a term
        return csr_array((len(texts), 0)), ()
    return found, tuple(str(term) for term in counter.get_feature_names_out())


def inverse_frequency(rows: Int64[np.ndarray, " terms"] | Sequence[int], texts: int) -> Float32[np.ndarray, " terms"]:
    """ln((1 + texts) / (1 + rows)) + 1 (Sparck Jones 1972, smoothed): what a term in few texts counts for."""
    smoothed = np.log((1 + texts) / (1 + np.asarray(rows, dtype=np.float64))) + 1
    return np.asarray(smoothed, dtype=np.float32)


def weigh(counts: csr_array, inverse: Float32[np.ndarray, " terms"]) -> Bags:
    """TF-IDF with (1 + ln count) as term frequency, each text of length 1 (Salton and Buckley 1988)."""
    counts = counts.sorted_indices()
    weights = (1 + np.log(counts.data)) * inverse[counts.indices]
    lengths = np.diff(counts.indptr)
    squares = np.add.reduceat(np.append(weights**2, 0.0), counts.indptr[:-1]) * (lengths > 0)
    norms = np.sqrt(np.where(squares > 0, squares, 1.0))
    weights = weights / np.repeat(norms, lengths)
    return Bags(counts.indices.astype(np.int64), weights.astype(np.float32), counts.indptr.astype(np.int64))


def bags_of(texts: Sequence[str], place: Mapping[str, int], inverse: Float32[np.ndarray, " terms"]) -> Bags:
    """The texts in terms of a known vocabulary; unknown terms are left out.

    The same as `count_terms` and `weigh`, without scikit-learn, which would read the whole vocabulary for each row.
    """
    ids: list[int] = []
    offsets = [0]
    for text in texts:
        words = _WORDS(text.lower())
        ids += [place[term] for term in (*words, *map(" ".join, pairwise(words))) if term in place]
        offsets.append(len(ids))
    counts = csr_array((np.ones(len(ids)), ids, offsets), shape=(len(texts), len(place)), dtype=np.float64)
    counts.sum_duplicates()
    return weigh(counts, inverse)
