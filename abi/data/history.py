"""What is known of users and items at a moment: from the rows before it, and looked up for the rows after it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64, Int64

from abi.values import Floats, Value

TURNS: Final = 4
USER_ROWS: Final = 3.0
ITEM_ROWS: Final = 6.0
SET_ROWS: Final = 10.0
"""So many rows of the mean stand beside those that are there: means of few rows are drawn to what is expected."""
CONTENT_ROWS: Final = 20.0
HALF_LIFE_DAYS: Final = 500.0
DAY_S: Final = 86_400.0
BLOCK_CELLS: Final = 2**20
"""Numbers of rows' content that are held at a time."""
_LAST_SECOND: Final = 1e11
YEARS: Final = (1940, 1960, 1970, 1980, 1990, 2000, 2005, 2010, 2015, 2020)

FIGURES: Final = {
    "user_": ("count", "mean", "last"),
    "item_": ("count", "sum", "last", "first"),
    "recent_": ("count", "sum"),
}
"""What is looked up of a user and of an item."""

Numbers = Float64[np.ndarray, " rows"]


@dataclass(frozen=True)
class Events:
    """Rows of users and items: codes (-1 is unknown), days, the target, which values of sets they have, the year of the title.

    `target` is NaN where it is not known.
    """

    user: Int64[np.ndarray, " rows"]
    item: Int64[np.ndarray, " rows"]
    days: Numbers
    target: Numbers
    values: Bool[np.ndarray, "rows values"]
    year: Numbers

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.user)

    def take(self, index: np.ndarray) -> Events:
        """Some of the rows."""
        parts = (self.user, self.item, self.days, self.target, self.values, self.year)
        return Events(*(part[index] for part in parts))

    def blocks(self) -> Iterator[slice]:
        """The rows, so many at a time that their content can be held as numbers."""
        step = max(1, BLOCK_CELLS // (self.values.shape[1] + len(YEARS)))
        return (slice(start, start + step) for start in range(0, len(self), step))

    def content(self) -> Iterator[tuple[slice, Float64[np.ndarray, "block columns"]]]:
        """What of a row is not its ids, some rows at a time: the values of its sets, and its year on a broken line."""
        for here in self.blocks():
            year = np.where(np.isnan(self.year[here]), YEARS[len(YEARS) // 2], self.year[here])
            line = [np.clip((year - first) / 10, 0, 1) for first in YEARS]
            yield here, np.column_stack([self.values[here].astype(np.float64), *line])


@dataclass(frozen=True, kw_only=True)
class History(Value):
    """Means and counts of users and items up to a moment, in single precision. Days are counted since 1970.

    With m the mean of the target, a user's mean is u in y = m + u + i, an item's i; both are drawn to what is expected of
    few rows: users to 0, items to what their sets and year have (`content`, a ridge regression).
    """

    users: tuple[str, ...]
    items: tuple[str, ...]
    mean: float
    user_count: Floats
    user_mean: Floats
    user_last: Floats
    user_values: Floats
    item_count: Floats
    item_sum: Floats
    recent_count: Floats
    recent_sum: Floats
    item_last: Floats
    item_first: Floats
    content: Floats
    content_mean: Floats

    @functools.cached_property
    def user_places(self) -> Mapping[str, int]:
        """User -> code."""
        return places(self.users)

    @functools.cached_property
    def item_places(self) -> Mapping[str, int]:
        """Item -> code."""
        return places(self.items)

    @functools.cached_property
    def arrays(self) -> Mapping[str, Numbers]:
        """The figures of users and items by code, with a 0 behind them for codes of -1."""
        return {f"{p}{n}": np.append(getattr(self, f"{p}{n}"), 0.0) for p, names in FIGURES.items() for n in names}

    @functools.cached_property
    def value_means(self) -> Float64[np.ndarray, "users values"]:
        """Each user's means of values."""
        return np.array(self.user_values, np.float64).reshape(len(self.users), -1)

    @functools.cached_property
    def last_day(self) -> float:
        """The latest day of a row; -1 of none."""
        return float(max(self.arrays["user_last"].max(initial=-1.0), self.arrays["item_last"].max(initial=-1.0)))


def remember(events: Events, users: Sequence[str], items: Sequence[str]) -> History | None:
    """The history of these rows, those without a target left out; None where no row is left.

    Takes time linear in the rows, and a hundred bytes or two of each, however many values their sets have.
    """
    known = ~np.isnan(events.target) & (events.user >= 0) & (events.item >= 0) & ~np.isnan(events.days)
    rows = events if known.all() else events.take(known)
    if not len(rows):
        return None
    size_u, size_i = len(users), len(items)
    mean = float(rows.target.mean())
    centred = rows.target - mean
    user_count, item_count = np.bincount(rows.user, minlength=size_u), np.bincount(rows.item, minlength=size_i)
    user_mean, item_mean = np.zeros(size_u), np.zeros(size_i)
    for _ in range(TURNS):  # alternating: each side's mean of what the other leaves
        user_mean = np.bincount(rows.user, centred - item_mean[rows.item], size_u) / (user_count + USER_ROWS)
        item_mean = np.bincount(rows.item, centred - user_mean[rows.user], size_i) / (item_count + ITEM_ROWS)
    left = centred - user_mean[rows.user]
    content, content_mean = _ridge(rows, left)
    age = rows.days.max() - rows.days
    weight = 0.5 ** (age / HALF_LIFE_DAYS)
    own = left - item_mean[rows.item]
    kinds = rows.values.shape[1]
    by_value = [
        np.bincount(rows.user, own * rows.values[:, k], size_u)
        / (np.bincount(rows.user, rows.values[:, k], size_u) + SET_ROWS)
        for k in range(kinds)
    ]
    user_last, item_last, item_first = (
        np.full(size, at) for size, at in ((size_u, -1.0), (size_i, -1.0), (size_i, np.inf))
    )
    np.maximum.at(user_last, rows.user, rows.days)
    np.maximum.at(item_last, rows.item, rows.days)
    np.minimum.at(item_first, rows.item, rows.days)
    return History(
        users=tuple(users),
        items=tuple(items),
        mean=_single(np.array([mean]))[0],
        user_count=_single(user_count),
        user_mean=_single(user_mean),
        user_last=_single(user_last),
        user_values=_single(np.column_stack(by_value) if by_value else np.empty((size_u, 0))),
        item_count=_single(item_count),
        item_sum=_single(np.bincount(rows.item, left, size_i)),
        recent_count=_single(np.bincount(rows.item, weight, size_i)),
        recent_sum=_single(np.bincount(rows.item, left * weight, size_i)),
        item_last=_single(item_last),
        item_first=_single(np.where(np.isinf(item_first), -1.0, item_first)),
        content=_single(content),
        content_mean=_single(content_mean),
    )


def recall(history: History | None, rows: Events) -> dict[str, Numbers]:
    """What the history says of each row: `user_count`, `user_mean`, .. (see the keys); of no history only zero counts."""
    none = np.full(len(rows), np.nan)
    if history is None:
        named = (
            "user_mean",
            "user_since",
            "user_values",
            "item_mean",
            "item_recent",
            "item_since",
            "item_age",
            "content",
        )
        return {"user_count": np.zeros(len(rows)), "item_count": np.zeros(len(rows)), **dict.fromkeys(named, none)}
    user, item = _looking(history, "user_", rows.user), _looking(history, "item_", rows.item)
    recent = _looking(history, "recent_", rows.item)
    known, seen = user["count"] > 0, item["count"] > 0
    intercept = -float(np.array(history.content_mean) @ np.array(history.content))
    weights, expected = np.array(history.content), np.empty(len(rows))
    for here, content in rows.content():
        expected[here] = content @ weights + intercept
    mean = (item["sum"] + ITEM_ROWS * expected) / (item["count"] + ITEM_ROWS)
    return {
        "user_count": user["count"],
        "user_mean": np.where(known, user["mean"], np.nan),
        "user_since": np.where(known, rows.days - user["last"], np.nan),
        "user_values": _of_values(history, rows, known),
        "item_count": item["count"],
        "item_mean": mean,
        "item_recent": (recent["sum"] + 2 * mean) / (recent["count"] + 2),
        "item_since": np.where(seen, rows.days - item["last"], np.nan),
        "item_age": np.where(seen, rows.days - item["first"], np.nan),
        "content": expected,
    }


def kept(history: History) -> History:
    """Without users and items that have no rows."""
    users, items = np.array(history.user_count) > 0, np.array(history.item_count) > 0
    values = np.array(history.user_values).reshape(len(history.users), -1)[users]
    chosen: dict[str, object] = {"user_values": tuple(values.ravel().tolist())}
    for name in ("users", "user_count", "user_mean", "user_last"):
        chosen[name] = tuple(v for v, there in zip(getattr(history, name), users, strict=True) if there)
    for name in ("items", "item_count", "item_sum", "recent_count", "recent_sum", "item_last", "item_first"):
        chosen[name] = tuple(v for v, there in zip(getattr(history, name), items, strict=True) if there)
    return History(**{**{name: getattr(history, name) for name in history.__dataclass_fields__}, **chosen})


def places(known: Sequence[str]) -> Mapping[str, int]:
    """Id -> code."""
    return {name: place for place, name in enumerate(known)}


def to_days(times: Numbers) -> Numbers:
    """Days since 1970 of seconds; numbers too large for seconds (past the year 5138) are milli-, micro- or nanoseconds."""
    found = times.copy()
    for _ in range(3):
        found = np.where(np.abs(found) >= _LAST_SECOND, found / 1000, found)
    return found / DAY_S


def _of_values(history: History, rows: Events, known: Bool[np.ndarray, " rows"]) -> Numbers:
    """The user's mean over the values that the row has."""
    table, found = history.value_means, np.full(len(rows), np.nan)
    for here in rows.blocks():
        values = rows.values[here]
        count = values.sum(axis=1)
        told = known[here] & (count > 0)
        found[here][told] = (table[rows.user[here][told]] * values[told]).sum(axis=1) / count[told]
    return found


def _looking(history: History, prefix: str, codes: Int64[np.ndarray, " rows"]) -> dict[str, Numbers]:
    """Each figure of that side for the rows; 0 for codes of -1."""
    return {name: history.arrays[prefix + name][codes] for name in FIGURES[prefix]}


def _ridge(rows: Events, target: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Weights and the columns' means of a ridge regression on the rows' content; the target is about 0."""
    middle = sum(content.sum(axis=0) for _, content in rows.content()) / len(rows)
    gram, told = np.diag(np.full(len(middle), CONTENT_ROWS)), np.zeros(len(middle))
    for here, content in rows.content():
        centred = content - middle
        gram += centred.T @ centred
        told += centred.T @ target[here]
    return np.linalg.solve(gram, told), middle


def _single(values: np.ndarray) -> tuple[float, ...]:
    """As they are stored, so that what is looked up is the same before and after storing."""
    return tuple(values.astype(np.float32).astype(np.float64).ravel().tolist())
