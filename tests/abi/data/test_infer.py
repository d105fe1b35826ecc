from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from abi.data.infer import infer_schema
from abi.data.table import Table
from abi.errors import AbiError, DataError, UsageError
from abi.problem import Schema
from abi.reading import DataConfig

Make = Callable[[str | Path], Table]
ROWS = 400


@pytest.fixture
def infer(table: Make, tmp_path: Path) -> Callable[..., Schema]:
    def run(cells: dict[str, list[object]], /, target: str = "y", **settings: object) -> Schema:
        rows = len(next(iter(cells.values())))
        frame = pd.DataFrame({**cells, **({} if "y" in cells else {"y": [i % 2 for i in range(rows)]})}, dtype=object)
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.csv"
        frame.to_csv(path, index=False)
        return infer_schema(table(path), target, DataConfig.model_validate(settings))

    return run


Infer = Callable[..., Schema]
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("x", [i / 7 for i in range(ROWS)], "numeric"),
        ("x", [i % 5 for i in range(ROWS)], "numeric"),
        ("x", [i % 2 + 1 for i in range(ROWS)], "boolean"),
        ("x", [(i % 2) / 4 for i in range(ROWS)], "boolean"),
        ("x", ["yes" if i % 3 else "no" for i in range(ROWS)], "boolean"),
        ("x", ["A" if i % 3 else None for i in range(ROWS)], "boolean"),
        ("x", [i % 3 == 0 for i in range(ROWS)], "boolean"),
        ("x", [f"c{i % 3}" for i in range(ROWS)], "categorical"),
        ("x", [f"c{i % 300}" for i in range(ROWS)], "categorical"),
        ("x", [f"0{i % 30}" for i in range(ROWS)], "categorical"),
        ("x", [f"{'abc' if i % 20 == 0 else i}" for i in range(ROWS)], "categorical"),
        ("x", [f"the same four words {i % 5}" for i in range(ROWS)], "categorical"),
        ("price", RANDOM.permutation(10_000_000)[:ROWS].tolist(), "numeric"),
        ("width", RANDOM.permutation(100_000)[:ROWS].tolist(), "numeric"),
        ("when", [f"2024-01-01 {i % 24:02}:00:00" for i in range(ROWS)], "numeric"),
        # set aside
        ("customerID", RANDOM.permutation(10_000_000)[:ROWS].tolist(), "id"),
        ("order_id", RANDOM.permutation(10_000_000)[:ROWS].tolist(), "id"),
        ("Unnamed: 0", list(range(ROWS)), "id"),
        ("x", list(range(ROWS)), "id"),
        ("x", list(range(1, ROWS + 1)), "id"),
        ("x", RANDOM.permutation(ROWS * 5 // 4)[:ROWS].tolist(), "id"),
        ("x", [f"u{i}" for i in range(ROWS)], "id"),
        ("x", [f"word {i} and three more words {i * i}" for i in range(ROWS)], "text"),
        ("x", [f"a short title{' !' * (i % 7)} {'so ' * (i // 7)}" for i in range(ROWS)], "text"),
        ("x", [f"{1 + i % 28:02} Jan {1000 + i}" for i in (j * 3 // 4 for j in range(ROWS))], "categorical"),
        ("x", [f"AB {i % 97} {1000 + i}" for i in range(ROWS)], "id"),
        ("x", [7] * ROWS, "constant"),
        ("x", [None] * ROWS, "empty"),
    ],
)
def test_kinds(infer: Infer, name: str, values: list[object], kind: str) -> None:
    schema = infer({name: values, "other": [i % 9 for i in range(ROWS)]})
    kinds = {feature.column: feature.kind for feature in schema.features} | {
        one.column: one.kind for one in schema.set_aside
    }
    assert kinds == {name: kind, "other": "numeric"}


def test_an_identifier_needs_many_rows_and_a_measured_name_is_kept(infer: Infer) -> None:
    assert [f.kind for f in infer({"x": [f"u{i}" for i in range(60)]}).features] == ["categorical"]
    # "paid" and "grid" end in id only as letters
    values = RANDOM.permutation(10_000_000)[:ROWS].tolist()
    assert [f.kind for f in infer({"paid": values, "grid": values}).features] == ["numeric", "numeric"]


def test_dates_become_the_parts_that_vary(infer: Infer) -> None:
    days = [f"2024-{i % 12 + 1:02}-{i % 28 + 1:02}" for i in range(84)]
    features = infer({"when": days}).features
    assert [(f.name, f.column, f.part, f.distinct) for f in features] == [
        ("when:time", "when", "time", 84),
        ("when:month", "when", "month", 12),
        ("when:weekday", "when", "weekday", 7),
    ]


def test_date_text_in_parquet_is_seen(table: Make, tmp_path: Path) -> None:
    frame = pd.DataFrame({"when": [f"2024-01-01 {i % 24:02}:00:00" for i in range(48)], "y": [0, 1] * 24})
    frame.to_parquet(tmp_path / "x.parquet")
    features = infer_schema(table(tmp_path / "x.parquet"), "y", DataConfig()).features
    assert [f.name for f in features] == ["when:time", "when:hour"]


def test_a_date_part_never_takes_the_name_of_a_column(infer: Infer) -> None:
    schema = infer({"d": [f"2024-01-01 {i % 24:02}:00:00" for i in range(48)], "d:hour": [i % 5 for i in range(48)]})
    assert [f.name for f in schema.features] == ["d:time", "d:hour_", "d:hour"]


def test_shares_and_counts(infer: Infer) -> None:
    (feature,) = infer({"x": [None if i % 4 == 0 else i % 5 for i in range(ROWS)]}).features
    assert (feature.distinct, feature.missing_share) == (5, 0.25)


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["b", "a"] * 50, "binary", ("a", "b")),
        ([1, 0] * 50, "binary", ("0", "1")),
        ([10.5, 2.5] * 50, "binary", ("2.5", "10.5")),
        ([True, False] * 50, "binary", ("False", "True")),
        ([i % 11 for i in range(110)], "multiclass", tuple(str(i) for i in range(11))),
        ([float(i % 3) for i in range(110)], "multiclass", ("0", "1", "2")),
        ([f"c{i % 30}" for i in range(120)], "multiclass", tuple(sorted(f"c{i}" for i in range(30)))),
        ([i % 21 for i in range(210)], "regression", ()),
        ([i % 10 / 2 for i in range(100)], "regression", ()),
        ([i % 15 for i in range(30)], "regression", ()),
    ],
)
def test_tasks(infer: Infer, values: list[object], task: str, classes: tuple[str, ...]) -> None:
    schema = infer({"x": [i % 7 for i in range(len(values))], "y": values})
    assert (schema.task, schema.classes) == (task, classes)


