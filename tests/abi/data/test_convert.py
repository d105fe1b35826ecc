from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abi.data import convert as module
from abi.data import delimited
from abi.data.convert import convert
from abi.data.source import hash_file
from abi.data.table import ROW, Table, open_table
from abi.errors import AbiError, DataError, UsageError, WorkspaceError

Make = Callable[[str | bytes | Path], Table]


def naive(*parts: int) -> datetime:
    return datetime(*parts)  # noqa: DTZ001 - canonical tables hold UTC without a zone


def values(table: Table, name: str) -> list[object]:
    return [value for _, batch in table.batches([name]) for value in batch.column(0).to_pylist()]


@pytest.mark.parametrize(
    ("cells", "kind", "expected"),
    [
        (["1", "2", "?"], "integer", [1, 2, None]),
        (["1", "2.5", "NA"], "float", [1.0, 2.5, None]),
        ([" 1", "2 ", "N/A"], "integer", [1, 2, None]),
        (["00123", "12", "7"], "string", ["00123", "12", "7"]),
        (["0", "0.5", "-0.25"], "float", [0.0, 0.5, -0.25]),
        (["true", "FALSE", "null"], "boolean", [True, False, None]),
        (["yes", "no", "-"], "string", ["yes", "no", None]),
        (["1", "18446744073709551616", "3"], "float", [1.0, 2.0**64, 3.0]),
        (["1", "inf", "-Infinity"], "float", [1.0, np.inf, -np.inf]),
        (
            ["2024-01-31", "2024-02-01 10:30:00", ""],
            "timestamp",
            [naive(2024, 1, 31), naive(2024, 2, 1, 10, 30), None],
        ),
        (
            ["2024-01-31T12:00:00+02:00", "2024-01-31T12:00:00Z", "NaN"],
            "timestamp",
            [naive(2024, 1, 31, 10), naive(2024, 1, 31, 12), None],
        ),
        (["None", "NULL", "nan"], "string", [None, None, None]),
        (["a", " b ", "1"], "string", ["a", "b", "1"]),
        (["0x1F", "1", "2"], "string", ["0x1F", "1", "2"]),
    ],
)
def test_types_and_missing_values(table: Make, cells: list[str], kind: str, expected: list[object]) -> None:
    made = table("x,k\n" + "".join(f"{cell},k\n" for cell in cells))
    assert (made.column("x").type, values(made, "x")) == (kind, expected)
    assert made.column("x").nulls == expected.count(None)


@pytest.mark.parametrize(
    ("early", "late", "kind"),
    [
        ("1", "2.5", "float"),
        ("1", "a", "string"),
        ("", "3", "integer"),
        ("1", "007", "string"),
        ("true", "maybe", "string"),
    ],
)
def test_a_type_that_changes_in_a_later_block(
    table: Make, monkeypatch: pytest.MonkeyPatch, early: str, late: str, kind: str
) -> None:
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 1024)
    monkeypatch.setattr(delimited, "_BLOCK_BYTES_PER_COLUMN", 1)
    made = table("n,x\n" + "".join(f"{i},{early}\n" for i in range(2000)) + f"2000,{late}\n")
    assert made.column("x").type == kind
    assert made.rows == 2001
    assert values(made, "n") == list(range(2001))
    assert float(values(made, "x")[-1]) == float(late) if kind != "string" else values(made, "x")[-1] == late
    assert made.column("x").nulls == (2000 if early == "" else 0)


def test_profile_counts(table: Make) -> None:
    cells = ["1", "2", "2", "inf", "-inf", "5", "", "?", "8", "9", "10", "11"]
    column = table("x,k\n" + "".join(f"{cell},k\n" for cell in cells)).column("x")
    assert (column.nulls, column.non_finite, column.minimum, column.maximum, column.distinct) == (2, 2, 1.0, 11.0, 9)


def test_a_mostly_numeric_column_names_what_is_not_a_number(table: Make) -> None:
    made = table("x,y\n" + "".join(f"{'abc' if i in (6, 8) else i},{'a' if i < 3 else i}\n" for i in range(10)))
    x, y = made.profile.columns
    assert (x.type, x.not_numbers, x.example) == ("string", 2, "'abc' (row 7)")
    assert (y.type, y.not_numbers, y.example) == ("string", 0, None)  # 70% numbers only


def test_codes_with_leading_zeros_are_not_broken_numbers(table: Make) -> None:
    made = table("zip,k\n" + "".join(f"{10000 + i},1\n" for i in range(18)) + "01234,1\nK1A 0B1,1\n")
    assert made.column("zip").not_numbers == 0


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_quotes_blank_lines_and_byte_order_mark(table: Make, delimiter: str) -> None:
    text = f'\ufeff\na b{delimiter}"x{delimiter}y"\n1{delimiter}"two\nlines, ""quoted"""\n\n3{delimiter}plain\n'
    made = table(text)
    assert made.names == ("a b", f"x{delimiter}y")
    assert values(made, made.names[1]) == ['two\nlines, "quoted"', "plain"]


