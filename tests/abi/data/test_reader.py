from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from abi.data import convert, delimited
from abi.data.columns import Columns
from abi.data.reader import Reader
from abi.data.table import Table
from abi.errors import DataError
from abi.problem import Role

Make = Callable[[str], Table]
ROLES: tuple[Role, ...] = ("train", "validation", "test")


def content(rows: int, first: int = 0) -> str:
    lines = (f"{i / 2},{'abcdefg'[i % 7]},{'' if i % 10 == 3 else 'ny'[i % 2]}" for i in range(first, first + rows))
    return "x,k,y\n" + "\n".join(lines) + "\n"


def plain(columns: Columns) -> list[tuple[object, ...]]:
    (codes,) = columns.categorical
    assert columns.target is not None
    named = [codes.values[code] for code in codes.codes]
    return list(
        zip(columns.row_numbers.tolist(), columns.numeric[:, 0].tolist(), named, columns.target.tolist(), strict=True)
    )


def test_every_labelled_row_has_one_role(table: Make, reader: Callable[..., Reader]) -> None:
    read = reader(table(content(1_000)), "y")
    rows = [row for role in ROLES for row in plain(read.load(role))]
    assert sorted(rows) == [(i, i / 2, "abcdefg"[i % 7], i % 2) for i in range(1_000) if i % 10 != 3]
    assert len(read.load("test")) == pytest.approx(180, abs=50)


def test_the_taught_rows_are_those_of_training_and_validation(table: Make, reader: Callable[..., Reader]) -> None:
    read = reader(table(content(1_000)), "y")
    apart = [row for role in ("train", "validation") for row in plain(read.load(role))]
    assert plain(read.load("taught")) == sorted(apart)


def test_chunks_are_what_is_loaded(table: Make, reader: Callable[..., Reader]) -> None:
    read = reader(table(content(1_000)), "y")
    for role in ROLES:
        chunks = list(read.chunks(role, chunk_rows=64))
        assert max(len(chunk) for chunk in chunks) <= 64
        assert [row for chunk in chunks for row in plain(chunk)] == plain(read.load(role))


def test_arrays_are_what_chunks_are(table: Make, reader: Callable[..., Reader]) -> None:
    read = reader(table(content(1_000)), "y")
    for found, chunk in zip(read.arrays("train", 64, range(500)), read.chunks("train", 64, range(500)), strict=True):
        assert plain(Columns(np.column_stack(found.numeric), found.categorical, found.target, found.row_numbers)) == (
            plain(chunk)
        )
        assert found.take(np.array([1, 0])).numeric[0].tolist() == chunk.numeric[[1, 0], 0].tolist()


def test_a_chunk_has_no_values_of_other_rows(
    table: Make, reader: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    # three row groups, each with a dictionary of its own, and chunks across them
    monkeypatch.setattr(convert, "GROUP_ROWS", 40)
    monkeypatch.setattr(convert, "_LEAST_ROWS", 1)
    rows = "x,k,y\n" + "".join(f"{i}.5,{'t' if i % 2 else 'f'}{i // 30},{'ny'[i % 2]}\n" for i in range(100))
    read = reader(table(rows), "y")
    for chunk in read.chunks("train", 25):
        (codes,) = chunk.categorical
        expected = [f"{'t' if i % 2 else 'f'}{i // 30}" for i in chunk.row_numbers.tolist()]
        assert [codes.values[code] for code in codes.codes] == expected
        assert codes.values == tuple(dict.fromkeys(expected))


def test_rows_of_the_sample_by_number(table: Make, reader: Callable[..., Reader]) -> None:
    read = reader(table(content(100)), "y")
    assert plain(read.picked(np.array([40, 7, 1_000]))) == [(7, 3.5, "a", 1), (40, 20.0, "f", 0)]
    named = {feature.name: feature for feature in read.problem.schema.features}
    fewer = read.of([named["k"]]).picked(np.array([7]))
    assert (fewer.numeric.shape, len(fewer.categorical)) == ((1, 0), 1)


def test_a_test_file_is_the_whole_test_role(table: Make, reader: Callable[..., Reader]) -> None:
    train = table(content(400))
    read = reader(train, "y", table("extra,y,k,x\n1,y,new,7\n2,n,a,8\n3,,a,9\n"))
    assert [row[1:] for row in plain(read.load("test"))] == [(7.0, "new", 1), (8.0, "a", 0)]
    assert len(read.load("train")) + len(read.load("validation")) == 360


def test_the_sample_keeps_roles(table: Make, reader: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "SAMPLE_ROWS", 2_100)
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 4096)
    read = reader(table(content(6_000)), "y")
    for role in ROLES:
        some, everything = plain(read.sampled().load(role)), plain(read.load(role))
        assert set(some) < set(everything)
        assert len(some) == pytest.approx(len(everything) * 2_100 / 6_000, rel=0.25)
    assert [row for chunk in read.sampled().chunks("train", 100) for row in plain(chunk)] == plain(
        read.sampled().load("train")
    )


def test_an_empty_role_says_so(table: Make, reader: Callable[..., Reader]) -> None:
    read = reader(table(content(50)), "y", validation=0.0)
    with pytest.raises(DataError, match="Expected rows for validation, got none"):
        read.load("validation")
    assert list(read.chunks("validation")) == []


def test_a_class_that_only_the_test_file_has(table: Make, reader: Callable[..., Reader]) -> None:
    schema = reader(table(content(50)), "y").problem.schema
    read = reader(table(content(50)), "y", table("x,k,y\n1,a,maybe\n"), schema)
    with pytest.raises(DataError, match=r"'maybe' \(1 row\)"):
        list(read.chunks("test"))


def test_codes_are_the_same_throughout(table: Make, reader: Callable[..., Reader], tmp_path: Path) -> None:
    lines = "".join(f"{i},k{(i * i) % 400 if i > 70_000 else i % 3},{i % 2}\n" for i in range(80_000))
    (codes,) = reader(table("x,k,y\n" + lines), "y", held_out=0.0, validation=0.0).load("train").categorical
    assert len(set(codes.values)) == len(codes.values)
    rows = np.arange(80_000)
    expected = np.where(rows > 70_000, rows * rows % 400, rows % 3)
    assert [codes.values[code] for code in codes.codes] == [f"k{i}" for i in expected]
