"""The target as axes, by which it is decided whether training may mirror pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from abi.config import Config
from abi.data.memory import read_memory
from abi.data.mirrors import _axes


def test_classes_that_no_sampled_row_has_take_no_memory() -> None:
    reader = read_memory(pa.table({"x": range(60), "y": ["a", "b"] * 30}), "y", Config())
    schema = replace(reader.problem.schema, classes=tuple(map(str, range(30_000))))
    rows = replace(reader.load("train").take(np.arange(3)), target=np.array([7, 7, 29_999]))
    assert _axes(schema, rows).tolist() == [[1, 0], [1, 0], [0, 1]]
