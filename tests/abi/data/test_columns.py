from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abi.data import text as spelled
from abi.data.columns import Codes, Columns, encode, expect_numbers
from abi.errors import DataError
from abi.problem import DatePart, Feature, Kind, Schema, Task


def feature(name: str, kind: Kind, part: DatePart | None = None) -> Feature:
    return Feature(
        name=f"{name}:{part}" if part else name, column=name, kind=kind, part=part, distinct=3, missing_share=0.0
    )


def schema(*features: Feature, task: Task = "binary", classes: tuple[str, ...] = ("0", "1")) -> Schema:
    return Schema(target="y", task=task, classes=classes, features=features, set_aside=())


def texts(codes: Codes) -> list[str | None]:
    return [None if code < 0 else codes.values[code] for code in codes.codes]


NUMBER = schema(feature("x", "numeric"))
CATEGORY = schema(feature("x", "categorical"))


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, None, 3]),
        pa.array([1.0, None, 3.0], pa.float32()),
        pa.array(["1", "?", " 3.0 "]),
        pa.array(["1", "abc", "3"]),
        pa.array(["1", None, "3"]).dictionary_encode(),
        pa.array([1, None, 3], pa.decimal128(5, 2)),
        pd.Series([1.0, np.nan, 3.0]),
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([1, "abc", "3"], dtype=object),
        pd.Series(["1", None, "3"], dtype="category"),
        pd.Series([1, None, 3], dtype=object),
    ],
)
def test_numbers_from_any_type(values: pa.Array | pd.Series) -> None:
    data = values.to_frame("x") if isinstance(values, pd.Series) else pa.table({"x": values})
    np.testing.assert_array_equal(encode(data, NUMBER, with_target=False).numeric, [[1.0], [np.nan], [3.0]])


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, None, 20, 1]),
        pa.array([1.0, float("nan"), 20.0, 1.0]),
        pa.array(["1", "NA", "20.0", " 1"]),
        pa.array(["1", None, "20", "1"], pa.large_string()).dictionary_encode(),
        pd.Series([1.0, np.nan, 20.0, 1.0], dtype="float32"),
        pd.Series([1, None, 20, 1], dtype="Int8"),
        pd.Series([1, None, "20", "1.0"], dtype=object),
        pd.Series([1, None, 20, 1], dtype="category"),
        pd.Series(["1", None, "20", "1"], dtype="str"),
    ],
)
def test_categories_read_the_same_from_any_type(values: pa.Array | pd.Series) -> None:
    data = values.to_frame("x") if isinstance(values, pd.Series) else pa.table({"x": values})
    (codes,) = encode(data, CATEGORY, with_target=False).categorical
    assert texts(codes) == ["1", None, "20", "1"]
    assert len(set(codes.values)) == len(codes.values)


@pytest.mark.parametrize("values", [[True, False, None], ["true", "FALSE", "?"], ["True", "False", None]])
def test_truth_values_read_the_same(values: list[object]) -> None:
    for data in (
        pa.table({"x": values}),
        pd.DataFrame({"x": values}),
        pd.DataFrame({"x": pd.Series(values, dtype=object)}),
    ):
        (codes,) = encode(data, CATEGORY, with_target=False).categorical
        assert texts(codes) == ["True", "False", None]


def test_other_texts_stay_as_they_are() -> None:
    cells = ["1.10", "1.1", "00123", "v1.0", "0.5", "-0.0", "yes"]
    (codes,) = encode(pa.table({"x": cells}), CATEGORY, with_target=False).categorical
    assert texts(codes) == ["1.10", "1.1", "00123", "v1.0", "0.5", "-0", "yes"]


def test_a_dictionary_reads_as_plain_text() -> None:
    # "z" is in no row, " b" and "b" are one value, and the order is that of the rows
    held = pa.DictionaryArray.from_arrays(pa.array([3, 1, None, 2, 3], pa.int32()), ["z", "a", " b", "b"])
    plain = pa.array(["b", "a", None, " b", "b"])
    for values in (held, plain):
        codes = encode(pa.table({"x": values}), CATEGORY, with_target=False).categorical[0]
        assert (codes.values, codes.codes.tolist()) == (("b", "a"), [0, 1, -1, 0, 0])


def test_date_parts() -> None:
    parts = schema(*(feature("d", "numeric", part) for part in ("time", "month", "weekday", "hour")))
    moment = datetime(2024, 2, 29, 13, 30, tzinfo=UTC)  # a Thursday
    expected = [[moment.timestamp(), 2.0, 3.0, 13.0], [np.nan] * 4, [0.0, 1.0, 3.0, 0.0]]
    for data in (
        pa.table({"d": pa.array([moment, None, datetime(1970, 1, 1, tzinfo=UTC)])}),
        pa.table({"d": ["2024-02-29 13:30", "someday", "1970-01-01"]}),
        pd.DataFrame({"d": pd.to_datetime(["2024-02-29 13:30", None, "1970-01-01 00:00"])}),
    ):
        np.testing.assert_array_equal(encode(data, parts, with_target=False).numeric, expected)


