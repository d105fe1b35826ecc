from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from abi.data.convert import convert
from abi.data.infer import infer_schema
from abi.data.reader import Reader
from abi.data.source import hash_file
from abi.data.table import Table
from abi.problem import DataFile, Problem, Schema, Snapshot, Split
from abi.reading import DataConfig


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str | bytes | Path], Table]:
    """Convert CSV text, bytes or a file."""

    def make(content: str | bytes | Path) -> Table:
        if isinstance(content, Path):
            path = content
        else:
            path = tmp_path / "raw.csv"
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return convert(path, tmp_path / "tables", hash_file(path).sha256)

    return make


@pytest.fixture
def reader() -> Callable[..., Reader]:
    """A reader over a table, whose schema is inferred."""

    def make(
        train: Table, target: str, test: Table | None = None, schema: Schema | None = None, **shares: float
    ) -> Reader:
        schema = schema or infer_schema(train, target, DataConfig(), test)
        split = Split(
            seed=0, validation=shares.get("validation", 0.15), test=0.0 if test else shares.get("held_out", 0.2)
        )
        file = DataFile(role="train", format="csv", md5="0", sha256="0", size_bytes=0, rows=train.rows)
        return Reader(Problem(snapshot=Snapshot(files=(file,)), schema=schema, split=split), train, test)

    return make
