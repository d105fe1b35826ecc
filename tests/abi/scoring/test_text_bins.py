"""A text as one column among others."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.data.columns import Codes
from abi.scoring.edges import Target, _class_target, _numeric_target
from abi.scoring.text_bins import BUCKETS, TextBins, half_of, text_bins


def _target(classes: int) -> Target:
    return _class_target(classes, Counter(dict.fromkeys(range(classes), 1)))


def _texts(labels: Any, seed: int, tell: float, length: int = 30) -> list[str]:
    """`length` of 2,000 words, all texts distinct; a share `tell` names its class."""
    random = np.random.default_rng(seed)
    words = [[f"w{i}" for i in random.integers(0, 2000, length)] for _ in labels]
    for text, label in zip(words, labels, strict=True):
        if random.random() < tell:
            text[0] = f"class{label}"
    return [" ".join(text) for text in words]


def _purity(bins: TextBins, texts: list[str], labels: Any) -> float:
    """Share of rows in the majority class of their bin."""
    found = bins.codes(Codes(np.arange(len(texts), dtype=np.int32), tuple(texts)))
    return sum(np.bincount(labels[found == b]).max() for b in np.unique(found)) / len(labels)


@pytest.mark.parametrize("classes", [2, 4])
def test_random_labels_are_not_explained_by_the_texts_own_terms(classes: int) -> None:
    labels = np.random.default_rng(0).integers(0, classes, 3000)
    texts = _texts(labels, 1, tell=0.0)
    bins = text_bins(texts, labels, _target(classes))
    # the majority of 16 bins of 190 rows is 0.53 by chance; a model that saw these texts reaches more than 0.9
    assert _purity(bins, texts, labels) < 1 / classes + 0.06


@pytest.mark.parametrize("classes", [2, 4])
def test_words_that_tell_the_class_are_seen(classes: int) -> None:
    labels = np.random.default_rng(0).integers(0, classes, 3000)
    texts = _texts(labels, 1, tell=0.9)
    bins = text_bins(texts, labels, _target(classes))
    assert _purity(bins, texts, labels) > 0.85
    fresh = np.random.default_rng(5).integers(0, classes, 1000)
    assert _purity(bins, _texts(fresh, 6, tell=0.9), fresh) > 0.85


def test_a_number_that_words_tell_is_ordered_by_the_bins() -> None:
    random = np.random.default_rng(2)
    level = random.integers(0, 5, 3000)
    texts = _texts(level, 3, tell=1.0, length=4)
    values = level + 0.01 * random.normal(size=3000)
    target = _numeric_target(values, 16)
    bins = text_bins(texts, target.codes(values), target)
    found = bins.codes(Codes(np.arange(3000, dtype=np.int32), tuple(texts)))
    assert np.corrcoef(found, level)[0, 1] > 0.8
    assert bins.size == BUCKETS + 1


def test_missing_texts_have_the_last_bin() -> None:
    labels = np.arange(200) % 2
    bins = text_bins(_texts(labels, 1, 1.0), labels, _target(2))
    found = bins.codes(Codes(np.array([-1, 0, -1], dtype=np.int32), ("class0 w1",)))
    assert found[0] == found[2] == bins.size - 1
    assert found[1] < bins.size - 1


def test_a_text_is_told_apart_by_the_model_that_did_not_see_it() -> None:
    labels = np.arange(400) % 2
    texts = _texts(labels, 1, 1.0)
    bins = text_bins(texts, labels, _target(2))
    blind = replace(bins, models=(replace(bins.models[0], lift=0 * bins.models[0].lift), bins.models[1]))
    codes = Codes(np.arange(400, dtype=np.int32), tuple(texts))
    changed = bins.codes(codes) != blind.codes(codes)
    halves = np.array([half_of(text) for text in texts])
    assert not changed[halves == 0].any()  # model 0 was made of these
    assert changed[halves == 1].any()


@pytest.mark.parametrize("texts", [[], ["only one"], ["", ""]])
@pytest.mark.parametrize("classes", [2, 3])
def test_hardly_any_text(texts: list[str], classes: int) -> None:
    bins = text_bins(texts, np.zeros(len(texts), np.int64), _target(classes))
    found = bins.codes(Codes(np.array([0, 1, -1], dtype=np.int32), ("new words", "")))
    assert ((found >= 0) & (found < bins.size)).all()
