"""Archives of arrays as tables of pictures."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from abi.data.arrays import pictures_of
from abi.errors import DataError

GREYS = np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 2, 4)
LABELS = np.array(["a", "b", "a"])


def table(path: Path, **arrays: object) -> pa.Table:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return pa.concat_tables(pictures_of(path))


def pixels(made: pa.Table) -> np.ndarray:
    return np.stack([np.asarray(Image.open(io.BytesIO(cell))) for cell in made["picture"].to_pylist()])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "p.npz"


def test_pictures_and_a_value_for_each(path: Path) -> None:
    made = table(
        path, x=GREYS, y=LABELS, age=np.array([[1.5], [np.nan], [3.0]]), name=np.array([b"k\xc3\xb6", b"", b"z"])
    )
    assert made.column_names == ["picture", "y", "age", "name"]
    assert (pixels(made) == GREYS).all()
    assert made["y"].to_pylist() == ["a", "b", "a"]
    assert made["name"].to_pylist() == ["kö", "", "z"]
    assert made["age"].to_pylist()[0] == 1.5


def test_pictures_alone_are_rows_to_predict(path: Path) -> None:
    assert table(path, x=GREYS).column_names == ["picture"]


def test_channels_may_come_first_or_be_one(path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)
    assert (pixels(table(path, x=colours, y=LABELS)) == colours).all()
    assert (pixels(table(path, x=colours.transpose(0, 3, 1, 2), y=LABELS)) == colours).all()
    assert (pixels(table(path, x=GREYS[..., None], y=LABELS)) == GREYS).all()


def test_fractions_are_taken_as_0_to_1(path: Path) -> None:
    part = np.array([[[0.0, 0.5], [1.0, 0.2]]])
    assert pixels(table(path, x=part, y=["a"])).tolist() == [[[0, 128], [255, 51]]]  # 127.5 is rounded to even
    assert pixels(table(path, x=part > 0.4, y=["a"])).tolist() == [[[0, 255], [255, 0]]]
    assert pixels(table(path, x=part * 200, y=["a"])).tolist() == [[[0, 100], [200, 40]]]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": GREYS.astype(np.uint16) * 300, "y": LABELS}, "0 to 255 in .*, got 0 to 6900: scale them first"),
        ({"x": GREYS.astype(float) - 1, "y": LABELS}, "got -1 to 22: scale them first"),
        ({"x": np.full((3, 2, 2), np.nan), "y": LABELS}, "got nan to nan"),
        ({"x": GREYS, "y": LABELS[:2]}, r"x \(3, 2, 4\) of uint8, y \(2,\) of <U1"),
        ({"x": GREYS, "z": GREYS, "y": LABELS}, r"Expected one array of pictures.*z \(3, 2, 4\)"),
        ({"x": GREYS, "y": LABELS, "w": np.zeros((3, 2))}, r"w \(3, 2\) of float64"),
        ({"y": LABELS}, "Expected one array of pictures"),
        ({"x": np.zeros((0, 4, 4, 3)), "y": LABELS[:0]}, r"Expected pictures in .*got none: .* shape \(0, 4, 4, 3\)"),
        ({"x": np.zeros((3, 4, 4, 5)), "y": LABELS}, r"1 or 3 channels in .*got shape \(3, 4, 4, 5\)"),
        ({"x": np.zeros((0, 4, 4)), "y": LABELS[:0]}, r"got none: its array has the shape \(0, 4, 4\)"),
        ({"x": GREYS.astype(complex), "y": LABELS}, "Expected pixels as numbers.*complex128"),
        (
            {"x": GREYS, "y": np.array([{}, 1, "a"], dtype=object)},
            "Expected arrays of numbers or text.*without objects",
        ),
        ({"x": GREYS, "y": LABELS.astype("S1").view("V1")}, r"y \(3,\) of \|V1"),
    ],
)
def test_what_does_not_fit_is_told(path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(DataError, match=said):
        table(path, **arrays)


def test_damage_is_told(path: Path) -> None:
    np.savez(path, x=GREYS, y=LABELS)
    data = bytearray(path.read_bytes())
    data[data.index(b"NUMPY") + 60] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"Expected arrays of numbers or text in .*p\.npz"):
        list(pictures_of(path))


def test_a_header_that_promises_terabytes_is_told(path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": (2**20, 2**12, 2**12)}
    )
    with zipfile.ZipFile(path, "w") as new:
        new.writestr("x.npy", buffer.getvalue())
    with pytest.raises(DataError, match="Expected arrays of numbers or text"):
        list(pictures_of(path))
