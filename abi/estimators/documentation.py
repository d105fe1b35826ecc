"""What the documentation of both estimators says alike, so that `help` shows each its whole text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

C = TypeVar("C", bound=type)

SHARED: Final = """{summary}

X may be a pandas or polars frame, an Arrow table or an array: numbers, categories, booleans and dates, missing
values and, when predicting, categories that were never seen.

Args:
    family: "network", "trees", "blend" of both, or "auto": what validation rows favour.
    parameters: most trainable parameters, such as 200_000 or "200k"; None is no limit, here and below.
    memory: most memory that training may add, such as "2GiB".
    train_time: most seconds for one training, such as 60 or "1min".
    latency: most seconds to predict one row, such as "2ms".
    rounds: most trainings; after each, attention moves to what the model showed, and the best one is kept.
    validation: share of the rows that decisions (temperature, early stopping, rounds) are made on; with the setting
        "training.refit" the kept model is trained once more on all rows.
    metric: {metric}.
    random_state: of the split and of training; equal numbers give equal models.
    n_jobs: processor threads, -1 for all; None is one for small tables and torch's own number for others.
    settings: any other setting of ``abi.yaml`` by its dotted name, such as {{"attention.floor": 0.1}}.
    verbose: write one line per step.

Attributes:
    {attributes}attention_: weight of each feature in the trained model; on the simplex.
    scores_: what each feature is worth by itself, with terms and intervals.
    plan_: the envelope divided: `capacity`, `execution`, `predicted` cost, `reasons`.
    rounds_: every training, with its history and measured cost.
    trained_: the best one of them, which is kept.
    model_: its model.
    feature_importances_: attention per column of X.
    n_iter_: epochs of the best round.
    n_features_in_: columns of X.
    feature_names_in_: their names, where X has text names.
"""


def documented(metric: str, **attributes: str) -> Callable[[C], C]:
    """Class decorator: the docstring, which is a summary, becomes the whole text.

    Args:
        metric: what the parameter `metric` takes.
        attributes: those that this estimator alone has, and what they are.
    """
    own = "".join(f"{name}: {text}.\n    " for name, text in attributes.items())

    def complete(estimator: C) -> C:
        estimator.__doc__ = SHARED.format(summary=estimator.__doc__, metric=metric, attributes=own)
        return estimator

    return complete
