from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from abi.config import Config, load_config
from abi.data.convert import convert
from abi.data.derive import (
    DerivedTable,
    derive_new,
    derive_rows,
    derive_tables,
    derived_names,
    open_problem,
    raw_columns,
)
from abi.data.infer import pose
from abi.data.memory import hold, read_memory, to_arrow
from abi.data.series import sequence, series_columns
from abi.errors import DataError, UsageError
from abi.problem import DataFile, Derivation, Feature, Schema, Series, Snapshot, Split

NAN = float("nan")
RANDOM = np.random.default_rng(0)
FILE = DataFile(role="train", format="parquet", md5="0", sha256="0", size_bytes=0, rows=0)


def series(**asked: object) -> Series:
    plain: dict[str, object] = {
        "channels": ("a",),
        "lags": (),
        "windows": (),
        "statistics": ("mean",),
        "differences": False,
    }
    return Series.from_json(plain | asked)


def derived(frame: pd.DataFrame, asked: Series, order: str = "rows") -> pd.DataFrame:
    columns = {name: column.combine_chunks() for name, column in zip(frame, to_arrow(frame).columns, strict=True)}
    derivation = Derivation(order=order, series=asked)
    made = series_columns(asked, columns, "y", sequence(columns, derivation, len(frame)))
    return pd.DataFrame({name: values.to_pandas() for name, values in made.items()})


def settings(**data: object) -> Config:
    return load_config(settings={f"data.{name}": value for name, value in data.items()}, ambient=False)


def test_lags_differences_and_windows_by_hand() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 4.0, 8.0, 16.0]})
    found = derived(
        frame, series(lags=(1, 3), windows=(3,), statistics=("mean", "std", "min", "max"), differences=True)
    )
    expected = pd.DataFrame(
        {
            "a@lag1": [NAN, 1, 2, 4, 8],
            "a@lag3": [NAN, NAN, NAN, 1, 2],
            "a@diff": [NAN, 1, 2, 4, 8],
            "a@mean3": [NAN, NAN, 7 / 3, 14 / 3, 28 / 3],
            "a@std3": [NAN, NAN, np.std([1, 2, 4]), np.std([2, 4, 8]), np.std([4, 8, 16])],
            "a@min3": [NAN, NAN, 1, 2, 4],
            "a@max3": [NAN, NAN, 4, 8, 16],
        }
    )
    pd.testing.assert_frame_equal(found, expected.astype(float))


def test_groups_are_series_of_their_own_in_order_of_time() -> None:
    frame = pd.DataFrame(
        {
            "t": [3, 1, 2, 1, 2],
            "machine": ["p", "p", "q", "q", "p"],
            "a": [30.0, 10.0, 200.0, 100.0, 20.0],
        }
    )
    found = derived(frame, series(lags=(1, 2), windows=(2,), group="machine"), "t")
    # p: 10, 20, 30 at 1, 2, 3; q: 100, 200 at 1, 2
    assert found["a@lag1"].tolist() == pytest.approx([20, NAN, 100, NAN, 10], nan_ok=True)
    assert found["a@lag2"].tolist() == pytest.approx([10, NAN, NAN, NAN, NAN], nan_ok=True)
    assert found["a@mean2"].tolist() == pytest.approx([25, NAN, 150, NAN, 15], nan_ok=True)


@pytest.mark.parametrize("group", ["", "g"])
def test_of_what_was_before_a_row_without_a_time_nothing_is_known(group: str) -> None:
    frame = pd.DataFrame({"t": [1, 2, None, 3, None], "a": [10.0, 20.0, 99.0, 30.0, 98.0], "g": ["p"] * 5})
    found = derived(frame, series(lags=(1,), windows=(2,), group=group), "t")
    assert found["a@lag1"].tolist() == pytest.approx([NAN, 10, NAN, 20, NAN], nan_ok=True)
    assert found["a@mean2"].tolist() == pytest.approx([NAN, 15, NAN, 25, NAN], nan_ok=True)


def test_missing_and_infinite_values_are_left_out_of_windows() -> None:
    found = derived(pd.DataFrame({"a": [1.0, NAN, 3.0, np.inf]}), series(lags=(1,), windows=(2,)))
    assert found["a@lag1"].tolist() == pytest.approx([NAN, 1, NAN, 3], nan_ok=True)
    assert found["a@mean2"].tolist() == pytest.approx([NAN, 1, 3, 3], nan_ok=True)


def test_no_row_looks_ahead_or_into_another_group() -> None:
    frame = pd.DataFrame({"a": RANDOM.normal(size=60), "g": np.repeat(["p", "q"], 30)})
    asked = series(lags=(1, 5), windows=(4,), statistics=("mean", "std", "min", "max"), differences=True, group="g")
    before = derived(frame, asked)
    later = frame.assign(a=np.where(np.arange(60) >= 45, RANDOM.normal(size=60), frame["a"]))
    pd.testing.assert_frame_equal(derived(later, asked)[:45], before[:45])
    other = frame.assign(a=np.where(np.arange(60) < 30, RANDOM.normal(size=60), frame["a"]))
    np.testing.assert_allclose(derived(other, asked)[30:], before[30:], atol=1e-12)


