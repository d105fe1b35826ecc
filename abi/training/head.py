"""A linear head on an encoder's vectors: what they tell of the target, by a convex problem with one answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from abi.families.artifact import joined
from abi.families.losses import members_loss
from abi.training.objective import row_losses

if TYPE_CHECKING:
    from abi.problem import Task

PENALTIES: Final = (1e-2, 1e-3, 1e-4, 1e-5)
"""Of the squared weights, beside the mean loss; the one with the least validation loss is taken."""
MOST_ROWS: Final = 20_000
"""Of more rows than this so many, evenly spread, fit the head."""
_STEPS: Final = 60


@dataclass(frozen=True)
class Known:
    """Rows by vectors that are known: of each row its vector's number, and its target.

    Attributes:
        vectors: one per text, shape (texts, dimensions).
        number: of each row's text, shape (rows,).
        target: as `abi.training.objective.training_target` gives it, shape (rows, ...).
    """

    vectors: Float[Tensor, "texts dimensions"]
    number: Shaped[Tensor, " rows"]
    target: Shaped[Tensor, "rows ..."]


def head_losses(head: nn.Linear, known: Known, task: Task) -> Float[Tensor, " rows"]:
    """Loss of each row."""
    with torch.no_grad():
        out = head(known.vectors.to(head.weight.device)).cpu()[known.number].unsqueeze(1)
        return row_losses(joined(out, task), known.target, task)


def fit_head(train: Known, validation: Known, task: Task, outputs: int) -> tuple[nn.Linear, Float[Tensor, " rows"]]:
    """(the head with the least validation loss among the penalties, each row's): logistic or ridge regression by L-BFGS.

    Args:
        train: rows that it is fitted on.
        validation: rows that choose its penalty.
        task: decides the loss.
        outputs: numbers that it says of a row.
    """
    some = slice(None, None, -(-len(train.number) // MOST_ROWS))
    x, y = train.vectors[train.number[some]], train.target[some]
    head = nn.Linear(x.shape[1], outputs)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    tried = []
    for penalty in PENALTIES:  # from the strongest on, each from where the one before ended
        _descend(head, x, y, task, penalty)
        state = {name: p.clone() for name, p in head.state_dict().items()}
        tried.append((head_losses(head, validation, task), state))
    losses, best = min(tried, key=lambda one: float(one[0].mean()))
    head.load_state_dict(best)
    return head, losses


def _descend(
    head: nn.Linear,
    x: Float[Tensor, "rows dimensions"],
    y: Shaped[Tensor, "rows ..."],
    task: Task,
    penalty: float,
) -> None:
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=_STEPS, history_size=10, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = members_loss(head(x).unsqueeze(1), y, task) + penalty / 2 * head.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
