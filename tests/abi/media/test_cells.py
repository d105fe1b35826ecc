"""Files in the cells of any table."""

from __future__ import annotations

import base64

import pyarrow as pa
import pytest

from abi.errors import DataError
from abi.media.cells import contents, holds_files


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.binary(3), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary())]
)
def test_bytes_of_any_type(kind: pa.DataType) -> None:
    plain = pa.array([b"one", None, b"two"], pa.binary())
    cells = plain.dictionary_encode() if pa.types.is_dictionary(kind) else pa.array([b"one", None, b"two"], kind)
    assert contents(cells, "photo", "image").to_pylist() == [b"one", None, b"two"]


def test_structures_of_bytes_and_a_path() -> None:
    cells = pa.array([{"bytes": b"one", "path": "a.png"}, None, {"bytes": None, "path": "b.png"}])
    assert holds_files(cells.type)
    assert contents(cells, "photo", "image").to_pylist() == [b"one", None, None]
    assert not holds_files(pa.struct([("path", pa.string())]))


def test_text_is_base64_with_or_without_its_address() -> None:
    text = base64.b64encode(b"\x89PNG and more").decode()
    cells = pa.array([text, f"data:image/png;base64,{text}", f" {text[:8]}\n{text[8:]}", "", None, "NaN"])
    assert contents(cells, "photo", "image").to_pylist() == [b"\x89PNG and more"] * 3 + [None] * 3


def test_a_path_is_told_and_never_read(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(b"secret")
    with pytest.raises(DataError, match=r"Expected images in column 'photo'.*got '/.*: give what the files hold"):
        contents(pa.array([str(tmp_path / "a.png")]), "photo", "image")


def test_what_cannot_be_a_file_is_told() -> None:
    with pytest.raises(DataError, match=r"Expected sounds in column 'clip'.*got int64"):
        contents(pa.array([1, 2]), "clip", "audio")
    for nothing in (pa.nulls(2), pa.array([None, float("nan")]), pa.array([None, None], pa.int64())):
        assert contents(nothing, "clip", "audio").to_pylist() == [None, None]
