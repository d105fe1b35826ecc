"""Which held-out rows an earlier model learned from: by their place in a longer file, by their values in any other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from abi.config import load_config
from abi.data.memory import read_memory
from abi.data.reader import Reader
from abi.data.split import roles
from abi.data.taught import untaught

ROWS = 400


def table(first: int, rows: int = ROWS) -> pd.DataFrame:
    """Rows numbered from `first` of one endless table."""
    place = np.arange(first, first + rows)
    random = np.random.default_rng(0).normal(size=2 * ROWS)
    return pd.DataFrame({"x": random[place], "k": place % 7, "y": np.where(random[place] > 0, "up", "down")})


def read(frame: pd.DataFrame, seed: int = 0, test: pd.DataFrame | None = None) -> Reader:
    made = read_memory(frame, frame.columns[-1], load_config(settings={"seed": seed}, ambient=False), test)
    share = 0.2 if test is None else 0.0
    return replace(made, problem=replace(made.problem, split=replace(made.problem.split, test=share)))


def learned(reader: Reader) -> np.ndarray:
    """Which rows of its table it learns from."""
    return np.isin(roles(np.arange(reader.train.rows), reader.problem.split), (0, 1))


def fair(later: Reader, earlier: Reader, *, followed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    numbers = later.load("test").row_numbers
    held = later.train if later.test is None else later.test
    found = untaught(numbers, held, later.problem, earlier.problem, earlier.train, followed=followed)
    return numbers, found


def test_of_the_same_rows_another_seed_holds_out_what_was_learned() -> None:
    before = read(table(0))
    numbers, found = fair(read(table(0), seed=1), before)
    np.testing.assert_array_equal(found, ~learned(before)[numbers])
    assert 0 < found.sum() < len(found) / 2


def test_appended_rows_are_new_and_the_others_keep_their_roles() -> None:
    numbers, found = fair(read(table(0, ROWS + 100)), read(table(0)))
    assert found.all()
    assert (numbers >= ROWS).any()


@pytest.mark.parametrize("moved", [50, 399])
def test_in_a_window_that_has_moved_rows_are_known_by_their_values(moved: int) -> None:
    before = read(table(0))
    numbers, found = fair(read(table(moved)), before)
    old = numbers + moved
    known = np.append(learned(before), np.zeros(moved, bool))[old]
    np.testing.assert_array_equal(found, ~known)


def test_rows_of_a_test_file_are_looked_for_among_those_of_the_training_file() -> None:
    before = read(table(0))
    _, found = fair(read(table(300), test=table(0, 50)), before)
    np.testing.assert_array_equal(found, ~learned(before)[:50])


def test_a_stream_is_learned_from_to_its_end() -> None:
    _, found = fair(read(table(0), seed=1), read(table(0)), followed=True)
    assert not found.any()


def test_a_column_that_came_since_is_no_way_to_tell_rows_apart() -> None:
    before = read(table(0))
    wider = table(0)
    wider.insert(0, "new", np.arange(ROWS) * 0.5)
    numbers, found = fair(read(wider, seed=1), before)
    np.testing.assert_array_equal(found, ~learned(before)[numbers])


def test_tables_that_share_no_column_share_no_row() -> None:
    other = table(0).rename(columns={"x": "a", "k": "b", "y": "c"})
    _, found = fair(read(other), read(table(0)))
    assert found.all()


def test_a_row_without_a_time_was_not_learned() -> None:
    before = read(table(0))
    split = replace(before.problem.split, order="x", starts=(0.5, 1.0))
    ordered = replace(before, problem=replace(before.problem, split=split))
    held = table(0)["x"].to_numpy() >= 1.0
    numbers, found = fair(read(table(0), seed=1), ordered)
    np.testing.assert_array_equal(found, held[numbers])
