"""Targets of several labels per row: lists and text with a separator, in files and in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abi.config import load_config
from abi.data.columns import encode_target
from abi.data.infer import infer_schema
from abi.data.label_sets import as_text, count_labels, is_list, read_sets
from abi.data.memory import read_memory
from abi.errors import DataError, UsageError
from abi.problem import Schema
from abi.reading import DataConfig

LISTS = [["b", "a", "a"], [], None, ["a", None], ["c"]]


def _rows(count: int = 40) -> list[list[str] | None]:
    """Labels by row number: "even", "third"; the first has none, the second is missing."""
    found: list[list[str] | None] = [
        [*(["even"] if i % 2 == 0 else []), *(["third"] if i % 3 == 0 else [])] for i in range(count)
    ]
    found[:2] = [], None
    return found


def _table(rows: list[list[str] | None]) -> pa.Table:
    return pa.table({"x": np.arange(len(rows)) * 0.5, "y": pa.array(rows, pa.list_(pa.string()))})


def test_a_list_is_kept_as_a_set_whatever_the_order_and_the_library() -> None:
    assert as_text(pa.array(LISTS)).to_pylist() == ['["a", "b"]', "[]", None, '["a"]', '["c"]']
    assert as_text(pa.array(LISTS)[1:4]).to_pylist() == ["[]", None, '["a"]']
    large = pa.array(LISTS, pa.large_list(pa.dictionary(pa.int32(), pa.string())))
    assert is_list(large.type)
    assert as_text(large).to_pylist() == as_text(pa.array(LISTS)).to_pylist()
    assert as_text(pa.array([[2, 10], [True + 0]])).to_pylist() == ['["10", "2"]', '["1"]']
    assert not is_list(pa.list_(pa.float64()))
    assert not is_list(pa.string())


def test_text_with_a_separator_is_the_same_sets() -> None:
    codes, sets = read_sets(pa.array(["a|b", "b | a ", "|", None, "", "c|c"]), "|")
    assert [None if code < 0 else sets[code] for code in codes] == [("a", "b"), ("a", "b"), (), None, None, ("c",)]
    assert count_labels(pa.array(["a|b", "b | a ", "|", None, "c|c"]), "|") == {"a": 2, "b": 2, "c": 1}


def test_lists_in_json_are_spelled_as_lists_are() -> None:
    texts = ["[2, 1, 1.0]", "[null]", '["1", 10, "1.0"]', '[true, "TRUE", " b ", "NA"]', "[1.5, NaN]"]
    _, sets = read_sets(pa.array(texts), None)
    assert sets == (("1", "2"), (), ("1", "10"), ("True", "b"), ("1.5",))


@pytest.mark.parametrize("text", ['["1", ["2"]]', '[{"a": 1}]', "1", "a"])
def test_what_is_no_list_of_labels_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="Expected lists of labels, as in the training data"):
        read_sets(pa.array([text]), None)


def _schema(separator: str | None = None) -> Schema:
    return Schema(
        target="y", task="multilabel", classes=("a", "b", "c"), features=(), set_aside=(), separator=separator
    )


def test_the_target_is_which_labels_a_row_has() -> None:
    target, present = encode_target(pa.array(LISTS), _schema())
    assert present.tolist() == [True, True, False, True, True]
    assert target[present].astype(int).tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1]]
    same, _ = encode_target(as_text(pa.array(LISTS)), _schema())
    assert (same == target).all()
    text, _ = encode_target(pa.array(["a|b", "|", None, "a", "c"]), _schema("|"))
    assert (text[present] == target[present]).all()


def test_a_label_that_training_never_saw_is_named_with_its_rows() -> None:
    with pytest.raises(DataError, match=r"'d' \(2 rows\)"):
        encode_target(pa.array([["a", "d"], ["d"], ["b"]]), _schema())


@pytest.mark.parametrize("cells", [["a|b", "c"], [5, 6], ["{}", "[]"]])
def test_what_is_no_list_is_told_where_lists_were_learned(cells: list[object]) -> None:
    with pytest.raises(DataError, match="Expected lists of labels, as in the training data, got "):
        encode_target(pa.array(cells), _schema())


def test_a_file_of_lists_is_read_as_one_of_text_is(
    tmp_path: Path, table: Callable[..., Any], reader: Callable[..., Any]
) -> None:
    rows = _rows()
    pq.write_table(_table(rows), tmp_path / "lists.parquet")
    lists = table(tmp_path / "lists.parquet")
    assert (lists.column("y").type, lists.column("y").nulls) == ("list", 1)
    loaded = reader(lists, "y").load("train")
    schema = infer_schema(lists, "y", DataConfig())
    assert (schema.task, schema.classes, schema.separator) == ("multilabel", ("even", "third"), None)
    text = table(
        "x,y\n" + "".join(f"{i * 0.5},{'' if r is None else '|'.join(r) or '|'}\n" for i, r in enumerate(rows))
    )
    joined = infer_schema(text, "y", DataConfig(separator="|"))
    assert (joined.task, joined.classes, joined.separator) == ("multilabel", ("even", "third"), "|")
    other = reader(text, "y", schema=joined).load("train")
    assert (loaded.target == other.target).all()
    assert (loaded.row_numbers == other.row_numbers).all()
    expected = np.column_stack([loaded.row_numbers % 2 == 0, loaded.row_numbers % 3 == 0])
    expected[loaded.row_numbers == 0] = False
    assert (loaded.target == expected).all()
    assert 1 not in loaded.row_numbers


@pytest.mark.parametrize("make", [lambda t: t, lambda t: t.to_pandas(), pl.from_arrow])
def test_in_memory_the_same_whatever_the_library(make: Callable[[pa.Table], Any]) -> None:
    found = read_memory(make(_table(_rows())), "y", load_config(ambient=False))
    loaded = found.load("train")
    assert found.problem.schema.classes == ("even", "third")
    assert loaded.target is not None
    assert loaded.target.dtype == np.bool_
    assert (loaded.target[:, 0] == (loaded.row_numbers % 2 == 0) & (loaded.row_numbers > 0)).all()


def test_lists_beside_the_target_are_set_aside() -> None:
    frame = pd.DataFrame({"x": np.arange(30.0), "tags": [["a"], ["b"]] * 15, "y": ["p", "q", "q"] * 10})
    schema = read_memory(frame, "y", load_config(ambient=False)).problem.schema
    assert [(one.column, one.kind) for one in schema.set_aside] == [("tags", "other")]


@pytest.mark.parametrize(
    ("settings", "target", "sentence"),
    [
        ({"data.task": "multiclass"}, "y", "Expected one value per row in the target 'y' for data.task multiclass"),
        ({"data.separator": "|"}, "y", "Expected text in the target 'y'"),
        ({"data.task": "multilabel"}, "z", r"set data\.separator"),
        ({"data.task": "binary", "data.separator": "|"}, "z", "data.separator='|'"),
    ],
)
def test_settings_that_do_not_fit_are_told(settings: dict[str, str], target: str, sentence: str) -> None:
    table = _table(_rows()).append_column("z", pa.array(["a|b", "b"] * 20))
    with pytest.raises(UsageError, match=sentence.replace("|", r"\|")):
        read_memory(table, target, load_config(settings=settings, ambient=False))


def test_labels_that_never_repeat_cannot_be_learned() -> None:
    table = _table([[f"label {i}"] for i in range(30)])
    with pytest.raises(DataError, match="same label"):
        read_memory(table, "y", load_config(ambient=False))