def test_a_test_table_goes_on_where_the_training_table_ended_in_any_batches() -> None:
    frame = pd.DataFrame({"a": np.arange(10.0), "y": np.arange(10) % 2})
    derivation = Derivation(order="rows", series=series(lags=(2,), target_lags=(1,)))
    schema = Schema(target="y", task="binary", classes=("0", "1"), features=(), set_aside=())
    split = Split(seed=0, validation=0.5, test=0.0)
    tables = hold(to_arrow(frame[:6])), hold(to_arrow(frame[6:]))
    train, test = derive_tables(derivation, schema, split, *tables)
    assert isinstance(test, DerivedTable)
    assert test.names == ("a", "y", "a@lag2", "y@lag1")
    parts = [batch for _, batch in test.batches(["y@lag1", "a", "a@lag2"], batch_rows=3)]
    read = pa.Table.from_batches(parts)
    assert read.to_pydict() == {"y@lag1": [1, 0, 1, 0], "a": [6, 7, 8, 9], "a@lag2": [4, 5, 6, 7]}
    assert [first for first, _ in train.batches(["a@lag2"], batch_rows=4, part=range(3, 6))] == [3]
    sample = train.sample(["a@lag2"])
    assert sample.column("a@lag2").to_pylist() == [None, None, 0, 1, 2, 3]
    assert train.column("a@lag2").nulls == 2


def test_earlier_classes_are_features_of_a_file(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": RANDOM.normal(size=60), "y": np.tile(["up", "down", "up"], 20)})
    frame.to_parquet(tmp_path / "a.parquet")
    base = convert(tmp_path / "a.parquet", tmp_path / "tables", "a")
    config = settings(order="rows", series={"channels": ["a"], "lags": [1], "target_lags": [1]})
    problem = pose(Snapshot(files=(FILE,)), "y", config, base, None)
    train = open_problem(problem, base, None).train
    names = ["y", "y@lag1"]
    ((_, batch),) = train.batches(names, encoded=names)
    assert batch["y@lag1"].to_pylist() == [None, *frame["y"][:-1]]
    assert train.sample(names, encoded=names).num_rows == 60


def test_a_model_reads_new_rows_as_it_was_trained() -> None:
    frame = pd.DataFrame(
        {
            "t": pd.date_range("2024-01-01", periods=300, freq="h"),
            "machine": np.tile(["p", "q", "r"], 100),
            "a": RANDOM.normal(size=300).cumsum(),
            "b": RANDOM.normal(size=300),
            "y": np.arange(300) % 2,
        }
    )
    config = settings(order="t", series={"lags": [1], "windows": [4], "statistics": ["mean"], "group": "machine"})
    reader = read_memory(frame, "y", config)
    schema = reader.problem.schema
    names = {f.name: f.kind for f in schema.features}
    assert {"a@lag1", "a@diff", "a@mean4", "b@lag1", "b@diff", "b@mean4"} <= set(names)
    assert schema.derivation is not None
    assert derived_names(schema.derivation, "y") == ("a@lag1", "a@diff", "a@mean4", "b@lag1", "b@diff", "b@mean4")
    assert set(raw_columns(schema)) == {"t", "machine", "a", "b"}
    assert Schema.from_json(schema.to_json()) == schema
    # new rows in another order: the times say which are before
    late = frame[200:].sample(frac=1, random_state=0)
    rows = derive_rows(schema, late)
    assert isinstance(rows, pd.DataFrame)
    whole = derive_new(schema, reader.train.base)  # type: ignore[attr-defined]
    expected = pa.Table.from_batches([b for _, b in whole.batches(["a@lag1"])]).to_pandas()["a@lag1"][203:]
    np.testing.assert_array_equal(rows["a@lag1"].sort_index().to_numpy()[3:], expected)
    assert rows["a@lag1"].sort_index()[:3].isna().all()
    assert derive_rows(schema, rows) is rows
    with pytest.raises(DataError, match="got no 'b'"):
        derive_rows(schema, late.drop(columns="b"))
    # without their times the lags would be those of the file's order
    with pytest.raises(DataError, match=r"Expected times in column 't', got '.*' .* 100 of 100 rows"):
        derive_rows(schema, late.assign(t=late["t"].dt.strftime("%d/%m/%Y %H:%M")))


def test_settings_that_cannot_be_used_are_told() -> None:
    frame = pd.DataFrame({"a": np.arange(99.0), "word": ["x", "y", "z"] * 33, "a@lag1": 0.5, "y": [0, 1, 0] * 33})
    with pytest.raises(UsageError, match=r"data.order beside data.series, got none"):
        read_memory(frame, "y", settings(series={}))
    with pytest.raises(UsageError, match=r"numeric columns in data.series.channels, got 'word'"):
        read_memory(frame, "y", settings(order="rows", series={"channels": ["word"]}))
    with pytest.raises(UsageError, match=r"data.series.group as a column of the table, got 'who'"):
        read_memory(frame, "y", settings(order="rows", series={"group": "who"}))
    with pytest.raises(UsageError, match=r"no column named as one that is derived, got 'a@lag1'"):
        read_memory(frame, "y", settings(order="rows", series={"channels": ["a"]}))


def test_schemas_without_a_derivation_keep_their_ids() -> None:
    feature = Feature(name="a", column="a", kind="numeric", distinct=3, missing_share=0.0)
    plain = Schema(target="y", task="binary", classes=("0", "1"), features=(feature,), set_aside=()).to_json()
    assert "derivation" not in plain
