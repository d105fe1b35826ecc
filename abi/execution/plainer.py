"""Of configurations that a prediction cannot tell apart, the plainest: what is not there cannot go wrong.

Predicted times are some percents off, so a difference of one percent in the objective is none. Within it one device goes
before DDP and DDP before FSDP; then none before activation checkpointing; then float32 before tf32 before bfloat16. Fewer
devices are not preferred by themselves.
"""

from __future__ import annotations

from typing import Final, get_args

import numpy as np
from jaxtyping import Bool, Int

from abi.devices.device import Arithmetic
from abi.execution.columns import Columns, Numbers
from abi.execution.costing import Question
from abi.execution.goodput import loss, steady

ALIKE: Final = 1.01
"""A plan cannot tell what is less than this ratio apart."""

Rows = Int[np.ndarray, " rows"]


def chosen(question: Question, columns: Columns, order: Rows) -> int:
    """The plainest row of those within 1% of the best.

    Args:
        question: What was asked.
        columns: All configurations.
        order: Rows that may be chosen, best first; at least one.
    """
    losses = losses_of(question, columns)[order]
    alike = order[losses <= ALIKE * losses[0]]
    return int(alike[np.lexsort(_machinery(question, columns)[:, alike])[0]])


def losses_of(question: Question, columns: Columns) -> Numbers:
    """What is to be small, without the last bits."""
    return steady(loss(columns, question.objective))


def within_reach(question: Question, columns: Columns, best: int) -> Bool[np.ndarray, " configurations"]:
    """Rows that are better than the chosen one, or worse by less than a plan can tell."""
    losses = losses_of(question, columns)
    reach: Bool[np.ndarray, " configurations"] = losses <= ALIKE * losses[best]
    return reach


def could_win(question: Question, columns: Columns, best: int, order: Rows) -> Bool[np.ndarray, " configurations"]:
    """Rows that would be chosen before the chosen one, if they fitted: clearly better, or alike and plainer.

    Args:
        question: What was asked.
        columns: All configurations.
        best: The chosen row.
        order: All rows, best first.
    """
    losses, place = losses_of(question, columns), np.argsort(order)
    before = np.argsort(np.lexsort([place, *_machinery(question, columns)]))
    could: Bool[np.ndarray, " configurations"] = (ALIKE * losses < losses[best]) | (
        within_reach(question, columns, best) & (before < before[best])
    )
    return could


def too_little(question: Question, columns: Columns, best: int, row: int) -> bool:
    """Whether a row is better than the chosen one by less than a plan can tell."""
    losses = losses_of(question, columns)
    return bool(losses[row] < losses[best] <= ALIKE * losses[row])


def _machinery(question: Question, columns: Columns) -> Int[np.ndarray, "kinds configurations"]:
    """Parallelism, checkpointing and arithmetic as numbers that rise with what has to work; the last row counts first."""
    names, number = get_args(Arithmetic), columns.footprint.astype(int)
    arithmetic = np.array([names.index(footprint.arithmetic) for footprint in question.footprints])
    checkpointing = np.array([int(footprint.checkpointing) for footprint in question.footprints])
    return np.stack([arithmetic[number], checkpointing[number], columns.parallel.astype(int)])