def test_windows_line_ends_and_no_last_line_end(table: Make) -> None:
    made = table("a,b\r\n1,2\r\n3,4")
    assert (made.names, values(made, "b")) == (("a", "b"), [2, 4])


def test_gzip_and_parquet_give_the_same_table(table: Make, tmp_path: Path) -> None:
    rows = "".join(f"{i},{i / 4},{'ab'[i % 2]},{i % 3 == 0},2024-01-{i % 28 + 1:02}\n" for i in range(500))
    text = "i,f,s,b,d\n" + rows
    plain = table(text)
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(text.encode()))
    frame = pd.read_csv(tmp_path / "raw.csv", parse_dates=["d"])
    frame.to_parquet(tmp_path / "same.parquet")
    for other in (table(packed), table(tmp_path / "same.parquet")):
        assert other.profile == plain.profile
        assert all(values(other, name) == values(plain, name) for name in plain.names)


def test_parquet_types(table: Make, tmp_path: Path) -> None:
    columns = {
        "u": pa.array([1, 2**64 - 1], pa.uint64()),
        "d": pa.array([Decimal("1.5"), None]),
        "c": pa.array(["a", "?"]).dictionary_encode(),
        "l": pa.array([[1.0], [2.0]]),
        "n": pa.array([float("nan"), 1.0]),
        "t": pa.array([naive(2024, 1, 1), None], pa.timestamp("ns", "Europe/Berlin")),
        "a": pa.array([1, 2]),
        "a.b": pa.array([3, 4]),
    }
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    made = table(tmp_path / "x.parquet")
    assert [column.type for column in made.profile.columns] == [
        "float",
        "float",
        "string",
        "other",
        "float",
        "timestamp",
        "integer",
        "integer",
    ]
    assert [column.nulls for column in made.profile.columns] == [0, 1, 1, 2, 1, 1, 0, 0]
    assert values(made, "u") == [1.0, 2.0**64]
    assert (values(made, "a"), values(made, "a.b")) == ([1, 2], [3, 4])
    assert made.column("l").example == "list<element: double>"


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (b"", DataError, "empty file"),
        (b"\n\n\n", DataError, "blank lines"),
        (b"a,b\n", DataError, "none: check"),
        (b"a,b\n\n  \n", DataError, "none: check"),
        (b"a,b,a\n1,2,3\n", DataError, "'a' more than once"),
        (b"a,,c\n1,2,3\n", DataError, "none for column 2 of 3"),
        (b"a,__row\n1,2\n", DataError, "'__row'"),
        (b"a,b\n1,2\n3\n5,6\n", DataError, r"Expected 2 values.*got 1 in row 3"),
        (b"a,b\n1,2\n3,4,5\n", DataError, r"Expected 2 values.*got 3 in row 3"),
        (b"a,b\n1,2\n3,caf\xe9\n", DataError, r"line 3 \(byte 6 of it is 0xe9\)"),
        (b"caf\xe9,b\n1,2\n", DataError, "line 1"),
        (b'a,b\n1,"2\n3,4\n5,6\n', DataError, "quotation mark"),
        (gzip.compress(b"a,b\n" + b"1,2\n" * 9999, mtime=0)[:-20], DataError, "cut off or damaged"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:9], DataError, "cut off or damaged"),
        (gzip.compress(b"", mtime=0), DataError, "empty file inside gzip"),
        (b"PAR1 and then nothing useful PAR1", DataError, "readable Parquet"),
        (b"PK\x03\x04zipped", DataError, "ZIP archive or a spreadsheet"),
        ("a,b\n1,2\n".encode("utf-16"), DataError, "UTF-16"),
        (b"\x00\x01\x02", DataError, "binary content"),
    ],
)
def test_unusable_files(table: Make, tmp_path: Path, content: bytes, error: type[AbiError], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        table(content)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("tables/*"))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found none"):
        convert(tmp_path / "no.csv", tmp_path / "tables", "0")
    with pytest.raises(UsageError, match="got the folder"):
        convert(tmp_path, tmp_path / "tables", "0")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="got a pipe at"):
        hash_file(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for unreachable in (tmp_path / "loop", tmp_path / ("a" * 300)):
        with pytest.raises(
            UsageError, match=r"Expected a readable file at .*, got: (Too many levels|File name too long)"
        ):
            hash_file(unreachable)


def test_damaged_parquet(table: Make, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": np.random.default_rng(0).normal(size=5000)}), path, write_page_checksum=True)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(DataError, match="readable Parquet"):
        table(path)
    path.write_bytes(bytes(raw)[:-100])
    with pytest.raises(DataError, match="readable Parquet"):
        table(path)


def test_a_damaged_canonical_table_is_noticed_and_made_again(table: Make, tmp_path: Path) -> None:
    made = table("x,y\n" + "".join(f"{i * 7919 % 1009},{i}\n" for i in range(3000)))
    raw = bytearray(made.path.read_bytes())
    raw[len(raw) // 3] ^= 16
    made.path.write_bytes(bytes(raw))
    with pytest.raises(WorkspaceError, match="Delete it"):
        list(made.batches())
    made.path.unlink()
    with pytest.raises(WorkspaceError, match="no such file"):
        open_table(made.path.parent, made.path.stem)
    assert values(table(tmp_path / "raw.csv"), "y") == list(range(3000))


def test_what_is_there_is_used_again(table: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = table("a,b\n1,2\n3,4\n")
    monkeypatch.setattr(module, "format_of", lambda path: pytest.fail("read again"))
    assert table(tmp_path / "raw.csv") == first == open_table(first.path.parent, first.path.stem)


def test_nothing_half_written_stays(table: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(WorkspaceError, match="No space left on device; free some space"):
        table("a,b\n1,2\n")
    assert list((tmp_path / "tables").iterdir()) == []


def test_row_groups_and_sample(table: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP_ROWS", 2_500)
    monkeypatch.setattr(module, "SAMPLE_ROWS", 3_000)
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 4096)
    made = table("x,k\n" + "".join(f"{i * 3},k\n" for i in range(10_000)))
    file = pq.ParquetFile(made.path)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [2_500] * 4
    sample = made.sample()
    numbers = sample.column(ROW).to_numpy()
    assert len(sample) == 3_000
    assert (np.diff(numbers) > 0).all()
    assert (sample.column("x").to_numpy() == numbers * 3).all()
    assert abs(numbers.mean() - 4999.5) < 4 * 10_000 / np.sqrt(12 * 3_000)
    assert [first for first, _ in made.batches(batch_rows=2_000)][:2] == [0, 2_000]


def test_the_sample_does_not_depend_on_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE_ROWS", 2_100)
    path = tmp_path / "raw.csv"
    path.write_text("x,k\n" + "".join(f"{i},k\n" for i in range(9_000)))
    samples = []
    for block in (2048, 2**20):
        monkeypatch.setattr(delimited, "_BLOCK_BYTES", block)
        samples.append(convert(path, tmp_path / str(block), hash_file(path).sha256).sample())
    assert samples[0].equals(samples[1])


def test_wide_tables_and_long_unicode_names(table: Make) -> None:
    names = ["ü" * 10_000, "名前", *(f"c{i}" for i in range(4_998))]
    row = ",".join(str(i) for i in range(5_000))
    made = table(",".join(names) + "\n" + (row + "\n") * 30)
    assert (made.names, made.rows) == (tuple(names), 30)
    assert values(made, "c4997") == [4999] * 30
    assert made.column("名前").maximum == 1.0


def test_hashes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    found = hash_file(tmp_path / "x")
    # the test vectors of RFC 1321 and FIPS 180-2
    assert found.md5 == "900150983cd24fb0d6963f7d28e17f72"
    assert found.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert found.size_bytes == 3


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(
    rows=st.lists(
        st.tuples(TEXT, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)), min_size=1, max_size=30
    )
)
def test_any_csv_that_pandas_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, float]]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    frame = pd.DataFrame(rows, columns=["text", "whole", "real"])
    frame["text"] = "x" + frame["text"] + "x"  # neither blank at the ends nor a number nor missing
    frame.to_csv(folder / "raw.csv", index=False, quoting=2)
    made = convert(folder / "raw.csv", folder, hash_file(folder / "raw.csv").sha256)
    assert values(made, "text") == frame["text"].tolist()
    assert values(made, "whole") == frame["whole"].tolist()
    assert [float(value) for value in values(made, "real")] == frame["real"].tolist()


def test_columns_that_are_asked_for_as_text_stay_as_they_are_written(table: Make, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("version,when,size\n1.10,2024-01-01 00:00:00,2\n1e3,?,3\n")
    sha256 = hash_file(file).sha256
    asked = convert(file, tmp_path, sha256, ("version", "when", "absent"))
    assert values(asked, "version") == ["1.10", "1e3"]
    assert values(asked, "when") == ["2024-01-01 00:00:00", None]
    assert values(asked, "size") == [2, 3]
    assert values(convert(file, tmp_path, sha256), "version") == [1.1, 1000.0]
    assert values(convert(file, tmp_path, sha256, ("absent", "when", "version")), "version") == ["1.10", "1e3"]
