"""What has files beside it becomes one table."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import abi.data.pack as module
from abi.data.pack import packed, told_as
from abi.errors import DataError, UsageError
from abi.reading import DataConfig


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A table of ten rows, and the pictures in a folder beside it."""
    home = tmp_path / "data"
    (home / "pics").mkdir(parents=True)
    for i in range(10):
        (home / "pics" / f"{i}.png").write_bytes(png(i))
    table = pd.DataFrame({"photo": [f"pics/{i}.png" for i in range(10)], "n": range(10), "y": list("ab") * 5})
    table.to_csv(home / "t.csv", index=False)
    return home


def made(path: Path, tmp_path: Path, **settings: object) -> pa.Table:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    found = packed(path, DataConfig(**settings), scratch)  # type: ignore[arg-type]
    assert found.parent == scratch
    return pq.read_table(found)


def expected() -> list[bytes]:
    return [png(i) for i in range(10)]


def test_files_beside_a_table(data: Path, tmp_path: Path) -> None:
    table = made(data / "t.csv", tmp_path)
    assert table["photo"].to_pylist() == expected()
    assert table["n"].to_pylist() == list(range(10))
    assert table.schema.field("n").type == pa.int64()


@pytest.mark.parametrize("place", ["media", "elsewhere"])
def test_files_in_a_folder_or_archive_of_their_own(data: Path, tmp_path: Path, place: str) -> None:
    (data / place).mkdir()
    (data / "pics").rename(data / place / "pics")
    settings = {} if place == "media" else {"media": {"folder": data / place}}
    assert made(data / "t.csv", tmp_path, **settings)["photo"].to_pylist() == expected()
    with zipfile.ZipFile(data / "media.zip", "w") as new:
        for file in sorted((data / place).rglob("*.png")):
            new.write(file, file.relative_to(data / place))
    for file in (data / place).rglob("*.png"):
        file.unlink()
    settings = {"media": {"folder": data / "media.zip"}} if settings else {}
    assert made(data / "t.csv", tmp_path, **settings)["photo"].to_pylist() == expected()


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_paths_in_parquet_of_any_type_of_text(data: Path, tmp_path: Path, kind: pa.DataType) -> None:
    names = pa.array([f"pics/{i}.png" for i in range(10)])
    cells = names.dictionary_encode() if pa.types.is_dictionary(kind) else names.cast(kind)
    pq.write_table(pa.table({"photo": cells, "y": list("ab") * 5}), data / "t.parquet")
    assert made(data / "t.parquet", tmp_path)["photo"].to_pylist() == expected()


def test_a_file_that_is_lacking_is_empty_and_a_cell_without_a_path_is_missing(data: Path, tmp_path: Path) -> None:
    (data / "pics" / "3.png").unlink()
    text = (data / "t.csv").read_text().replace("pics/5.png", "")
    (data / "t.csv").write_text(text)
    found = made(data / "t.csv", tmp_path)["photo"].to_pylist()
    assert (found[3], found[5]) == (b"", None)


def test_rows_are_cut_where_files_are_large(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BYTES", 3 * len(png(0)))
    table = made(data / "t.csv", tmp_path)
    assert table["photo"].to_pylist() == expected()
    assert table["n"].to_pylist() == list(range(10))
    assert pq.ParquetFile(tmp_path / "scratch" / "packed.parquet").metadata.num_row_groups == 4


def test_a_plain_table_is_itself(data: Path, tmp_path: Path) -> None:
    plain = data / "plain.csv"
    pd.read_csv(data / "t.csv").drop(columns="photo").to_csv(plain, index=False)
    web = data / "web.csv"
    pd.DataFrame({"photo": [f"https://shop.example/{i}.png" for i in range(10)], "y": list("ab") * 5}).to_csv(
        web, index=False
    )
    nobody = data / "nobody.csv"
    pd.DataFrame({"photo": [f"gone/{i}.png" for i in range(10)], "y": list("ab") * 5}).to_csv(nobody, index=False)
    for path in (plain, web, nobody, data / "none.csv"):
        assert packed(path, DataConfig(), tmp_path) == path


def test_a_column_whose_kind_is_set_stays_text(data: Path, tmp_path: Path) -> None:
    path = data / "t.csv"
    assert packed(path, DataConfig(columns={"photo": "ignore"}), tmp_path) == path


def test_a_path_that_leads_out_names_its_row(data: Path, tmp_path: Path) -> None:
    path = data / "t.csv"
    path.write_text(path.read_text().replace("pics/7.png", "../7.png"))
    with pytest.raises(DataError, match=r"Row 8, column 'photo': Expected paths of files inside .*'\.\./7\.png'"):
        made(path, tmp_path)


def test_a_folder_that_is_set_must_hold_the_files(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.media\.folder, got .*none, which does not exist"):
        made(data / "t.csv", tmp_path, media={"folder": data / "none"})
    with pytest.raises(DataError, match=r"column 'photo' names in .*, found none of the first ones"):
        made(data / "t.csv", tmp_path, media={"folder": data / "pics"})


def test_a_folder_per_class(tmp_path: Path) -> None:
    for i in range(6):
        place = tmp_path / "many" / "train" / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i}.png").write_bytes(png(i))
    (tmp_path / "many" / "readme.png").write_bytes(png(0))  # in no class
    table = made(tmp_path / "many", tmp_path)
    assert table["label"].to_pylist() == ["a"] * 3 + ["b"] * 3
    assert table["file"].to_pylist() == [png(i) for i in (0, 2, 4, 1, 3, 5)]
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as new:
        for file in (tmp_path / "many").rglob("*.png"):
            new.write(file, file.relative_to(tmp_path / "many"))
    assert made(tmp_path / "many.zip", tmp_path).equals(table)


def test_the_same_files_give_the_same_bytes(data: Path, tmp_path: Path) -> None:
    first, second = (packed(data / "t.csv", DataConfig(), tmp_path, name).read_bytes() for name in "ab")
    assert first == second


def test_nothing_to_learn_from_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    (tmp_path / "half.zip").write_bytes(b"PK\3\4" + bytes(60))
    for name, said in (
        ("empty", "a folder per class"),
        ("empty.zip", "a folder per class"),
        ("half.zip", "a whole ZIP"),
    ):
        with pytest.raises(DataError, match=f"Expected {said}.*{name}"):
            packed(tmp_path / name, DataConfig(), tmp_path)


def test_what_is_meant_is_told_by_the_endings(data: Path, tmp_path: Path) -> None:
    for i in range(10):
        (data / "pics" / f"{i}.wav").write_bytes(b"no sound")
    (data / "s.csv").write_text((data / "t.csv").read_text().replace(".png", ".wav"))
    assert made(data / "s.csv", tmp_path).schema.field("photo").metadata == {b"abi.medium": b"audio"}
    assert made(data / "t.csv", tmp_path).schema.field("photo").metadata == {b"abi.medium": b"image"}


def test_what_is_said_of_a_table_made_here_is_said_of_the_users() -> None:
    error = DataError("Expected rows in /scratch/0.parquet, found none.")
    with pytest.raises(DataError, match=r"^Expected rows in shop\.zip, found none\.$"):  # noqa: SIM117 - one raises the other
        with told_as(Path("/scratch/0.parquet"), Path("shop.zip")):
            raise error
