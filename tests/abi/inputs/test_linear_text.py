"""Texts as one number each, fitted by a linear model and cross-fitted for the rows that it was fitted on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import roc_auc_score
from sklearn.svm import LinearSVC

from abi.inputs.linear_text import Counted, fit_texts
from abi.inputs.terms import count_terms, groups_of, inverse_frequency, narrow


def _counted(texts, number=None):
    counts, terms = count_terms(texts)
    rows = np.asarray((counts > 0).sum(axis=0)).ravel()
    where = np.arange(len(texts)) if number is None else np.asarray(number)
    return Counted(csr_array(counts), where, inverse_frequency(rows, len(texts)), groups_of(terms)), terms


def _noise(rows, seed=0, words=60):
    random = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in random.integers(0, words, 6)) for _ in range(rows)], random


def _numbers(column, fitted):
    return np.asarray(column.chosen(fitted.terms).rows() @ fitted.values)


def test_values_are_those_of_a_linear_machine_up_to_scale():
    texts, random = _noise(80)
    target = random.integers(0, 2, 80).astype(float)
    column, terms = _counted(texts)
    (found,) = fit_texts([column], [len(terms)], target, binary=True)
    x = narrow(column.rows().astype(np.float64))
    strict = LinearSVC(C=0.1, random_state=0).fit(x, target).coef_.ravel()
    assert np.corrcoef(strict, found.values)[0, 1] > 0.999  # of noise the least is believed
    assert found.terms.tolist() == list(range(len(terms)))


def test_a_penalty_is_no_larger_than_new_texts_ask_for():
    texts, random = _noise(300)
    target = random.integers(0, 2, 300).astype(float)
    # a word of its own says it in each text; a strict penalty would leave their values small
    texts = [f"{text} k{i % 40}v{int(one)}" for i, (text, one) in enumerate(zip(texts, target, strict=True))]
    column, terms = _counted(texts)
    (found,) = fit_texts([column], [len(terms)], target, binary=True)
    x = narrow(column.rows().astype(np.float64))
    near = [
        np.corrcoef(LinearSVC(C=c, random_state=0).fit(x, target).coef_.ravel(), found.values)[0, 1] for c in (1, 0.1)
    ]
    assert near[0] > 0.9999 > near[1]


def test_rows_get_what_values_of_other_rows_say():
    """Nothing is to be found: the values know their own rows by heart, and the shifted numbers must not."""
    texts, random = _noise(400)
    target = random.integers(0, 2, 400).astype(float)
    column, terms = _counted(texts)
    (found,) = fit_texts([column], [len(terms)], target, binary=True)
    own = _numbers(column, found)
    assert roc_auc_score(target, own) > 0.9
    assert abs(roc_auc_score(target, own + found.shift) - 0.5) < 0.12
    assert found.weight < 0.5


def test_rows_of_the_same_text_do_not_tell_each_other():
    texts, random = _noise(200)
    target = np.tile(random.integers(0, 2, 200), 2).astype(float)
    column, terms = _counted(texts, np.tile(np.arange(200), 2))
    (found,) = fit_texts([column], [len(terms)], target, binary=True)
    assert abs(roc_auc_score(target, _numbers(column, found) + found.shift) - 0.5) < 0.15


def test_what_the_texts_tell_is_found_on_new_rows():
    texts, random = _noise(600)
    target = random.integers(0, 2, 600).astype(float)
    texts = [f"{text} says{int(one)}" for text, one in zip(texts, target, strict=True)]
    column, terms = _counted(texts[:300])
    (found,) = fit_texts([column], [10], target[:300], binary=True)
    assert {"says0", "says1"} <= {terms[i] for i in found.terms}
    new = Counted(count_terms(texts[300:], terms)[0], np.arange(300), column.inverse, column.groups)
    assert roc_auc_score(target[300:], _numbers(new, found)) > 0.99
    assert np.std(_numbers(column, found) + found.shift) == pytest.approx(1.0, abs=1e-4)


def test_terms_that_add_least_get_no_value():
    texts, random = _noise(200)
    target = random.integers(0, 2, 200).astype(float)
    column, terms = _counted(texts)
    (whole,) = fit_texts([column], [len(terms)], target, binary=True)
    (some,) = fit_texts([column], [25], target, binary=True)
    x = column.rows()
    worth = np.abs(whole.values) * np.sqrt(np.asarray(x.multiply(x).mean(axis=0)).ravel())
    assert len(some.terms) == len(some.values) == 25
    assert worth[some.terms].min() >= np.delete(worth, some.terms).max()


def test_a_missing_text_says_nothing():
    texts, random = _noise(50)
    column, terms = _counted(texts, [*range(50), -1, -1])
    (found,) = fit_texts([column], [len(terms)], random.integers(0, 2, 52).astype(float), binary=True)
    assert _numbers(column, found)[-2:].tolist() == found.shift[-2:].tolist() == [0.0, 0.0]


def test_of_several_texts_each_says_what_the_other_does_not():
    texts, random = _noise(400)
    one, two = random.integers(0, 2, (2, 400))
    first, _ = _counted([f"{text} a{i}" for text, i in zip(texts, one, strict=True)])
    second, _ = _counted([f"{text} b{i}" for text, i in zip(texts, two, strict=True)])
    target = (one & two).astype(float)
    fitted = fit_texts([first, second], [30, 30], target, binary=True)
    said = sum(f.weight * _numbers(c, f) for f, c in zip(fitted, (first, second), strict=True)) + fitted[0].bias
    assert roc_auc_score(target, said) > 0.97
    assert fitted[0].bias == fitted[1].bias
    assert min(f.weight for f in fitted) > 0


def test_a_value_is_told_by_ridge_regression():
    texts, random = _noise(500, words=40)
    effect = random.normal(size=40)
    target = np.array([sum(effect[int(w[1:])] for w in text.split()) for text in texts])
    target = (target - target.mean()) / target.std()
    column, terms = _counted(texts)
    (found,) = fit_texts([column], [len(terms)], target, binary=False)
    said = found.weight * (_numbers(column, found) + found.shift) + found.bias
    assert 1 - np.mean((said - target) ** 2) > 0.7


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_target_that_is_the_same_everywhere_gives_nothing(binary, rows):
    column, terms = _counted(_noise(rows)[0])
    (found,) = fit_texts([column], [len(terms)], np.ones(rows), binary=binary)
    assert not found.values.any()
    assert not found.shift.any()
    assert np.isfinite([found.weight, found.bias]).all()


def test_one_row_of_a_class_is_enough_not_to_fail():
    texts, _ = _noise(12)
    column, terms = _counted(texts)
    (found,) = fit_texts([column], [len(terms)], np.eye(12)[0], binary=True)
    assert np.isfinite(found.values).all()
    assert np.isfinite(found.shift).all()
