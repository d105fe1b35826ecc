"""Classes by how often they stand in the training rows: head, middle and tail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int, Shaped

from abi.values import Late, Value

Group = Literal["head", "medium", "tail"]
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True, kw_only=True)
class ClassGroups(Value):
    """A third of the classes each, the most frequent first; of two classes the more frequent one is the head.

    `rows` are the training rows of each class, `head`, `medium` and `tail` numbers of classes, both in the schema's order.
    `outside` is the class that means none of the others, which is in no third.
    """

    rows: tuple[int, ...]
    head: tuple[int, ...]
    medium: tuple[int, ...]
    tail: tuple[int, ...]
    outside: Late[int | None] = None

    @property
    def imbalance(self) -> float:
        """Rows of the most frequent class over those of the rarest."""
        rows = [n for i, n in enumerate(self.rows) if i != self.outside]
        return max(rows) / max(1, min(rows))

    def of(self, group: Group) -> tuple[int, ...]:
        """The classes of that group."""
        found: tuple[int, ...] = getattr(self, group)
        return found


@dataclass(frozen=True, kw_only=True)
class Lean(Value):
    """What tells class number `place`, of few training `rows`, from all others.

    `features` are those that tell most of it, with the share of its entropy, `terms` those of texts that stand in it more than
    elsewhere.
    """

    place: int
    rows: int
    features: tuple[tuple[str, float], ...]
    terms: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Selection(Value):
    """The features that tell class number `place`, of the tail, from all other rows by more than chance, the best first.

    `rows` are its training rows; each feature stands with its share of the class's entropy. `terms` are, of each text with
    some, the best ones of the class.
    """

    place: int
    rows: int
    features: tuple[tuple[str, float], ...]
    terms: Late[tuple[tuple[str, tuple[str, ...]], ...]] = ()


def class_rows(target: Shaped[np.ndarray, " rows"], classes: int) -> Int[np.ndarray, " classes"]:
    """Rows of each class."""
    return np.bincount(target.astype(np.int64), minlength=classes).astype(np.int64)


def groups_of(rows: Sequence[int], outside: int | None = None) -> ClassGroups | None:
    """The groups; None where all classes have as many rows and none is out of scope. Ties go by the schema's order."""
    order = sorted((i for i in range(len(rows)) if i != outside), key=lambda i: (-rows[i], i))
    alike = len(order) < 2 or rows[order[0]] == rows[order[-1]]  # noqa: PLR2004 - frequent and rare
    if alike and outside is None:
        return None
    head: list[int]
    medium: list[int]
    tail: list[int]
    if alike:
        head, medium, tail = [], [], []
    elif len(order) == 2:  # noqa: PLR2004 - nothing is in the middle
        head, medium, tail = order[:1], [], order[1:]
    else:
        head, medium, tail = (part.tolist() for part in np.array_split(np.array(order), len(GROUPS)))
    return ClassGroups(
        rows=tuple(int(n) for n in rows),
        head=tuple(sorted(head)),
        medium=tuple(sorted(medium)),
        tail=tuple(sorted(tail)),
        outside=outside,
    )
