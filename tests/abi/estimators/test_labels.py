"""Any number of labels per row: tables of zeros and ones, frames with named labels, sparse ones."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.metrics import f1_score

import abi
from abi.estimators.labels import Labels

ROWS = 400
NAMES = ["cold", "never", "warm", "wet"]


def classifier(**parameters: Any) -> abi.AttentionBalancedClassifier:
    small = {"training.members": 4, "training.block_width": 32, "training.epochs": 30}
    return abi.AttentionBalancedClassifier(rounds=1, family="network", settings=small, **parameters)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame({"heat": random.standard_normal(ROWS), "rain": random.standard_normal(ROWS)})


@pytest.fixture(scope="module")
def labels(rows: pd.DataFrame) -> pd.DataFrame:
    heat, rain = rows["heat"], rows["rain"]
    return pd.DataFrame({"cold": heat < -0.3, "never": False, "warm": heat > 0.3, "wet": rain > 0}).astype(np.int8)


@pytest.fixture(scope="module")
def fitted(rows: pd.DataFrame, labels: pd.DataFrame) -> abi.AttentionBalancedClassifier:
    return classifier().fit(rows[:300], labels[:300])


def test_each_label_is_predicted_under_its_name(
    fitted: abi.AttentionBalancedClassifier, rows: pd.DataFrame, labels: pd.DataFrame
) -> None:
    assert fitted.multilabel_
    assert list(fitted.classes_) == NAMES
    chance, chosen = fitted.predict_proba(rows[300:]), fitted.predict(rows[300:])
    assert chance.shape == chosen.shape == (100, 4)
    assert chosen.dtype == np.int8
    assert np.array_equal(chosen[:, [0, 2, 3]], chance[:, [0, 2, 3]] >= fitted.model_.thresholds)
    assert f1_score(labels[300:], chosen, average="micro") > 0.9
    assert (chance[:, 1] > 0).all()  # no row had it
    assert chance[:, 1].max() < 1e-6
    assert fitted.score(rows[300:], labels[300:]) > 0.7


@pytest.mark.parametrize("form", [np.asarray, lambda y: y.to_numpy().tolist(), scipy.sparse.csr_matrix])
def test_the_form_of_the_labels_makes_no_difference(
    form: Any, fitted: abi.AttentionBalancedClassifier, rows: pd.DataFrame, labels: pd.DataFrame
) -> None:
    model = classifier().fit(rows[:300], form(labels[:300]))
    assert list(model.classes_) == [0, 1, 2, 3]
    assert np.allclose(model.predict_proba(rows[300:]), fitted.predict_proba(rows[300:]), atol=1e-6)


def test_labels_are_taken_from_the_models_thresholds_on() -> None:
    labels = Labels(np.array(NAMES), np.dtype(np.int8))
    chance = np.array([[0.3, 0.6, 0.1], [0.2, 0.5, 0.9]])
    chosen = labels.taken(chance, ("0", "2", "3"), np.array([0.25, 0.55, 0.1]))
    assert chosen.tolist() == [[1, 0, 1, 1], [0, 0, 0, 1]]


def test_a_pickle_predicts_the_same(fitted: abi.AttentionBalancedClassifier, rows: pd.DataFrame) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(rows), fitted.predict_proba(rows))


def test_fitted_to_classes_again_it_has_classes(
    fitted: abi.AttentionBalancedClassifier, rows: pd.DataFrame, labels: pd.DataFrame
) -> None:
    model = classifier().fit(rows, labels).fit(rows, labels["wet"])
    assert not model.multilabel_
    assert list(model.classes_) == [0, 1]
    assert model.predict(rows).shape == (ROWS,)


@pytest.mark.parametrize(("value", "got"), [(0, "none"), (1, "every label")])
def test_labels_that_do_not_differ_are_refused(value: int, got: str, rows: pd.DataFrame) -> None:
    same = scipy.sparse.csr_matrix(np.full((ROWS, 3), value))
    with pytest.raises(ValueError, match=f"differ in their labels in y, got {got} in all 400"):
        classifier().fit(rows, same)


def test_a_row_too_few_is_told(rows: pd.DataFrame, labels: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[400, 399\]"):
        classifier().fit(rows, labels[:399])


def test_a_metric_of_classes_is_refused(rows: pd.DataFrame, labels: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="roc_auc"):
        classifier(metric="roc_auc").fit(rows, labels)


@pytest.mark.parametrize(("no", "yes", "said"), [(-1, 1, "'-1'"), (1, 2, "'2'"), (0, 2, "'2'")])
def test_other_values_than_zeros_and_ones_are_refused(
    rows: pd.DataFrame, labels: pd.DataFrame, no: int, yes: int, said: str
) -> None:
    with pytest.raises(
        ValueError, match=f"Expected zeros and ones in y, a column for each label, got .*{said}".replace("'", ".?")
    ):
        classifier().fit(rows, labels.replace({0: no, 1: yes}))
