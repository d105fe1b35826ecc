"""What a model folder may hold."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from abi.audit import model_files
from abi.audit.model_files import copy_files, expect_plain, list_files
from abi.errors import ArtifactRefused


def _put(folder: Path, data: bytes, name: str = "file") -> None:
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    (folder / name).write_bytes(data)


def _padded(wanted: int) -> bytes:
    """Weights whose header has exactly `wanted` bytes, a multiple of eight."""
    short = save({"a": np.zeros(3, np.float32)}, metadata={"pad": ""})
    room = wanted - int.from_bytes(short[:8], "little")
    data = save({"a": np.zeros(3, np.float32)}, metadata={"pad": "x" * room})
    assert int.from_bytes(data[:8], "little") == wanted
    return data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        "Füße: 1\n".encode(),
        b"artifact_path: model\nflavors:\n",
        b"numpy==2.3.1\ntorch==2.9.0\n",
        b"from __future__ import annotations\n",
        b"import os\nN = 1\n",
        b"channels:\n- conda-forge\ndependencies:\n- python=3.11\n",
        b"(1, 2)\n",
        save({}),
        save({"a": np.arange(6, dtype=np.int64).reshape(2, 3), "b": np.zeros((0, 4)), "c": np.ones((), np.float32)}),
        _padded(0x280),  # its first two bytes are those of a pickle of protocol 2
        _padded(0x580),
    ],
)
def test_text_and_safetensors_are_plain(tmp_path: Path, data: bytes) -> None:
    _put(tmp_path, data)
    expect_plain(tmp_path, "file")


def test_the_padded_weights_do_look_like_pickles() -> None:
    assert (_padded(0x280)[:2], _padded(0x580)[:2]) == (b"\x80\x02", b"\x80\x05")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value", [None, 1, "text", [1, (2, {3: 4})], {"a": [None, True]}, OrderedDict(a=1), Path("x"), 10**30, b"\x00\xff"]
)
def test_every_protocol_is_a_pickle_and_is_not_read(
    tmp_path: Path, value: Any, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(tmp_path, pickle.dumps(value, protocol))
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.delattr(pickle, name)
    with pytest.raises(ArtifactRefused, match=r"^Expected text or safetensors at file in .*, got a pickle: save"):
        expect_plain(tmp_path, "file")


def test_a_pickle_without_end_stays_bounded(tmp_path: Path) -> None:
    _put(tmp_path, b"(" + b"I1\n" * 200_000)
    with pytest.raises(ArtifactRefused, match="got a pickle"):
        expect_plain(tmp_path, "file")


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (save({"a": np.zeros(3)}) + b"x", "other binary"),
        (save({"a": np.zeros(3)})[:-1], "other binary"),
        (save({"a": np.zeros(3)}).replace(b"[3]", b"[2]"), "other binary"),
        (save({"a": np.zeros(3)}).replace(b"F64", b"F99"), "other binary"),
        (b"text\0", "other binary"),
        (b"\xff\xfe", "other binary"),
        (b"PK\x03\x04\xff", "an archive"),
        (b"\x1f\x8b\x08\0", "a compressed file"),
        (b"\x7fELF\0", "a program"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, data: bytes, got: str) -> None:
    _put(tmp_path, data)
    with pytest.raises(ArtifactRefused, match=f"got {got}"):
        expect_plain(tmp_path, "file")


def test_a_numpy_file_of_plain_numbers_is_refused_as_well(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    _put(tmp_path, buffer.getvalue())
    with pytest.raises(ArtifactRefused, match="a NumPy file"):
        expect_plain(tmp_path, "file")


def test_files_are_listed_and_copied_by_content_alone(tmp_path: Path) -> None:
    _put(tmp_path, b"12345", "from/a/b.txt")
    _put(tmp_path, b"", "from/.c")
    (tmp_path / "from/a/b.txt").chmod(0o4777)
    assert list_files(tmp_path / "from") == {".c": 0, "a/b.txt": 5}
    copy_files(tmp_path / "from", tmp_path / "to")
    assert list_files(tmp_path / "to") == {".c": 0, "a/b.txt": 5}
    assert (tmp_path / "to/a/b.txt").stat().st_mode & 0o7111 == 0
    (tmp_path / "from" / "link").symlink_to("a")
    with pytest.raises(ArtifactRefused, match=r"at link in .*, got a symbolic link: remove it"):
        copy_files(tmp_path / "from", tmp_path / "again")


@pytest.mark.parametrize(("limit", "value"), [("MOST_FILES", 2), ("MOST_BYTES", 2)])
def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    for name in "abc":
        _put(tmp_path, b"x", name)
    list_files(tmp_path)
    monkeypatch.setattr(model_files, limit, value)
    with pytest.raises(ArtifactRefused, match=r"at c in .*, got more"):
        list_files(tmp_path)
