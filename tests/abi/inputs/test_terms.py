"""TF-IDF by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abi.inputs.terms import PIECES, _kept_pieces, bags_of, count_terms, inverse_frequency, pieces_of, weigh


def test_terms_are_words_marks_and_pairs_of_neighbours() -> None:
    counts, terms = count_terms(["Don't stop, don't"])
    assert terms == (",", ", don't", "don't", "don't stop", "stop", "stop ,")
    assert counts.toarray().tolist() == [[1, 1, 2, 1, 1, 1]]


def test_a_known_vocabulary_gives_the_order_and_unknown_terms_are_left_out() -> None:
    counts, terms = count_terms(["b a b", "c"], ["b", "a", "a b"])
    assert terms == ("b", "a", "a b")
    assert counts.toarray().tolist() == [[2, 1, 1], [0, 0, 0]]


def test_pieces_of_long_words_are_not_kept() -> None:
    before = _kept_pieces.cache_info().currsize
    long = "abcdefghij" * 200
    assert len(pieces_of(long)) == sum(len(long) + 2 - n + 1 for n in PIECES)
    assert _kept_pieces.cache_info().currsize == before


@pytest.mark.parametrize("texts", [[], [""], ["", " \n "]])
def test_texts_without_terms_have_none(texts: list[str]) -> None:
    counts, terms = count_terms(texts)
    assert (counts.shape, terms) == ((len(texts), 0), ())
    assert count_terms(texts, ["a"])[0].shape == (len(texts), 1)
    assert count_terms(["a", *texts], [])[0].shape == (len(texts) + 1, 0)


def test_inverse_frequency_by_hand() -> None:
    # ln(4 / 4) + 1, ln(4 / 2) + 1, ln 4 + 1
    np.testing.assert_allclose(inverse_frequency([3, 1, 0], 3), [1, 1 + math.log(2), 1 + math.log(4)], rtol=1e-6)


def test_weights_by_hand() -> None:
    # text 0: a twice, b once, with inverse frequencies 1 and 2: (1 + ln 2, 2) over its length; text 2: b alone
    counts, _ = count_terms(["a b a", "", "b"], ["a", "b"])
    bags = weigh(counts, np.array([1.0, 2.0], dtype=np.float32))
    length = math.hypot(1 + math.log(2), 2)
    assert bags.ids.tolist() == [0, 1, 1]
    assert bags.offsets.tolist() == [0, 2, 2, 3]
    np.testing.assert_allclose(bags.weights, [(1 + math.log(2)) / length, 2 / length, 1], rtol=1e-6)


def test_it_is_the_same_as_scikit_learns() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["the cat sat", "the cat sat on the mat", "", "a dog; a dog!", "cat"]
    counts, terms = count_terms(texts)
    inverse = inverse_frequency(np.asarray((counts > 0).sum(axis=0)).ravel(), len(texts))
    bags = weigh(counts, inverse)
    plain = TfidfVectorizer(token_pattern=r"(?u)\w+(?:'\w+)?|[^\w\s]", ngram_range=(1, 2), sublinear_tf=True)
    expected = plain.fit_transform(texts).toarray()
    assert tuple(plain.get_feature_names_out()) == terms
    dense = np.zeros(expected.shape)
    dense[np.repeat(np.arange(len(texts)), np.diff(bags.offsets)), bags.ids] = bags.weights
    np.testing.assert_allclose(dense, expected, atol=1e-6)


@pytest.mark.parametrize("texts", [[], [""], ["unknown words"], ["", "b", ""]])
def test_bags_of_texts_with_few_known_terms_or_none(texts: list[str]) -> None:
    bags = bags_of(texts, {"b": 0, "a": 1}, np.ones(2, dtype=np.float32))
    assert bags.offsets.shape == (len(texts) + 1,)
    assert bags.ids.tolist() == [0] * texts.count("b")
    np.testing.assert_array_equal(bags.weights, 1.0)


def test_a_lexicon_of_no_terms_gives_empty_bags() -> None:
    bags = bags_of(["a b", "c"], {}, np.empty(0, dtype=np.float32))
    assert bags.offsets.tolist() == [0, 0, 0]


@given(st.lists(st.text(st.sampled_from("aB ,'é\n"), max_size=12), max_size=6))
def test_bags_are_those_of_counting_with_scikit_learn(texts: list[str]) -> None:
    known = ["b", "a", "a b", "é", ", a", "b'a", "'"]
    inverse = np.linspace(1, 2, len(known), dtype=np.float32)
    ours = bags_of(texts, {term: i for i, term in enumerate(known)}, inverse)
    theirs = weigh(count_terms(texts, known)[0], inverse)
    for name in ("ids", "weights", "offsets"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