def test_the_task_can_be_set(infer: Infer) -> None:
    columns = {"x": [i % 7 for i in range(90)], "y": [i % 3 for i in range(90)]}
    assert infer(columns, task="regression").task == "regression"
    assert infer(columns, columns={"y": "numeric"}).task == "regression"
    many = {"x": columns["x"], "y": [i % 30 for i in range(90)]}
    assert len(infer(many, task="multiclass").classes) == 30
    assert len(infer(many, columns={"y": "categorical"}).classes) == 30
    with pytest.raises(UsageError, match="got 3"):
        infer(columns, task="binary")
    with pytest.raises(DataError, match="got text"):
        infer({"x": columns["x"], "y": ["a", "b", "c"] * 30}, task="regression")


def test_overrides_win(infer: Infer) -> None:
    broken: list[object] = ["abc" if i % 20 == 0 else i for i in range(ROWS)]
    assert infer({"x": broken}, columns={"x": "numeric"}).features[0].missing_share == 0.05
    assert infer({"x": broken}, columns={"x": "categorical"}).features[0].kind == "categorical"
    assert infer({"id": list(range(ROWS))}, columns={"id": "numeric"}).features[0].kind == "numeric"
    texts = infer({"x": [f"a{i % 7}" for i in range(ROWS)]}, columns={"x": "text"})
    assert [(one.name, one.kind, one.distinct) for one in texts.features] == [("x", "text", 7)]
    for kind in ("ignore", "id"):
        schema = infer({"x": [i % 7 for i in range(ROWS)], "k": [i % 5 for i in range(ROWS)]}, columns={"k": kind})
        assert [(one.column, one.kind) for one in schema.set_aside] == [("k", "ignored" if kind == "ignore" else kind)]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"columns": {"colour": "numeric"}}, "got 'colour': did you mean 'color'"),
        ({"columns": {"color": "numeric"}}, "Expected numbers in column 'color'"),
        ({"columns": {"color": "boolean"}}, "Expected two values in column 'color'"),
        ({"columns": {"color": "date"}}, "Expected ISO dates"),
        ({"columns": {"y": "ignore"}}, "target 'y'"),
    ],
)
def test_settings_that_do_not_fit(infer: Infer, settings: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        infer({"color": ["red", "green", "blue"] * 20}, **settings)


def test_a_wrong_target_suggests_near_names(infer: Infer) -> None:
    with pytest.raises(UsageError, match="got 'Incone': did you mean 'income'"):
        infer({"income": [0, 1] * 20}, target="Incone")
    with pytest.raises(UsageError, match="it has 'income', 'y'"):
        infer({"income": [0, 1] * 20}, target="zzz")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (["a", "b"], "at least 20 rows with a target, got 2"),
        ([None] * 40, "none in 40 rows"),
        (["a", "a "] * 20, r"got one only \(blanks around a value do not count\): there"),
        ([1.5] * 40, "got one only: there"),
        (["a"] * 39 + ["b"], "one row of 'b'"),
        ([f"n{i}" for i in range(40)], "at least 2 rows of each of two classes"),
        ([float(i) for i in range(39)] + ["inf"], "got 1 infinite"),
        ([f"2024-01-{i % 28 + 1:02}" for i in range(40)], "got dates"),
        (["abc" if i == 5 else i for i in range(40)], r"1 that are not, such as 'abc' \(row 6\)"),
        ([f"k{i % 1001}" for i in range(2_100)], "at most 1,000 classes"),
    ],
)
def test_targets_that_cannot_be_learned(infer: Infer, target: list[object], says: str) -> None:
    with pytest.raises(DataError, match=says):
        infer({"x": [i % 7 for i in range(len(target))], "y": target})


