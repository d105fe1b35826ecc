"""Which rows an earlier model has learned from, told by what stands in them: row numbers say nothing of another file."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from abi.data.derive import raw_columns
from abi.data.duplicates import row_hashes
from abi.data.order import read_times, table_roles
from abi.data.split import ROLES
from abi.data.table import Tabular
from abi.problem import Problem

_TAUGHT = (ROLES.index("train"), ROLES.index("validation"))


def untaught(
    numbers: Int64[np.ndarray, " rows"], table: Tabular, problem: Problem, earlier: Problem, earlier_table: Tabular, *, followed: bool
) -> Bool[np.ndarray, " rows"]:  # fmt: skip
    """Which of these rows a model of `earlier` has learned nothing from: neither weights nor what validation rows decide.

    Where `table` begins with the rows of `earlier_table`, each is known by its place. Else a row is taken for learned if its
    values stand in one that was. Takes a pass over both tables, 8 bytes a row.

    Args:
        numbers: of rows of `table`.
        table: as it is stored, without derived columns.
        problem: what those rows are read for.
        earlier: the problem of the earlier model.
        earlier_table: its training table, as it is stored.
        followed: it learned from every row there, as a stream is followed.
    """
    names = _shared(table, problem, earlier, earlier_table)
    if not names:
        return np.ones(len(numbers), bool)
    own, theirs = row_hashes(table, names), row_hashes(earlier_table, names)
    if followed:
        learned = np.ones(len(theirs), bool)
    else:
        found = table_roles(earlier.split, len(theirs), functools.partial(read_times, earlier_table))
        learned = np.isin(found, _TAUGHT)
    if _begins(own, theirs):
        known = np.append(learned, np.zeros(len(own) - len(theirs), bool))[numbers]
    else:
        known = np.isin(own[numbers], theirs[learned])
    fair: Bool[np.ndarray, " rows"] = ~known
    return fair


def grown_from(table: Tabular, earlier: Problem, earlier_table: Tabular) -> bool:
    """Whether a table begins with the rows of an earlier model's, in the columns that this model reads. A pass over both."""
    names = _shared(table, earlier, earlier, earlier_table)
    return bool(names) and _begins(row_hashes(table, names), row_hashes(earlier_table, names))


def _begins(own: UInt64[np.ndarray, " rows"], theirs: UInt64[np.ndarray, " earlier"]) -> bool:
    return len(theirs) <= len(own) and np.array_equal(own[: len(theirs)], theirs)


def _shared(table: Tabular, problem: Problem, earlier: Problem, earlier_table: Tabular) -> Sequence[str]:
    """The columns that either model reads, targets among them, as far as both tables have them."""
    used = {name for one in (problem, earlier) for name in (*raw_columns(one.schema), one.schema.target)}
    return sorted(used & set(table.names) & set(earlier_table.names))
