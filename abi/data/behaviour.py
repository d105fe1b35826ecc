"""Users and items over time: what was known of them before each row, with nothing of the row itself or of later ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float64, Int8, Int64

from abi.data import text as spelled
from abi.data.history import Events, History, places, recall, remember, to_days
from abi.data.order import ROWS, times_of
from abi.data.split import ROLES
from abi.errors import UsageError, clip, listed
from abi.problem import Behaviour, Derivation, Schema, ValueSet

if TYPE_CHECKING:
    from abi.data.table import Tabular
    from abi.reading import DataConfig

BLOCKS: Final = {"train": 12, "stream": 200}
"""How often the history of the training rows is brought up to date: as seldom as a static test asks, or nearly always."""
MOST_VALUES: Final = 64
SHARE_WITH_SEPARATOR: Final = 0.2
SHARE_WITH_YEAR: Final = 0.8
_YEAR: Final = r"\((?P<year>(?:1[89]|20)\d\d)\)\s*$"
_YEAR_DAYS: Final = 365.2425

Columns = Mapping[str, pa.Array]


def ask_behaviour(config: DataConfig, table: Tabular, target: str, schema: Schema) -> Behaviour | None:
    """What `data.roles` asks for, held against the table.

    Raises:
        UsageError: a column is not there, there is no order, or the target has no mean.
    """
    asked = config.roles
    if asked is None:
        return None
    sets = asked.sets if asked.sets != "auto" else ()
    lacking = [name for name in (asked.user, asked.item, *sets) if name not in table.names or name == target]
    if lacking:
        msg = f"Expected columns of the table in data.roles, got {listed(lacking)}: it has {listed(table.names)}."
        raise UsageError(msg)
    apart = [name for name in (asked.user, asked.item, config.ordering) if name is not None]
    if len(set(apart)) < len(apart):
        msg = f"Expected different columns of users, items and times in data.roles, got {listed(apart)}: name each by its own column."
        raise UsageError(msg)
    if config.ordering is None or config.split == "random":
        got = "none" if config.ordering is None else "data.split random"
        msg = f"Expected an order beside data.roles, got {got}: name the column of times in data.roles.time, and leave data.split."
        raise UsageError(msg)
    if schema.task == "multiclass":
        msg = f"Expected a target of numbers or two classes beside data.roles, got {len(schema.classes)} classes in {clip(target)!r}: set data.task to regression where they are grades."
        raise UsageError(msg)
    sample = table.sample()
    texts = [
        c.name for c in table.profile.columns if c.type == "string" and c.name not in (target, asked.user, asked.item)
    ]
    named = texts if asked.sets == "auto" else asked.sets
    made = [_set(name, sample[name], asked.separator, asked.sets == "auto") for name in named]
    titles = [
        name for name in texts if _years(sample[name].combine_chunks()).null_count < (1 - SHARE_WITH_YEAR) * len(sample)
    ]
    return Behaviour(
        user=asked.user,
        item=asked.item,
        history=asked.history,
        separator=asked.separator,
        sets=tuple(one for one in made if one is not None),
        titles=titles[0] if titles else "",
    )


def behaviour_columns(
    derivation: Derivation,
    columns: Columns,
    target: Float64[np.ndarray, " rows"],
    roles: Int8[np.ndarray, " rows"],
    history: History | None,
) -> dict[str, pa.Array]:
    """Name -> what was known of the row's user and item, in the order that the rows came in.

    Training rows are parted by time into blocks: a row knows of the blocks before its own, so that it knows as little of
    its own days as a row of the test does. With a `history` every row knows that, and of the other rows only how many of
    its user's come before it (implicit feedback, which has no target).

    Args:
        derivation: what is asked for.
        columns: users, items, times, sets and titles.
        target: values or class codes, NaN where it is not known.
        roles: 0 training, 1 validation, 2 test, -1 none.
        history: what new rows are looked up in.
    """
    asked = derivation.behaviour
    assert asked is not None
    if history is None:
        users, items = (_ids(columns[name]) for name in (asked.user, asked.item))
        events = _events(derivation, columns, target, places(users), places(items))
        found = _as_of(asked, events, roles, users, items)
    else:
        new = (roles == ROLES.index("test")).all()  # else the table begins with its training rows
        after = history.last_day if new else -1.0
        events = _events(derivation, columns, target, history.user_places, history.item_places, after)
        found = recall(history, events)
    unknown = np.isnan(target) & np.isin(roles, (0, 1))  # no history counts these rows either
    user, item = _codes_of(columns[asked.user]), _codes_of(columns[asked.item])
    found["user_seen"] = _seen(user, events.days, (item >= 0) & ~unknown)
    if history is not None:
        found["user_seen"] = found["user_seen"] + found["user_count"]
    return {name: pa.array(values, from_pandas=True) for name, values in _named(asked, found, events).items()}


def history_of(
    derivation: Derivation, columns: Columns, target: Float64[np.ndarray, " rows"], usable: Bool[np.ndarray, " rows"]
) -> History | None:
    """What is known after all these rows: what a model takes along."""
    asked = derivation.behaviour
    assert asked is not None
    users, items = (_ids(columns[name]) for name in (asked.user, asked.item))
    return remember(
        _events(derivation, columns, target, places(users), places(items)).take(np.flatnonzero(usable)), users, items
    )


def user_codes(table: Tabular, user: str, rows: Int64[np.ndarray, " rows"]) -> Int64[np.ndarray, " rows"]:
    """Which user each of these rows of the table is of; -1 is none."""
    parts = [batch.column(0) for _, batch in table.batches([user])]
    found: Int64[np.ndarray, " rows"] = _codes_of(pa.chunked_array(parts).combine_chunks())[rows]
    return found


def _seen(
    users: Int64[np.ndarray, " rows"], days: Float64[np.ndarray, " rows"], counted: Bool[np.ndarray, " rows"]
) -> Float64[np.ndarray, " rows"]:
    """How many of the counted rows are of the same user and earlier; NaN without a user or a time."""
    found = np.full(len(users), np.nan)
    known = np.flatnonzero((users >= 0) & ~np.isnan(days))
    order = known[np.lexsort((days[known], users[known]))]
    before = np.concatenate([[0], np.cumsum(counted[order])[:-1]])  # over all users
    new_user = np.append(True, users[order][1:] != users[order][:-1])
    new_time = new_user | np.append(True, days[order][1:] != days[order][:-1])
    # the first row of its user, and the first of equal times, stand for those behind them
    first, tied = (np.maximum.accumulate(np.where(new, np.arange(len(order)), 0)) for new in (new_user, new_time))
    found[order] = before[tied] - before[first]
    return found


def _as_of(
    asked: Behaviour, events: Events, roles: Int8[np.ndarray, " rows"], users: Sequence[str], items: Sequence[str]
) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for rows, before in _blocks(asked.history, events.days, roles):
        for name, values in recall(remember(events.take(before), users, items), events.take(rows)).items():
            found.setdefault(name, np.full(len(events), np.nan))[rows] = values
    return found


def _blocks(
    history: str, days: Float64[np.ndarray, " rows"], roles: Int8[np.ndarray, " rows"]
) -> list[tuple[Int64[np.ndarray, " block"], Int64[np.ndarray, " before"]]]:
    """(rows, the rows before them that they know of); rows of equal times are in one block. Rows without a time know of none."""
    parts = [np.flatnonzero(roles == role) for role in (0, 1, 2)]
    known = np.flatnonzero(~np.isnan(days))
    static = history == "train"
    train = parts[0] if static else known
    edges = (
        np.unique(np.quantile(days[train], np.linspace(0, 1, BLOCKS[history] + 1)[:-1])) if len(train) else np.empty(0)
    )
    block = np.searchsorted(edges, days, side="right")
    found = []
    for number in np.unique(block[train]):
        rows = train[block[train] == number]
        found.append((rows, train[days[train] < days[rows].min()]))
    if static:
        found.append((parts[1], parts[0]))
        found.append((parts[2], np.concatenate(parts[:2])))
    without = np.flatnonzero(np.isnan(days) | (roles < 0))
    return [*((rows, before) for rows, before in found if len(rows)), (without, without[:0])]


def _named(asked: Behaviour, found: Mapping[str, np.ndarray], events: Events) -> dict[str, np.ndarray]:
    user, item = asked.user, asked.item
    made = {f"{user}@{name}": found[f"user_{name}"] for name in ("count", "seen", "mean", "since")}
    made |= {f"{item}@{name}": found[f"item_{name}"] for name in ("count", "mean", "recent", "since", "age")}
    if asked.sets:
        made[f"{user}@{'+'.join(one.column for one in asked.sets)}"] = found["user_values"]
    if asked.sets or asked.titles:
        made["content@mean"] = found["content"]
    if asked.titles:
        made[f"{asked.titles}@year"] = events.year
        made[f"{asked.titles}@age"] = 1970 + events.days / _YEAR_DAYS - events.year
    place = 0
    for one in asked.sets:
        for name in one.columns():
            made[name] = events.values[:, place].astype(np.float64)
            place += 1
    return made


def _events(
    derivation: Derivation,
    columns: Columns,
    target: Float64[np.ndarray, " rows"],
    users: Mapping[str, int],
    items: Mapping[str, int],
    after: float = -1.0,
) -> Events:
    asked = derivation.behaviour
    assert asked is not None
    rows = len(target)
    values = [_has(columns[one.column], one, asked.separator) for one in asked.sets]
    year = np.full(rows, np.nan)
    if asked.titles:
        year = _years(columns[asked.titles]).fill_null(np.nan).to_numpy(zero_copy_only=False)
    if derivation.order in columns:
        days = to_days(times_of(columns[derivation.order]))
    elif derivation.order == ROWS:  # a row is a day, behind the last one known
        days = after + 1 + np.arange(rows, dtype=np.float64)
    else:
        days = np.full(rows, np.nan)
    return Events(
        user=_codes(columns[asked.user], users),
        item=_codes(columns[asked.item], items),
        days=days,
        target=target,
        values=np.column_stack(values) if values else np.empty((rows, 0), bool),
        year=year,
    )


def _ids(column: pa.Array) -> tuple[str, ...]:
    return tuple(spelled.labels(column).dictionary.to_pylist())


def _codes_of(column: pa.Array) -> Int64[np.ndarray, " rows"]:
    """A number for each distinct value; -1 is none."""
    codes: Int64[np.ndarray, " rows"] = spelled.labels(column).indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return codes.astype(np.int64)


def _codes(column: pa.Array, place: Mapping[str, int]) -> Int64[np.ndarray, " rows"]:
    encoded = spelled.labels(column)
    lookup = np.array([*(place.get(value, -1) for value in encoded.dictionary.to_pylist()), -1], np.int64)
    return np.asarray(lookup[encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)])


def _set(name: str, sample: pa.ChunkedArray, separator: str, only_if: bool) -> ValueSet | None:
    """The values of a set, the most frequent first; None where few rows have several, or there are too many values."""
    texts = spelled.strings(sample.combine_chunks()).drop_null()
    counts: Counter[str] = Counter()
    several = 0
    for text in texts.to_pylist():
        parts = _split(text, separator)
        several += len(parts) > 1
        counts.update(parts)
    if only_if and (several < SHARE_WITH_SEPARATOR * len(sample) or len(counts) > MOST_VALUES):
        return None
    ranked = sorted(counts.items(), key=lambda found: (-found[1], found[0]))
    return ValueSet(column=name, values=tuple(value for value, _ in ranked[:MOST_VALUES]))


def _split(text: str, separator: str) -> set[str]:
    return {part.strip() for part in text.split(separator) if part.strip()}


def _has(column: pa.Array, asked: ValueSet, separator: str) -> Bool[np.ndarray, "rows values"]:
    encoded = spelled.labels(column)
    place = places(asked.values)
    table = np.zeros((len(encoded.dictionary) + 1, len(asked.values)), bool)
    for row, text in enumerate(encoded.dictionary.to_pylist()):
        table[row, [place[part] for part in _split(text, separator) if part in place]] = True
    found: Bool[np.ndarray, "rows values"] = table[
        encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)
    ]
    return found


def _years(column: pa.Array) -> pa.Array:
    """The year in brackets at the end of each text; missing where there is none."""
    found = pc.struct_field(pc.extract_regex(spelled.strings(column), _YEAR), "year")
    return found.cast(pa.float64())
