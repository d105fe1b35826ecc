from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from abi.config import Config, load_config
from abi.data.infer import pose
from abi.data.memory import read_memory
from abi.data.neighbours import alikeness, autocorrelation, equality
from abi.data.order import choose_split, falls, first_where
from abi.data.order_checks import INDEPENDENT, LATER, SORTED, TIMES, order_checks, order_sentence
from abi.data.reader import Reader
from abi.data.table import Table
from abi.errors import DataError, UsageError
from abi.problem import Checks, DataFile, Problem, Snapshot, Split

Make = Callable[[str | bytes | Path], Table]
FILE = DataFile(role="train", format="csv", md5="0", sha256="0", size_bytes=0, rows=0)
RANDOM = np.random.default_rng(0)


def config(**data: object) -> Config:
    return load_config(settings={f"data.{name}": value for name, value in data.items()}, ambient=False)


def reader(train: Table, settings: Config, test: Table | None = None, target: str = "y") -> Reader:
    return Reader(pose(Snapshot(files=(FILE,)), target, settings, train, test), train, test)


@pytest.fixture
def hundred(table: Make, tmp_path: Path) -> Callable[..., Table]:
    """A hundred rows, one an hour; `shuffle` gives their places in the file."""

    def make(rows: int = 100, start: str = "2024-01-01", shuffle: bool = False, **more: object) -> Table:
        frame = pd.DataFrame(
            {
                "when": pd.date_range(start, periods=rows, freq="h"),
                "x": np.arange(rows) / 7,
                "y": np.arange(rows) % 2,
            }
        ).assign(**more)
        if shuffle:
            frame = frame.sample(frac=1, random_state=1, ignore_index=True)
        path = tmp_path / f"{len(list(tmp_path.glob('*.parquet')))}.parquet"
        frame.to_parquet(path)
        return table(path) if not (tmp_path / "tables").exists() else _another(path, tmp_path)

    return make


def _another(path: Path, tmp_path: Path) -> Table:
    from abi.data.convert import convert

    return convert(path, tmp_path / "tables", path.stem)


def test_a_column_of_times_that_sorts_the_rows_splits_them_by_order(hundred: Callable[..., Table]) -> None:
    made = reader(hundred(), config(validation=0.25, test=0.2))
    # 100 rows: the last 20 are the test, of the 80 before them the last 20 validation
    assert made.problem.split.order == "when"
    assert made.load("train").row_numbers.tolist() == list(range(60))
    assert made.load("validation").row_numbers.tolist() == list(range(60, 80))
    assert made.load("test").row_numbers.tolist() == list(range(80, 100))
    assert (
        order_sentence(made.problem)
        == "ordered split by 'when': validation from 2024-01-03 12:00 on, test from 2024-01-04 08:00 on"
    )


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_times_in_any_unit_are_said_as_dates(table: Make, unit: int) -> None:
    rows = "".join(f"{(1_704_067_200 + 3600 * i) * unit},{i % 7},{'ab'[i % 2]}\n" for i in range(100))
    made = reader(
        table("when,x,y\n" + rows), config(validation=0.25, test=0.2, order="when", columns={"when": "ignore"})
    )
    assert order_sentence(made.problem).endswith("validation from 2024-01-03 12:00 on, test from 2024-01-04 08:00 on")


def test_numbers_that_order_are_said_whole(table: Make) -> None:
    rows = "".join(f"{2024010100 + i},{i % 7},{'ab'[i % 2]}\n" for i in range(100))
    made = reader(table("when,x,y\n" + rows), config(validation=0.25, test=0.2, order="when"))
    assert order_sentence(made.problem).endswith("validation from 2024010160 on, test from 2024010180 on")


def test_rows_out_of_order_are_taken_in_order_of_time(hundred: Callable[..., Table]) -> None:
    table = hundred(shuffle=True)
    made = reader(table, config(validation=0.25, test=0.2, order="when"))
    x = {role: made.load(role).numeric[:, -1] * 7 for role in ("train", "validation", "test")}
    assert sorted(x["train"].round()) == list(range(60))
    assert sorted(x["validation"].round()) == list(range(60, 80))
    assert sorted(x["test"].round()) == list(range(80, 100))
    checks = {check.name: check for check in order_checks(made)}
    times = pd.Series(table.sample().sort_by("__row").column("when").to_pandas())
    moved = int((times < times.cummax()).sum())
    assert checks[SORTED].observed.startswith(f"{moved} stand after a later one, the first in row ")
    assert (checks[SORTED].severity, checks[SORTED].status, checks[TIMES].status) == ("warning", "failed", "passed")
    # by itself a column that does not sort the rows orders nothing
    assert not choose_split(config(), table, None).order


def test_with_a_test_file_rows_are_for_training_then_validation(hundred: Callable[..., Table]) -> None:
    train, test = hundred(), hundred(40, "2024-01-05 04:00")
    made = reader(train, config(validation=0.25), test)
    assert made.load("validation").row_numbers.tolist() == list(range(75, 100))
    assert len(made.load("test")) == 40
    earlier = hundred(40, "2024-01-03")
    assert not choose_split(config(), train, earlier).order  # its rows lie among those of the training file
    asked = reader(train, config(order="when"), earlier)
    (check,) = (c for c in order_checks(asked) if c.name == LATER)
    assert check.status == "failed"
    assert check.observed == "40 of 40 lie before the last training row"


