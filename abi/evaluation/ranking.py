"""How well a user's held-out rows are ranked: NDCG, hit rate, recall and the reciprocal rank of the first relevant one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from jaxtyping import Float, Int64, Shaped

from abi.evaluation.bootstrap import estimate, resamples
from abi.metrics import Prediction
from abi.outcomes import Ranking
from abi.problem import Task

TOP: Final = 10
QUANTILE: Final = 0.75
"""Of graded targets a row counts as relevant from this quantile of the taught rows on, where no threshold is set."""
METRICS: Final = (f"ndcg@{TOP}", f"hit_rate@{TOP}", f"recall@{TOP}", "mrr")


def ranking(
    task: Task,
    target: Shaped[np.ndarray, " rows"],
    users: Int64[np.ndarray, " rows"],
    predictions: Mapping[str, Prediction],
    taught: Shaped[np.ndarray, " taught"],
    asked: float | None,
    number: int,
    seed: int,
) -> Ranking | None:
    """Means over users with a row that is relevant and one that is not; None where no user's rows can be ranked.

    Args:
        task: of numbers or two classes.
        target: of the held-out rows.
        users: which user each of them is of; -1 is none.
        predictions: name -> prediction; "model" is the one whose intervals are given (users resampled).
        taught: the target of the rows that were learned from.
        asked: target from which a row is relevant; for two classes the second one is.
        number: bootstrap resamples.
        seed: of them.
    """
    if task == "multiclass":
        return None
    binary = task == "binary"
    threshold = 1.0 if binary else float(np.quantile(taught, QUANTILE)) if asked is None else asked
    gains = target.astype(np.float64)
    gains = gains if binary else gains - min(taught.min(), gains.min())
    relevant = target >= threshold
    figures = {
        name: per_user(users, gains, relevant, one[:, 1] if binary else one) for name, one in predictions.items()
    }
    rows = len(figures["model"])
    if not rows:
        return None
    draws = _means(figures["model"], number, seed)
    return Ranking(
        threshold=threshold,
        users=rows,
        metrics={m: estimate(float(figures["model"][:, i].mean()), draws[:, i]) for i, m in enumerate(METRICS)},
        controls={
            name: {m: float(found[:, i].mean()) for i, m in enumerate(METRICS)}
            for name, found in figures.items()
            if name != "model"
        },
    )


def _means(figures: Float[np.ndarray, "users metrics"], number: int, seed: int) -> Float[np.ndarray, "draws metrics"]:
    """Means of resampled users, chunk by chunk. A short last chunk is filled up: a product of few rows is added up differently."""
    draws, most = [], 0
    for counts in resamples(len(figures), number, seed):
        most = max(most, len(counts))
        whole = counts if len(counts) == most else np.resize(counts, (most, len(figures)))
        draws.append((whole @ figures)[: len(counts)] / len(figures))
    return np.concatenate(draws)


def per_user(
    users: Int64[np.ndarray, " rows"],
    gains: Float[np.ndarray, " rows"],
    relevant: Shaped[np.ndarray, " rows"],
    predicted: Float[np.ndarray, " rows"],
) -> Float[np.ndarray, "users metrics"]:
    """One line per user with something to rank, in the order of `METRICS`; rows of equal prediction keep their order.

    DCG = sum_r gain_r / log2(r + 1) over the first ten ranks r, NDCG its share of that of the best order.

    References:
        Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 2002 (with linear gains).
    """
    found = []
    order = np.lexsort((-predicted, users))
    ends = np.flatnonzero(np.diff(users[order], append=-2))
    discount = 1 / np.log2(np.arange(TOP) + 2)
    for rows in np.split(order, ends[:-1] + 1):
        hits = relevant[rows]
        if users[rows[0]] < 0 or not hits.any() or hits.all():
            continue
        first = int(np.argmax(hits))
        gained = gains[rows]
        best = np.sort(gained)[::-1][:TOP]
        top = min(TOP, len(rows))
        ndcg = (gained[:TOP] @ discount[:top]) / (best @ discount[:top])
        found.append((ndcg, float(first < TOP), hits[:TOP].sum() / min(hits.sum(), TOP), 1 / (first + 1)))
    return np.array(found, np.float64).reshape(-1, len(METRICS))