def test_schema_order_and_other_columns() -> None:
    mixed = schema(
        feature("b", "numeric"), feature("k", "categorical"), feature("a", "numeric"), feature("t", "boolean")
    )
    data = pa.table({"t": [True], "a": [1], "unused": [9], "k": ["u"], "b": [2]})
    found = encode(data, mixed, with_target=False)
    assert found.numeric.tolist() == [[2.0, 1.0]]
    assert [texts(codes) for codes in found.categorical] == [["u"], ["True"]]
    assert found.target is None


def test_rows_without_a_target_are_left_out() -> None:
    data = pa.table({"x": [10, 20, 30], "y": [1.0, None, 0.0]})
    for rows in (data, data.to_batches()[0], data.to_pandas()):
        found = encode(rows, NUMBER, np.array([5, 6, 7]))
        assert found.target is not None
        assert (found.target.tolist(), found.row_numbers.tolist(), found.numeric.tolist()) == (
            [1, 0],
            [5, 7],
            [[10.0], [30.0]],
        )
        assert found.target.dtype == np.int64
    assert len(encode(data, NUMBER, with_target=False)) == 3


@pytest.mark.parametrize("values", [["False", "True"], [False, True], ["false", "TRUE"]])
def test_labels_of_any_spelling(values: list[object]) -> None:
    found = encode(pa.table({"x": [1, 2], "y": values}), schema(feature("x", "numeric"), classes=("False", "True")))
    assert found.target is not None
    assert found.target.tolist() == [0, 1]


def test_unknown_labels_are_named_with_their_rows() -> None:
    with pytest.raises(DataError, match=r"'0', '1' as in the training data, got '2' \(2 rows\), 'x' \(1 row\)"):
        encode(pa.table({"x": [1, 2, 3, 4], "y": ["2", "1", "2", "x"]}), NUMBER)


def test_regression_targets() -> None:
    measured = schema(feature("x", "numeric"), task="regression", classes=())
    found = encode(pa.table({"x": [1, 2, 3], "y": ["1.5", "?", "2"]}), measured)
    assert found.target is not None
    assert (found.target.tolist(), found.row_numbers.tolist()) == ([1.5, 2.0], [0, 2])
    with pytest.raises(DataError, match="1 infinite"):
        encode(pa.table({"x": [1, 2], "y": [1.0, np.inf]}), measured)
    with pytest.raises(DataError, match=r"values up to 1e\+120 in the target 'y'.* got 1e\+300: take another unit"):
        encode(pa.table({"x": [1, 2], "y": [1.0, -1e300]}), measured)


def test_lacking_columns_are_named() -> None:
    both = schema(feature("x", "numeric"), feature("z", "categorical"))
    with pytest.raises(DataError, match="no 'z', 'y': add them"):
        encode(pd.DataFrame({"x": [1]}), both)
    assert len(encode(pd.DataFrame({"x": [1], "z": ["a"]}), both, with_target=False)) == 1


def test_no_rows() -> None:
    found = encode(pa.table({"x": pa.array([], pa.int64()), "y": pa.array([], pa.string())}), NUMBER)
    assert (len(found), found.numeric.shape) == (0, (0, 1))


def test_take_by_numbers_and_by_mask() -> None:
    mixed = schema(feature("x", "numeric"), feature("k", "categorical"))
    found = encode(pa.table({"x": [1, 2, 3], "k": ["a", "b", None], "y": [0, 1, 0]}), mixed)
    for part in (found.take(np.array([2, 0])), found.take(np.array([True, False, True])).take(np.array([1, 0]))):
        assert isinstance(part, Columns)
        assert part.target is not None
        assert (part.numeric.tolist(), texts(part.categorical[0]), part.target.tolist(), part.row_numbers.tolist()) == (
            [[3.0], [1.0]],
            [None, "a"],
            [0, 0],
            [2, 0],
        )


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)


@given(cells=st.lists(CELLS, min_size=1, max_size=20), order=st.randoms())
def test_a_value_reads_the_same_alone_and_in_company(cells: list[object], order: object) -> None:
    def read(values: list[object]) -> tuple[list[str | None], list[float]]:
        frame = pd.DataFrame({"x": pd.Series(values, dtype=object)})
        both = schema(feature("x", "categorical"), feature("x", "numeric"))
        found = encode(frame, both, with_target=False)
        return texts(found.categorical[0]), found.numeric[:, 0].tolist()

    together, numbers = read([None if cell is None else str(cell) for cell in cells])
    for cell, text, number in zip(cells, together, numbers, strict=True):
        alone, measured = read([None if cell is None else str(cell)])
        assert alone == [text]
        np.testing.assert_array_equal(measured, [number])


