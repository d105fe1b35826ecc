"""The baseline for tables with free text: TF-IDF and a linear model from scikit-learn."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float64, Shaped
from scipy.sparse import csr_array, hstack, vstack

from abi.inputs.terms import count_terms, inverse_frequency, weigh

if TYPE_CHECKING:
    from abi.data.columns import Codes, Columns
    from abi.problem import Task

TERMS: Final = 50_000
"""Most terms of a text, the most frequent ones."""
CATEGORIES: Final = 254
PENALTIES: Final = (1.0, 0.1, 0.01)
"""L2 penalties (1 / C of logistic regression) that a part of the training rows chooses from."""
HELD: Final = 0.15
ITERATIONS: Final = 500


def fit_linear(
    task: Task, classes: int, train: Sequence[Columns], test: Columns, texts: Collection[int], seed: int
) -> tuple[Float64[np.ndarray, "rows ..."], str, int, float]:
    """Logistic or ridge regression on TF-IDF of the texts, scaled numbers and one-hot categories.

    Args:
        task: decides which of the two.
        classes: number of classes of the schema; classes that training never saw get probability 0.
        train: parts of the rows to learn from.
        test: rows to predict.
        texts: which of the features that are not numeric are free text.
        seed: of the rows that choose the penalty.

    Returns:
        Prediction, description, parameters, seconds.
    """
    start = time.perf_counter()
    *parts, test_x = _matrices([*train, test], len(train), texts)
    train_x = csr_array(vstack(parts, format="csr"))
    train_y = np.concatenate([part.target for part in train if part.target is not None])
    penalty = _choose(task, train_x, train_y, seed)
    model = _fit(task, train_x, train_y, penalty)
    seconds = time.perf_counter() - start
    if task == "regression":
        prediction, name = np.asarray(model.predict(test_x)), "ridge regression"
    else:
        name = "logistic regression"
        prediction = np.zeros((test_x.shape[0], classes))
        prediction[:, model.classes_.astype(int)] = model.predict_proba(test_x)
    size = int(np.size(model.coef_) + np.size(model.intercept_))
    return prediction, f"scikit-learn {name} on TF-IDF of words and pairs, L2 penalty {penalty:g}", size, seconds


def _choose(task: Task, x: csr_array, y: Shaped[np.ndarray, " rows"], seed: int) -> float:
    """The penalty with the best score (accuracy, R2) on held rows."""
    rows = np.random.default_rng(seed).permutation(len(y))
    held, rest = rows[: int(HELD * len(y))], rows[int(HELD * len(y)) :]
    if not len(held) or (task != "regression" and len(np.unique(y[rest])) < 2):  # noqa: PLR2004 - nothing to tell apart
        return PENALTIES[0]
    found = [float(_fit(task, x[rest], y[rest], penalty).score(x[held], y[held])) for penalty in PENALTIES]
    return PENALTIES[int(np.argmax(found))]


def _fit(task: Task, x: csr_array, y: Shaped[np.ndarray, " rows"], penalty: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 - scikit-learn takes a second to import
    from sklearn.linear_model import LogisticRegression, Ridge  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if task == "regression":
            return Ridge(alpha=penalty).fit(x, y)
        return LogisticRegression(C=1 / penalty, max_iter=ITERATIONS).fit(x, y)


def _matrices(parts: Sequence[Columns], seen: int, texts: Collection[int]) -> list[csr_array]:
    """Features of each part; what they need is learned from the first `seen` ones."""
    blocks: list[list[csr_array]] = [[csr_array(block)] for block in _scaled([p.numeric for p in parts], seen)]
    for place in range(len(parts[0].categorical)):
        columns = [part.categorical[place] for part in parts]
        made = _tfidf(columns, seen) if place in texts else _one_hot(columns, seen)
        for block, found in zip(blocks, made, strict=True):
            block.append(found)
    return [csr_array(hstack(block, format="csr")) for block in blocks]


def _scaled(parts: Sequence[np.ndarray], seen: int) -> list[np.ndarray]:
    """Mean 0 and deviation 1; a missing or infinite value is the mean, and said to be missing in another column."""
    whole = np.concatenate(parts[:seen])
    there = np.isfinite(whole)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, whole, 0.0).sum(axis=0) / count
    deviation = np.sqrt((np.where(there, whole - mean, 0.0) ** 2).sum(axis=0) / count)
    deviation[deviation == 0] = 1.0
    made = []
    for part in parts:
        lacking = ~np.isfinite(part)
        made.append(np.column_stack([np.where(lacking, 0.0, (part - mean) / deviation), lacking]))
    return made


def _one_hot(columns: Sequence[Codes], seen: int) -> list[csr_array]:
    """A column per frequent value, then one for missing ones."""
    counts: Counter[str] = Counter()
    for column in columns[:seen]:
        found = np.bincount(column.codes[column.codes >= 0], minlength=len(column.values))
        counts.update({v: int(n) for v, n in zip(column.values, found, strict=True) if n})
    place = {value: i for i, (value, _) in enumerate(counts.most_common(CATEGORIES))}
    made = []
    for column in columns:
        known = np.array([*(place.get(v, -1) for v in column.values), len(place)], dtype=np.int64)[column.codes]
        rows = np.flatnonzero(known >= 0)
        made.append(csr_array((np.ones(len(rows)), (rows, known[rows])), shape=(len(known), len(place) + 1)))
    return made


def _tfidf(columns: Sequence[Codes], seen: int) -> list[csr_array]:
    """TF-IDF of the most frequent terms that stand in two texts or more; the last column says that it has none."""
    rows: Counter[str] = Counter()
    for column in columns[:seen]:
        used, times = np.unique(column.codes[column.codes >= 0], return_counts=True)
        counts, terms = count_terms([column.values[i] for i in used])
        found = (counts > 0).astype(np.int64).T @ times if len(terms) else []
        rows.update({term: int(n) for term, n in zip(terms, found, strict=True)})
    vocabulary = [term for term, n in rows.most_common(TERMS) if n > 1]
    texts = sum(len(column.codes) for column in columns[:seen])
    inverse = inverse_frequency([rows[term] for term in vocabulary], texts)
    made = []
    for column in columns:
        used, number = np.unique(column.codes, return_inverse=True)
        bags = weigh(count_terms(["" if i < 0 else column.values[i] for i in used], vocabulary)[0], inverse)
        shape = (len(used), len(vocabulary))
        by_text = csr_array((bags.weights.astype(np.float64), bags.ids, bags.offsets), shape=shape)
        without = csr_array((np.diff(bags.offsets) == 0).astype(np.float64)[:, None])
        made.append(csr_array(hstack([by_text, without], format="csr"))[number])
    return made