def test_rows_without_a_target_do_not_count(infer: Infer) -> None:
    schema = infer({"x": [i % 7 for i in range(60)], "y": [None, "a", "b"] * 20})
    assert schema.classes == ("a", "b")


def test_nothing_left_to_learn_from(infer: Infer) -> None:
    with pytest.raises(DataError, match="'x' holds one value only"):
        infer({"x": [1] * 40})
    with pytest.raises(DataError, match="the target is the only column"):
        infer({"y": [0, 1] * 20})


@pytest.mark.parametrize(
    ("test", "says"),
    [
        ("x,y\n1,a\n", "no 'k': add them"),
        ("x,k\n1,u\n", "no 'y'"),
        ("x,k,y\n1,u,\n", "target 'y' of the test file, got none"),
        ("x,k,y\n1,u,c\n2,u,c\n3,v,a\n", r"got 'c' \(2 rows\)"),
    ],
)
def test_test_files_that_do_not_fit(table: Make, test: str, says: str) -> None:
    train = table("x,k,y\n" + "".join(f"{i},{'uvw'[i % 3]},{'ab'[i % 2]}\n" for i in range(40)))
    with pytest.raises(AbiError, match=says) as caught:
        infer_schema(train, "y", DataConfig(), table(test))
    assert caught.value.exit_code == 3


def test_a_test_file_may_hold_other_columns_and_categories(table: Make) -> None:
    train = table("id,x,k,y\n" + "".join(f"n{i},{i % 7},{'uvw'[i % 3]},{'ab'[i % 2]}\n" for i in range(200)))
    schema = infer_schema(train, "y", DataConfig(), table("k,more,x,y\nunseen,1,text,a\n"))
    assert [feature.name for feature in schema.features] == ["x", "k"]
    assert [one.column for one in schema.set_aside] == ["id"]


@pytest.mark.parametrize(
    ("odd", "spelled"),
    [
        ("1.10", True),
        ("1e3", True),
        ("+5", True),
        ("2024-01-01 00:00:00", False),
        ("2024-01-01T10:00", False),
        ("12345678901234567890", True),
        ("12", False),
        ("1.0", False),
        ("-2.5", False),
        ("TRUE", False),
        ("2024-01-01", False),
        ("007", False),
        ("beta", False),
    ],
)
def test_text_that_a_file_of_numbers_would_spell_otherwise_is_remembered(infer: Infer, odd: str, spelled: bool) -> None:
    cells = ["alpha" if i % 3 else "gamma" for i in range(ROWS - 40)] + [odd] * 40
    found = infer({"x": cells, "z": [i % 7 for i in range(ROWS)]})
    assert found.spelled == (("x",) if spelled else ())


def test_labels_that_look_like_numbers_are_remembered_too(infer: Infer) -> None:
    labels = ["1.10" if i % 3 else "none" for i in range(ROWS)]
    assert infer({"x": [i % 7 for i in range(ROWS)], "y": labels}).spelled == ("y",)
