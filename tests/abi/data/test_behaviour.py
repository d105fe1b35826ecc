"""Users and items: nothing of a row's own or later target, the same before and after storing."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from abi.config import Config, load_config
from abi.data import history
from abi.data.behaviour import _blocks, _seen, user_codes
from abi.data.derive import DerivedTable, derive_new, derive_rows, final_history, raw_columns, stored
from abi.data.history import CONTENT_ROWS, ITEM_ROWS, USER_ROWS, Events, History, kept, recall, remember, to_days
from abi.data.memory import read_memory
from abi.data.reader import Reader
from abi.errors import DataError, UsageError

NAN = float("nan")
ROLES = {"user": "who", "item": "what", "time": "when"}
RANDOM = np.random.default_rng(0)


def events(rows: list[tuple[int, int, float, float]], values: int = 0) -> Events:
    user, item, days, target = (np.array(column) for column in zip(*rows, strict=True))
    return Events(
        user,
        item,
        days.astype(float),
        target.astype(float),
        np.ones((len(rows), values), bool),
        np.full(len(rows), NAN),
    )


def ratings(rows: int = 600) -> pd.DataFrame:
    """Users and items with tastes of their own, one rating an hour."""
    who, what = RANDOM.integers(0, 20, rows), RANDOM.integers(0, 30, rows)
    taste, worth = RANDOM.normal(size=20), RANDOM.normal(size=30)
    kinds = np.array(["Drama", "Drama|War", "Comedy|Drama", "Comedy"])
    return pd.DataFrame(
        {
            "who": who,
            "what": what,
            "when": pd.date_range("2020-01-01", periods=rows, freq="h"),
            "kind": kinds[what % 4],
            "title": [f"Film {w} ({1990 + w})" for w in what],
            "stars": 3 + taste[who] + worth[what] + RANDOM.normal(0, 0.3, rows),
        }
    )


def settings(**roles: object) -> Config:
    return load_config(settings={"data.roles": {**ROLES, **roles}}, ambient=False)


def columns_of(reader: Reader, names: list[str]) -> pd.DataFrame:
    table = reader.train
    return pa.Table.from_batches([batch for _, batch in table.batches(names)]).to_pandas()


def test_means_by_hand() -> None:
    # one user, one item, ratings 4 and 2 of it: the mean is 3, and nothing is left of either
    found = remember(events([(0, 0, 1, 4), (0, 0, 2, 2)]), ["u"], ["i"])
    assert found is not None
    assert (found.mean, found.user_mean, found.user_count, found.item_last) == (3.0, (0.0,), (2.0,), (2.0,))
    # two items by two users, balanced: users do not differ, items by 2
    known = remember(events([(0, 0, 1, 4), (1, 0, 2, 4), (0, 1, 3, 2), (1, 1, 4, 2)]), ["u", "v"], ["i", "j"])
    assert known is not None
    asked = recall(known, events([(0, 0, 10, NAN), (-1, 1, 10, NAN), (1, -1, 10, NAN)]))
    # without sets or years all have the same content, which so tells nothing: means are drawn to 0
    assert asked["content"] == pytest.approx([0, 0, 0], abs=1e-6)
    assert asked["item_mean"] == pytest.approx([2 / (2 + ITEM_ROWS), -2 / (2 + ITEM_ROWS), 0], abs=1e-6)
    assert asked["user_mean"] == pytest.approx([0, NAN, 0], nan_ok=True, abs=1e-6)
    assert asked["item_count"].tolist() == [2, 2, 0]
    assert asked["item_since"] == pytest.approx([8, 6, NAN], nan_ok=True)
    assert asked["item_age"] == pytest.approx([9, 7, NAN], nan_ok=True)
    assert asked["user_since"] == pytest.approx([7, NAN, 6], nan_ok=True)


def test_a_user_of_few_rows_is_drawn_to_the_mean() -> None:
    # items tell nothing (each user has one of its own in equal parts); the mean is 3, the first user 1 above it
    rows = [(0, i, i, 4.0) for i in range(5)] + [(1, i, i, 2.0) for i in range(5)]
    found = remember(events(rows), ["u", "v"], list("abcde"))
    assert found is not None
    assert found.user_mean == pytest.approx([5 / (5 + USER_ROWS), -5 / (5 + USER_ROWS)])


def test_content_is_a_ridge_regression() -> None:
    rows = events([(0, i, 1.0, 1.0) for i in range(10)] + [(0, 10 + i, 1.0, 0.0) for i in range(10)])
    with_value = Events(rows.user, rows.item, rows.days, rows.target, np.arange(20)[:, None] < 10, rows.year)
    found = remember(with_value, ["u"], [str(i) for i in range(20)])
    assert found is not None
    # centred: 20 rows of +-1/2, so a gram of 5 and a product of 5 with the target, over 5 + the ridge
    assert found.content[0] == pytest.approx(5 / (5 + CONTENT_ROWS), rel=1e-4)


def test_no_row_knows_its_own_or_a_later_target() -> None:
    frame = ratings()
    names = ["who@mean", "what@mean", "what@recent", "what@count", "content@mean", "who@kind"]
    before = columns_of(read_memory(frame, "stars", settings()), names)
    cut = 300
    changed = frame.assign(stars=np.where(np.arange(600) >= cut, RANDOM.normal(size=600), frame["stars"]))
    after = columns_of(read_memory(changed, "stars", settings()), names)
    pd.testing.assert_frame_equal(after[: cut + 1], before[: cut + 1])
    assert not after[-50:].equals(before[-50:])
    streamed = columns_of(read_memory(changed, "stars", settings(history="stream")), names)
    again = columns_of(read_memory(frame, "stars", settings(history="stream")), names)
    pd.testing.assert_frame_equal(streamed[: cut + 1], again[: cut + 1])


def test_a_static_history_ends_with_the_training_rows_and_a_stream_goes_on() -> None:
    days = np.arange(100.0)
    roles = np.repeat([0, 1, 2], [60, 20, 20]).astype(np.int8)
    static = {int(rows[0]): before for rows, before in _blocks("train", days, roles) if len(rows)}
    assert static[60].tolist() == list(range(60))
    assert static[80].tolist() == list(range(80))
    assert all(len(before) == 0 or days[before].max() < first for first, before in static.items())
    stream = {int(rows[0]): before for rows, before in _blocks("stream", days, roles) if len(rows)}
    assert len(stream) == 100
    assert all(before.tolist() == list(range(first)) for first, before in stream.items())


def test_what_a_model_takes_along_says_the_same_of_new_rows() -> None:
    frame = ratings()
    reader = read_memory(frame[:500], "stars", settings(), frame[500:].reset_index(drop=True))
    problem = reader.problem
    known = final_history(problem, stored(reader.train))
    assert known is not None
    assert isinstance(reader.test, DerivedTable)
    assert History.from_json(known.to_json()) == known
    names = [f.column for f in problem.schema.features if "@" in f.column or "=" in f.column]
    assert {"who@seen", "who@kind", "what@recent", "title@year", "title@age", "kind=Drama", "kind=War"} <= set(names)
    expected = pa.Table.from_batches([b for _, b in reader.test.batches(names)]).to_pandas()
    new = frame[500:].drop(columns="stars")
    rows = derive_rows(problem.schema, new, known)
    assert isinstance(rows, pd.DataFrame)
    pd.testing.assert_frame_equal(rows[names].reset_index(drop=True), expected, check_dtype=False)
    table = derive_new(problem.schema, reader.test.base, known)
    pd.testing.assert_frame_equal(pa.Table.from_batches([b for _, b in table.batches(names)]).to_pandas(), expected)
    assert set(raw_columns(problem.schema)) == {"who", "what", "kind", "title", "when"}
    with pytest.raises(DataError, match="history of users and items"):
        derive_rows(problem.schema, new)


def test_new_rows_without_times_go_on_behind_the_last_known_one() -> None:
    frame = ratings().drop(columns="when")
    asked = load_config(settings={"data.roles": {"user": "who", "item": "what"}, "data.order": "rows"}, ambient=False)
    reader = read_memory(frame[:500], "stars", asked, frame[500:].reset_index(drop=True))
    schema = reader.problem.schema
    known = final_history(reader.problem, stored(reader.train))
    assert isinstance(reader.test, DerivedTable)
    names = [f.column for f in schema.features if "@" in f.column]
    assert {"who@since", "what@since", "what@age", "title@age"} <= set(names)
    expected = pa.Table.from_batches([b for _, b in reader.test.batches(names)]).to_pandas()
    rows = derive_rows(schema, frame[500:].drop(columns="stars"), known)
    assert isinstance(rows, pd.DataFrame)
    pd.testing.assert_frame_equal(rows[names].reset_index(drop=True), expected, check_dtype=False)
    table = derive_new(schema, reader.test.base, known)
    pd.testing.assert_frame_equal(pa.Table.from_batches([b for _, b in table.batches(names)]).to_pandas(), expected)


def test_new_rows_that_lack_the_column_of_times_have_none() -> None:
    frame = ratings()
    reader = read_memory(frame, "stars", settings())
    known = final_history(reader.problem, stored(reader.train))
    made = derive_rows(reader.problem.schema, frame[:10].drop(columns=["stars", "when"]), known)
    for name in ("who@seen", "who@since", "what@since", "what@age", "title@age"):
        assert np.isnan(np.asarray(made[name], float)).all(), name
    assert not np.isnan(np.asarray(made["what@mean"], float)).any()


def test_sets_years_and_ids() -> None:
    frame = ratings()
    reader = read_memory(frame, "stars", settings())
    kinds = {f.name: f.kind for f in reader.problem.schema.features}
    assert kinds["who"] == kinds["what"] == "categorical"
    assert "kind" not in kinds
    made = columns_of(reader, ["kind=Drama", "kind=Comedy", "title@year", "title@age"])
    assert made["kind=Drama"].tolist() == [float("Drama" in kind) for kind in frame["kind"]]
    assert made["title@year"].tolist() == [1990 + what for what in frame["what"]]
    assert made["title@age"].iloc[0] == pytest.approx(2020 - made["title@year"].iloc[0], abs=0.01)
    without = read_memory(frame, "stars", settings(ids=False))
    assert not {"who", "what"} & {f.name for f in without.problem.schema.features}
    assert user_codes(without.train, "who", np.array([3, 5])).tolist() == [
        list(dict.fromkeys(frame["who"])).index(frame["who"][row]) for row in (3, 5)
    ]
    derivation = reader.problem.schema.derivation
    assert derivation is not None
    assert derivation.behaviour is not None
    assert derivation.behaviour.sets[0].values == ("Drama", "Comedy", "War")


def test_rows_seen_are_the_user_s_earlier_ones_whatever_their_order() -> None:
    users = np.array([0, 1, 0, 0, 1, -1, 0, 0])
    days = np.array([1.0, 1, 2, 2, 0, 3, NAN, 9])
    counted = np.array([1, 1, 1, 0, 1, 1, 1, 1], bool)
    expected = np.array([0, 1, 1, 1, 0, NAN, NAN, 2])  # equal times do not know of each other
    assert _seen(users, days, counted) == pytest.approx(expected, nan_ok=True)
    shuffled = RANDOM.permutation(8)
    assert _seen(users[shuffled], days[shuffled], counted[shuffled]) == pytest.approx(expected[shuffled], nan_ok=True)
    assert len(_seen(users[:0], days[:0], counted[:0])) == 0


def test_a_new_user_is_known_by_the_rows_before_in_the_same_table() -> None:
    frame = ratings()
    reader = read_memory(frame, "stars", settings())
    known = final_history(reader.problem, stored(reader.train))
    new = frame[:6].assign(who=[99, 99, 3, 99, 3, 98], what=[1000, 1, 2, 3, 4, 5]).drop(columns="stars")
    new["when"] = pd.date_range("2021-01-01", periods=6, freq="h")
    made = derive_rows(reader.problem.schema, new, known)
    assert known is not None
    before = known.user_count[known.users.index("3")]
    assert made["who@seen"].to_list() == [0, 1, before, 2, before + 1, 0]
    assert made["who@count"].to_list() == [0, 0, before, 0, before, 0]


def test_users_and_items_without_rows_are_not_kept() -> None:
    found = remember(events([(1, 2, 1, 4), (1, 0, 2, 2)], values=2), ["u", "v"], ["i", "j", "k"])
    assert found is not None
    small = kept(found)
    assert (small.users, small.items) == (("v",), ("i", "k"))
    assert len(small.user_values) == 2
    asked = events([(1, 2, 5, NAN)], values=2)
    moved = Events(np.array([0]), np.array([1]), asked.days, asked.target, asked.values, asked.year)
    assert recall(small, moved) == recall(found, asked)
    assert remember(events([(0, 0, 1, NAN)]), ["u"], ["i"]) is None


def test_arrays_of_a_history_are_made_once_and_are_no_part_of_it() -> None:
    rows = events([(1, 2, 1, 4), (0, 0, 2, 2), (1, 0, 3, 2)], values=2)
    found = remember(rows, ["u", "v"], ["i", "j", "k"])
    fresh = remember(rows, ["u", "v"], ["i", "j", "k"])
    assert found is not None
    assert fresh is not None
    recall(found, rows)
    made = (found.arrays, found.user_places, found.item_places, found.value_means)
    recall(found, rows)
    assert all(
        one is other
        for one, other in zip(
            made, (found.arrays, found.user_places, found.item_places, found.value_means), strict=True
        )
    )
    assert found == fresh
    assert found.to_json() == fresh.to_json()
    assert found.arrays["item_last"].tolist() == [3, -1, 1, 0]
    assert found.last_day == 3


def test_a_test_file_may_spell_ids_and_times_otherwise() -> None:
    frame = ratings()
    train, test = frame[:500], frame[500:].reset_index(drop=True)
    plain = read_memory(train, "stars", settings(), test)
    names = [f.column for f in plain.problem.schema.features if "@" in f.column]
    for other in (test.assign(who=test["who"].astype(str)), test.assign(when=test["when"].astype(str))):
        again = read_memory(train, "stars", settings(), other)
        for reader in (plain, again):
            assert reader.test is not None
        found, expected = (
            pa.Table.from_batches([b for _, b in r.test.batches(names)]).to_pandas()  # type: ignore[union-attr]
            for r in (again, plain)
        )
        pd.testing.assert_frame_equal(found, expected)
    new = read_memory(train, "stars", settings(), test.assign(who=[f"new{i}" for i in range(100)]))
    assert new.test is not None
    seen = pa.Table.from_batches([b for _, b in new.test.batches(["who@seen", "who@count"])]).to_pandas()
    assert not seen.to_numpy().any()
    with pytest.raises(DataError, match=r"rows of 'when' of the test file .*, got none in 100 of 100"):
        read_memory(train, "stars", settings(), test.assign(when="soon"))


def test_numbers_of_any_unit_are_the_same_times() -> None:
    seconds = np.array([NAN, 0.0, -86_400.0, 1.6e9])
    for unit in (1, 1e3, 1e6, 1e9):
        times = np.where(np.abs(seconds) < 1e9, seconds, seconds * unit)
        assert to_days(times) == pytest.approx(seconds / 86_400, nan_ok=True)


def test_new_rows_whose_times_cannot_be_read_are_refused() -> None:
    frame = ratings()
    reader = read_memory(frame, "stars", settings())
    known = final_history(reader.problem, stored(reader.train))
    new = frame[:10].drop(columns="stars")
    with pytest.raises(
        DataError, match=r"Expected times in column 'when', got 'soon' .* 10 of 10 rows, the first in row 1"
    ):
        derive_rows(reader.problem.schema, new.assign(when="soon"), known)
    made = derive_rows(reader.problem.schema, new.assign(when=None), known)
    assert np.isnan(np.asarray(made["who@seen"], float)).all()


def test_settings_that_cannot_be_used_are_told() -> None:
    frame = ratings(200)
    with pytest.raises(UsageError, match=r"different columns of users, items and times in data.roles, got 'what'"):
        read_memory(frame, "stars", settings(user="what"))
    with pytest.raises(UsageError, match=r"Expected one order, got data.order 'rows' and data.roles.time 'when'"):
        load_config(settings={"data.roles": ROLES, "data.order": "rows"}, ambient=False)
    with pytest.raises(UsageError, match=r"columns of the table in data.roles, got 'whom'"):
        read_memory(frame, "stars", settings(user="whom"))
    with pytest.raises(UsageError, match=r"an order beside data.roles, got none"):
        read_memory(frame, "stars", settings(time=None))
    graded = frame.assign(stars=frame["stars"].round().astype(int).clip(1, 4))
    with pytest.raises(UsageError, match=r"set data.task to regression"):
        read_memory(graded, "stars", settings())


def _rated(rows: int, values: int) -> Events:
    random = np.random.default_rng(0)
    return Events(
        random.integers(0, 50, rows),
        random.integers(0, 80, rows),
        random.uniform(0, 1000, rows),
        random.normal(size=rows),
        random.random((rows, values)) < 0.2,
        random.integers(1950, 2020, rows).astype(float),
    )


def test_memory_does_not_grow_with_the_values_of_sets() -> None:
    seen = _rated(100_000, 60)
    named = [str(i) for i in range(80)]
    tracemalloc.start()
    found = remember(seen, named[:50], named)
    recall(found, seen)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400 * len(seen)  # the values alone take 480 bytes a row as numbers


def test_what_content_tells_is_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, named = _rated(500, 4), [str(i) for i in range(80)]
    whole = remember(seen, named[:50], named)
    monkeypatch.setattr(history, "BLOCK_CELLS", 14 * 7)
    parts = remember(seen, named[:50], named)
    assert whole is not None
    assert parts is not None
    assert parts.content == pytest.approx(whole.content, rel=1e-5)
    assert parts.content_mean[:4] == pytest.approx(seen.values.mean(axis=0), rel=1e-6)
    np.testing.assert_allclose(recall(parts, seen)["content"], recall(whole, seen)["content"], rtol=1e-4, atol=1e-6)