def test_a_column_that_is_text_throughout_is_no_column_of_numbers() -> None:
    with pytest.raises(
        DataError, match=r"Expected numbers in column 'x', got '1,5' and the like in all 12 rows that have"
    ):
        expect_numbers(pd.DataFrame({"x": ["1,5"] * 12 + [None]}), NUMBER)
    few = ["1,5"] * 9 + [None] * 5
    for fine in (
        few,
        [*few, "2"],
        ["?"] * 30 + ["7"],
        [None] * 30,
        [True] * 12,
        pd.Categorical(["1", "2"] * 6),
        [1.5] * 12,
    ):
        expect_numbers(pd.DataFrame({"x": fine}), NUMBER)
    expect_numbers(pd.DataFrame({"x": ["1,5"] * 12}), CATEGORY)


@pytest.mark.parametrize("zone", ["", "Z", "+00:00"])
def test_times_that_are_finer_than_a_microsecond_are_cut(zone: str) -> None:
    text = pa.array([f"2024-01-01 00:00:00.123456789{zone}", None, f"2024-01-02T00:00:00.5{zone}"])
    found = spelled.moments(text).to_pylist()
    assert [t and t.isoformat() for t in found] == ["2024-01-01T00:00:00.123456", None, "2024-01-02T00:00:00.500000"]
    assert spelled.type_of(text) == "timestamp"
    assert spelled.type_of(pa.array(["2024-01-01 00:00:00.123456789", "soon"])) == "string"


def test_a_frame_that_cannot_be_read_is_told() -> None:
    frame = pd.DataFrame({"x": np.arange(60.0), "c": ["a", "b", "d"] * 20})
    learned = schema(feature("x", "numeric"), feature("c", "categorical"))
    twice = pd.concat([frame, frame[["x"]]], axis=1)
    for rows in (twice, pa.table([frame["x"], frame["x"], frame["c"]], names=["x", "x", "c"])):
        with pytest.raises(DataError, match="a name of its own for every column, got 'x' more than once"):
            encode(rows, learned, with_target=False)
    with pytest.raises(DataError, match="text that UTF-8 can hold in the column 'c'"):
        encode(frame.assign(c=pd.Series(["a\ud800"] * 60, dtype=object)), learned, with_target=False)


def test_a_column_without_a_date_where_dates_are_read_is_another_column() -> None:
    feature = Feature(name="d month", column="d", kind="numeric", part="month", distinct=12, missing_share=0.0)
    schema = Schema(target="y", task="regression", classes=(), features=(feature,), set_aside=())
    for wrong in (["31.12.2026"] * 12, list(range(12))):
        with pytest.raises(
            DataError, match=r"Expected dates in column 'd', got '(31\.12\.2026|0)' and the like in all 12 rows"
        ):
            expect_numbers(pd.DataFrame({"d": wrong}), schema)
    for fine in (["2026-12-31", "soon"] * 6, pd.date_range("2026-01-01", periods=12), [None] * 12, [1, 2]):
        expect_numbers(pd.DataFrame({"d": fine}), schema)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([0.1, 0.25, 3.3e20]),
        pa.array([0.1, 0.25, 3.3e20], pa.float32()),
        pa.array(pa.array([0.1, 0.25, 3.3e20], pa.float32()).cast(pa.float64())),  # as the table of a file holds it
        pa.array(["0.1", "0.25", "3.3e+20"]),
    ],
)
def test_a_category_of_decimals_is_the_same_in_single_precision(values: pa.Array) -> None:
    found = encode(pa.table({"x": values}), CATEGORY, with_target=False)
    assert texts(found.categorical[0]) == ["0.1", "0.25", "3.3e+20"]


@pytest.mark.parametrize(
    "values",
    [
        pa.array(np.array(["2024-01-31T10:30", "2024-02-01"], "datetime64[us]")),
        pa.array(["2024-01-31 10:30:00", "2024-02-01"]),
        pa.array(["2024-01-31T10:30", "2024-02-01T00:00:00"]),
        pa.array(["2024-01-31T10:30:00Z", "2024-02-01 00:00:00"]),
        pa.array(["2024-01-31T11:30:00+01:00", "2024-02-01T00:00:00.000000000"]),
    ],
)
def test_a_category_of_dates_is_the_same_however_they_are_written(values: pa.Array) -> None:
    found = encode(pa.table({"x": values}), CATEGORY, with_target=False)
    assert texts(found.categorical[0]) == ["2024-01-31 10:30:00", "2024-02-01"]


def test_what_only_begins_like_a_date_stays_as_it_is() -> None:
    said = ["2024-01-31T10:30 it rained", "2024-13-45", "2024-01-31T25:00:00", "2024-01"]
    found = encode(pa.table({"x": [*said, "2024-01-31T10:30"]}), CATEGORY, with_target=False)
    assert texts(found.categorical[0]) == [*said, "2024-01-31 10:30:00"]
