"""The baseline for tables with free text: TF-IDF and a linear model from scikit-learn."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Bool, Float64, Shaped
from scipy.sparse import csr_array, hstack, vstack

from abi.inputs.terms import count_terms, inverse_frequency, narrow, weigh
from abi.metrics import HALF, at_half
from abi.training.thresholds import common_threshold, micro_f1

if TYPE_CHECKING:
    from abi.data.columns import Codes, Columns
    from abi.problem import Task

TERMS: Final = 50_000
"""Most terms of a text, the most frequent ones."""
CATEGORIES: Final = 254
PENALTIES: Final = (1.0, 0.1, 0.01)
"""L2 penalties (1 / C of logistic regression) that a part of the training rows chooses from."""
HELD: Final = 0.15
ITERATIONS: Final = 100
"""Newton's steps at most; ten are usual."""

Encoder = Callable[["Columns"], csr_array]


def fit_linear(
    task: Task, classes: int, train: Sequence[Columns], texts: Collection[int], seed: int
) -> tuple[Callable[[Columns], Float64[np.ndarray, "rows ..."]], str, int, float]:
    """Logistic or ridge regression on TF-IDF of the texts, scaled numbers and one-hot categories.

    Of several labels per row, a logistic regression for each, one against the rest.

    Args:
        task: decides which of the two.
        classes: number of classes of the schema; classes that training never saw get probability 0.
        train: parts of the rows to learn from.
        texts: which of the features that are not numeric are free text.
        seed: of the rows that choose the penalty.

    Returns:
        What predicts (labels with thresholds at one half), description, parameters, seconds.
    """
    start = time.perf_counter()
    encode = _encoder(train, texts)
    train_x = csr_array(vstack([encode(part) for part in train], format="csr"))
    train_y = np.concatenate([part.target for part in train if part.target is not None])
    what = " on TF-IDF of words and pairs" if texts else ""
    if task == "multilabel":
        penalty, threshold = _choose_labels(train_x, train_y, seed)
        models = _fit_labels(train_x, train_y, penalty)
        size = sum(1 if isinstance(m, float) else int(np.size(m.coef_) + np.size(m.intercept_)) for m in models)
        name = f"scikit-learn logistic regression per label{what}, L2 penalty {penalty:g}, threshold {threshold:.2f}"
        seconds = time.perf_counter() - start
        return lambda rows: at_half(_chances(models, encode(rows)), np.full(classes, threshold)), name, size, seconds
    if task != "regression":
        train_x = narrow(train_x).astype(np.float32)
    penalty, start_at = _choose(task, train_x, train_y, seed)
    model = _fit(task, train_x, train_y, penalty, start_at)
    seconds = time.perf_counter() - start
    name = "ridge regression" if task == "regression" else "logistic regression"

    def predict(rows: Columns) -> Float64[np.ndarray, "rows ..."]:
        x = encode(rows)
        if task == "regression":
            return np.asarray(model.predict(x))
        chances = np.zeros((x.shape[0], classes))
        chances[:, model.classes_.astype(int)] = model.predict_proba(x)
        return chances

    size = int(np.size(model.coef_) + np.size(model.intercept_))
    return predict, f"scikit-learn {name}{what}, L2 penalty {penalty:g}", size, seconds


def _choose(task: Task, x: csr_array, y: Shaped[np.ndarray, " rows"], seed: int) -> tuple[float, Any]:
    """The penalty with the best score (accuracy, R2) on held rows, and what was fitted with it to the others.

    Each fit begins where that of the next higher penalty ended (warm starts: Friedman et al. 2010).
    """
    rows = np.random.default_rng(seed).permutation(len(y))
    held, rest = rows[: int(HELD * len(y))], rows[int(HELD * len(y)) :]
    if not len(held) or (task != "regression" and len(np.unique(y[rest])) < 2):  # noqa: PLR2004 - nothing to tell apart
        return PENALTIES[0], None
    models: list[Any] = []
    for penalty in PENALTIES:
        models.append(_fit(task, x[rest], y[rest], penalty, models[-1] if models else None))
    best = int(np.argmax([model.score(x[held], y[held]) for model in models]))
    return PENALTIES[best], models[best]


def _fit(task: Task, x: csr_array, y: Shaped[np.ndarray, " rows"], penalty: float, start: Any = None) -> Any:
    """The model of these rows; `start` is one of the same features that it begins at, where their classes are the same."""
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 - scikit-learn takes a second to import
    from sklearn.linear_model import LogisticRegression, Ridge  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if task == "regression":
            return Ridge(alpha=penalty).fit(x, y)
        model = LogisticRegression(C=1 / penalty, max_iter=ITERATIONS, warm_start=True, solver="newton-cg")
        if start is not None and np.array_equal(start.classes_, np.unique(y)):
            model.coef_, model.intercept_ = start.coef_, start.intercept_
        return model.fit(x, y)