def test_the_order_of_the_file_and_equal_times(hundred: Callable[..., Table]) -> None:
    table = hundred(day=np.repeat(np.arange(10), 10))
    rows = choose_split(config(order="rows", validation=0.1, test=0.5), table, None)
    assert (rows.order, rows.starts) == ("rows", (45.0, 50.0))
    # rows of one day stay together: half of the way is day 5, 0.45 of it lies in day 4
    assert choose_split(config(order="day", validation=0.1, test=0.5), table, None).starts == (4.0, 5.0)
    assert not choose_split(config(order="day", split="random"), table, None).order


def test_rows_without_a_time_are_left_out_up_to_the_limit(hundred: Callable[..., Table]) -> None:
    holes = pd.date_range("2024-01-01", periods=100, freq="h").to_series(index=range(100))
    holes[[7, 50]] = pd.NaT
    table = hundred(when=holes)
    with pytest.raises(
        DataError,
        match=r"all but 1.0% of the rows of 'when' \(checks.no_time\), got none in 2 of 100, the first in row 8",
    ):
        choose_split(config(order="when"), table, None)
    settings = load_config(settings={"data.order": "when", "checks.no_time": 0.05}, ambient=False)
    made = reader(table, settings)
    used = np.concatenate([made.load(role).row_numbers for role in ("train", "validation", "test")])
    assert sorted(used) == [row for row in range(100) if row not in (7, 50)]
    (check,) = (c for c in order_checks(made) if c.name == TIMES)
    assert check.observed == "2 have none, the first in row 8; they are left out"


def test_an_order_that_cannot_be_used_is_told(hundred: Callable[..., Table]) -> None:
    table = hundred(same=1, word="a b")
    with pytest.raises(UsageError, match=r"data.order as a column of the table or rows, got 'whn'"):
        choose_split(config(order="whn"), table, None)
    with pytest.raises(UsageError, match="times or numbers in column 'word'"):
        choose_split(config(order="word"), table, None)
    with pytest.raises(DataError, match="got one and the same in 100 rows"):
        choose_split(config(order="same"), table, None)
    with pytest.raises(UsageError, match=r"data.order beside data.split ordered"):
        choose_split(config(split="ordered"), hundred(when=0), None)


def test_records_of_random_splits_keep_their_ids() -> None:
    assert Split(seed=1, validation=0.15, test=0.2).to_json() == {"seed": 1, "validation": 0.15, "test": 0.2}


def test_a_sequence_under_a_random_split_is_warned_of(table: Make) -> None:
    walk = np.sin(np.arange(600) / 20)
    frame = pd.DataFrame({"a": walk + RANDOM.normal(0, 0.05, 600), "b": np.cos(np.arange(600) / 30), "y": walk > 0})
    made = reader(table(frame.to_csv(index=False)), config())
    (check,) = order_checks(made)
    assert (check.name, check.status, check.severity) == (INDEPENDENT, "failed", "warning")
    assert "set data.order to the column of times, or to rows" in check.observed
    assert Checks(problem=made.problem, suite_sha256="", results=(check,)).failed("warning")


@pytest.mark.parametrize("kind", ["shuffled", "sorted by the target"])
def test_rows_in_no_sequence_are_not_warned_of(table: Make, kind: str) -> None:
    frame = pd.DataFrame({"a": np.sin(np.arange(600) / 20), "y": np.sin(np.arange(600) / 20) > 0})
    frame = frame.sample(frac=1, random_state=0) if kind == "shuffled" else frame.sort_values(["y", "a"])
    made = reader(table(frame.to_csv(index=False)), config())
    assert not alikeness(made.train, made.problem.schema).leaks


def test_alikeness_by_hand() -> None:
    # a a b b: 2 of 3 neighbours are equal; two rows drawn at random are so with 1/2
    assert equality(np.array([0.0, 0.0, 1.0, 1.0])) == pytest.approx((2 / 3 - 1 / 2) / (1 / 2))
    assert autocorrelation(np.array([1.0, 10.0, 100.0, 1000.0])) == pytest.approx(1.0)
    assert autocorrelation(np.array([1.0, 3.0, 0.0, 4.0])) == pytest.approx(np.corrcoef([2, 3, 1], [3, 1, 4])[0, 1])
    assert falls(np.array([1.0, 3.0, 2.0, np.nan, 3.0])).tolist() == [False, False, True, False, False]
    assert first_where(np.array([False, True, True])) == 2


def test_tables_in_memory_are_split_by_order_too() -> None:
    frame = pd.DataFrame({"t": np.arange(200), "x": RANDOM.normal(size=200), "y": np.arange(200) % 2})
    made = read_memory(frame, "y", config(order="t", validation=0.25))
    assert made.load("validation").row_numbers.tolist() == list(range(150, 200))
    assert isinstance(made.problem, Problem)
