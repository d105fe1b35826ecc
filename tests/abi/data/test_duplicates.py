from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from abi.data.convert import convert
from abi.data.duplicates import duplicate_share, overlap_share, row_hashes
from abi.data.table import Table


def table(folder: Path, name: str, text: str) -> Table:
    (folder / name).write_text(text)
    return convert(folder / name, folder / "tables", name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tables").mkdir()
    return tmp_path


def test_shares_by_hand(folder: Path) -> None:
    train = table(folder, "train", "a,b,c\n1,x,p\n1,x,q\n2,,r\n2,,s\n3,y,t\n")
    test = table(folder, "test", "c,b,a\nz,x,1.0\nz,,2\nz,y,4\nz,Y,3\n")
    rows, others = row_hashes(train, ["a", "b"]), row_hashes(test, ["a", "b"])
    assert rows[0] == rows[1]
    assert rows[2] == rows[3]
    assert len(set(rows.tolist())) == 3
    assert duplicate_share(rows) == pytest.approx(2 / 5)
    assert duplicate_share(row_hashes(train, ["a", "b", "c"])) == 0
    # (1, x) and (2, missing) stand in both; 1 and 1.0 are the same number; Y is not y
    assert overlap_share(others, rows) == pytest.approx(2 / 4)


def test_columns_do_not_stand_for_each_other(folder: Path) -> None:
    swapped = table(folder, "swapped", "a,b\nx,y\ny,x\nx,\n,x\n")
    assert len(set(row_hashes(swapped, ["a", "b"]).tolist())) == 4


def test_a_row_hashes_equally_wherever_it_stands(folder: Path) -> None:
    lines = [f"{i % 977},v{i % 31}" for i in range(70_000)]  # more than one batch
    forward = table(folder, "forward", "\n".join(["a,b", *lines]) + "\n")
    backward = table(folder, "backward", "\n".join(["a,b", *lines[::-1]]) + "\n")
    one, two = row_hashes(forward, ["a", "b"]), row_hashes(backward, ["a", "b"])
    np.testing.assert_array_equal(one, two[::-1])
    assert duplicate_share(one) == pytest.approx(1 - 977 * 31 / 70_000)


def test_whole_numbers_beyond_those_of_floats_are_told_apart(folder: Path) -> None:
    signed = 2**60 + np.arange(300)
    whole = table(folder, "whole", "\n".join(["a", *map(str, signed), *map(str, -signed)]) + "\n")
    assert duplicate_share(row_hashes(whole, ["a"])) == 0