def _choose_labels(x: csr_array, y: Bool[np.ndarray, "rows labels"], seed: int) -> tuple[float, float]:
    """The penalty and the threshold of all labels with the best micro F1 on held rows."""
    rows = np.random.default_rng(seed).permutation(len(y))
    held, rest = rows[: int(HELD * len(y))], rows[int(HELD * len(y)) :]
    if not len(held):
        return PENALTIES[0], HALF
    best = (-1.0, PENALTIES[0], HALF)
    for penalty in PENALTIES:
        chance = _chances(_fit_labels(x[rest], y[rest], penalty), x[held])
        threshold = common_threshold(y[held], chance)
        found = micro_f1(y[held], chance >= threshold)
        if found > best[0]:
            best = (found, penalty, threshold)
    return best[1], best[2]


def _fit_labels(x: csr_array, y: Bool[np.ndarray, "rows labels"], penalty: float) -> list[Any]:
    """A model for each label; the label's share where all rows have it or none has."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - scikit-learn takes a second to import

    x = narrow(x)
    return [
        LogisticRegression(C=1 / penalty, max_iter=ITERATIONS, solver="liblinear").fit(x, own)
        if own.any() and not own.all()
        else float(own.mean())
        for own in y.T
    ]


def _chances(models: Sequence[Any], x: csr_array) -> Float64[np.ndarray, "rows labels"]:
    rows = x.shape[0]
    return np.column_stack([np.full(rows, m) if isinstance(m, float) else m.predict_proba(x)[:, 1] for m in models])


def _encoder(train: Sequence[Columns], texts: Collection[int]) -> Encoder:
    """What makes the features of any rows; it is learned from the training rows."""
    makers: list[Encoder] = [_scaled([p.numeric for p in train])]
    for place in range(len(train[0].categorical)):
        columns = [part.categorical[place] for part in train]
        makers.append(_of_column(place, (_tfidf if place in texts else _one_hot)(columns)))
    return lambda rows: csr_array(hstack([make(rows) for make in makers], format="csr"))


def _of_column(place: int, make: Callable[[Codes], csr_array]) -> Encoder:
    return lambda rows: make(rows.categorical[place])


def _scaled(train: Sequence[np.ndarray]) -> Encoder:
    """Mean 0 and deviation 1; a missing or infinite value is the mean, and said to be missing in another column."""
    whole = np.concatenate(train)
    there = np.isfinite(whole)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, whole, 0.0).sum(axis=0) / count
    deviation = np.sqrt((np.where(there, whole - mean, 0.0) ** 2).sum(axis=0) / count)
    deviation[deviation == 0] = 1.0

    def make(rows: Columns) -> csr_array:
        lacking = ~np.isfinite(rows.numeric)
        return csr_array(np.column_stack([np.where(lacking, 0.0, (rows.numeric - mean) / deviation), lacking]))

    return make


def _one_hot(train: Sequence[Codes]) -> Callable[[Codes], csr_array]:
    """A column per frequent value, then one for missing ones."""
    counts: Counter[str] = Counter()
    for column in train:
        found = np.bincount(column.codes[column.codes >= 0], minlength=len(column.values))
        counts.update({v: int(n) for v, n in zip(column.values, found, strict=True) if n})
    place = {value: i for i, (value, _) in enumerate(counts.most_common(CATEGORIES))}

    def make(column: Codes) -> csr_array:
        known = np.array([*(place.get(v, -1) for v in column.values), len(place)], dtype=np.int64)[column.codes]
        rows = np.flatnonzero(known >= 0)
        return csr_array((np.ones(len(rows)), (rows, known[rows])), shape=(len(known), len(place) + 1))

    return make


def _tfidf(train: Sequence[Codes]) -> Callable[[Codes], csr_array]:
    """TF-IDF of the most frequent terms that stand in two texts or more; the last column says that it has none."""
    rows: Counter[str] = Counter()
    for column in train:
        used, times = np.unique(column.codes[column.codes >= 0], return_counts=True)
        counts, terms = count_terms([column.values[i] for i in used])
        found = (counts > 0).astype(np.int64).T @ times if len(terms) else []
        rows.update({term: int(n) for term, n in zip(terms, found, strict=True)})
    vocabulary = [term for term, n in rows.most_common(TERMS) if n > 1]
    texts = sum(len(column.codes) for column in train)
    inverse = inverse_frequency([rows[term] for term in vocabulary], texts)

    def make(column: Codes) -> csr_array:
        used, number = np.unique(column.codes, return_inverse=True)
        bags = weigh(count_terms(["" if i < 0 else column.values[i] for i in used], vocabulary)[0], inverse)
        shape = (len(used), len(vocabulary))
        by_text = csr_array((bags.weights.astype(np.float64), bags.ids, bags.offsets), shape=shape)
        without = csr_array((np.diff(bags.offsets) == 0).astype(np.float64)[:, None])
        return csr_array(hstack([by_text, without], format="csr")[number])

    return make
