"""What is to be known of the order of the rows: checks beside those of the expectation suite."""

from __future__ import annotations

import datetime
from typing import Final, Literal

import numpy as np

from abi.data.history import DAY_S, to_days
from abi.data.neighbours import alikeness
from abi.data.order import ROWS, falls, first_where, read_times
from abi.data.reader import Reader
from abi.data.table import Tabular
from abi.problem import Check, Problem

INDEPENDENT: Final = "neighbouring rows"
TIMES: Final = "rows with a time"
SORTED: Final = "rows in order of time"
LONG_AGO: Final = 1e8
"""Seconds: smaller values in a column that is no feature are no dates since 1973, but numbers."""
LATER: Final = "test rows after the training rows"


def order_checks(reader: Reader) -> tuple[Check, ...]:
    """Of a random split whether it leaks, of an ordered one what had to be sorted or left out, and what the test file is."""
    split = reader.problem.split
    if not split.order:
        return (_independent(reader),)
    found = []
    if split.order != ROWS:
        found += _times(reader.train, split.order, "")
        if reader.test is not None:
            found += [*_times(reader.test, split.order, " (test file)"), _later(reader.train, reader.test, split.order)]
    return tuple(found)


def order_sentence(problem: Problem) -> str:
    """Which rows are for what, where that goes by order."""
    split = problem.split
    numbered = any(f.column == split.order and f.part is None for f in problem.schema.features)
    dated = not numbered and max(split.starts) > LONG_AGO
    names = ("validation", "test")
    parts = [
        f"{name} from {_when(start, split.order, dated)} on" for name, start in zip(names, split.starts, strict=False)
    ]
    return (
        f"ordered split by {'the order of the rows' if split.order == ROWS else repr(split.order)}: {', '.join(parts)}"
    )


def _when(start: float, order: str, dated: bool) -> str:
    if order == ROWS:
        return f"row {int(start) + 1}"
    if not dated:
        return f"{start:.15g}"
    seconds = float(to_days(np.array([start]))[0]) * DAY_S
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M")


def _independent(reader: Reader) -> Check:
    found = alikeness(reader.train, reader.problem.schema)
    seen = f"target {found.target:.2f}, features {found.features:.2f} (0 is chance)"
    leak = f"{seen}: a random split puts held-out rows beside rows that were trained on; set data.order to the column of times, or to rows for the file's order"
    return _check(INDEPENDENT, None, not found.leaks, "no more alike than any two", leak if found.leaks else seen)


def _times(table: Tabular, order: str, where: str) -> list[Check]:
    times = read_times(table, order)
    missing, early = np.isnan(times), falls(times)
    left_out = f"{int(missing.sum())} have none, the first in row {first_where(missing)}; they are left out"
    moved = f"{int(early.sum())} stand after a later one, the first in row {first_where(early)}; they are taken in order of time"
    found = [
        _check(
            TIMES + where,
            order,
            not missing.any(),
            "a time in every row",
            left_out if missing.any() else "all have one",
        )
    ]
    found.append(
        _check(
            SORTED + where, order, not early.any(), "no row before an earlier one", moved if early.any() else "all are"
        )
    )
    return found


def _later(train: Tabular, test: Tabular, order: str) -> Check:
    last, early = np.nanmax(read_times(train, order)), read_times(test, order)
    before = early < last
    seen = f"{int(before.sum())} of {len(before)} lie before the last training row" if before.any() else "all do"
    return _check(LATER, order, not before.any(), "every test row as late as the last training row", seen)


def _check(name: str, column: str | None, holds: bool, expected: str, observed: str) -> Check:
    status: Literal["passed", "failed"] = "passed" if holds else "failed"
    return Check(name=name, column=column, severity="warning", status=status, expected=expected, observed=observed)
