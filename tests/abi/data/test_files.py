"""Folders and archives: no path leads out, and what is hostile is refused before it is unfolded."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from abi.data.files import MOST_BYTES, Archive, Folder, is_path
from abi.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "cat").mkdir(parents=True)
    (home / ".hidden").mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    for name in ("b.png", "cat/a.JPG", "cat/notes.txt", ".hidden/c.png"):
        (home / name).write_bytes(name.encode())
    return home


@pytest.fixture
def archive(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "media.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in ("b.png", "cat/a.JPG", "cat/notes.txt", ".hidden/c.png"):
            new.writestr(name, name)
        new.writestr("__MACOSX/._b.png", "no picture")
    return path


@pytest.fixture(params=["folder", "archive"])
def files(request: pytest.FixtureRequest) -> Folder | Archive:
    path = request.getfixturevalue(request.param)
    return Folder(path) if request.param == "folder" else Archive(path)


def test_names_are_those_of_media_that_are_seen(files: Folder | Archive) -> None:
    assert list(files.names()) == ["b.png", "cat/a.JPG"]


@pytest.mark.parametrize("name", ["cat/a.JPG", "./cat/a.JPG", "cat//a.JPG", "cat\\a.JPG"])
def test_a_file_by_any_spelling_of_its_path(files: Folder | Archive, name: str) -> None:
    assert files.read(name) == b"cat/a.JPG"


@pytest.mark.parametrize("name", ["none.png", "cat", "", "b.png/c.png", "x" * 300 + ".png", "nul\0.png"])
def test_what_is_not_there_is_nothing(files: Folder | Archive, name: str) -> None:
    assert files.read(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "cat/../../secret.png",
        "/etc/passwd",
        "C:/x.png",
        "C:\\x.png",
        "..\\secret.png",
        "file:///x.png",
    ],
)
def test_no_path_leads_out(files: Folder | Archive, name: str) -> None:
    with pytest.raises(DataError, match="which leads out of it: mend the path"):
        files.read(name)


def test_no_link_leads_out(folder: Path) -> None:
    (folder / "out.png").symlink_to(folder.parent / "secret.png")
    (folder / "in.png").symlink_to(folder / "b.png")
    (folder / "circle.png").symlink_to(folder / "circle.png")
    (folder / "up").symlink_to(folder.parent)
    files = Folder(folder)
    assert files.read("in.png") == b"b.png"
    assert files.read("circle.png") is None
    for name in ("out.png", "up/secret.png"):
        with pytest.raises(DataError, match="leads out"):
            files.read(name)


def test_a_pipe_is_no_file(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    assert Folder(folder).read("pipe.png") is None


def test_a_file_beyond_the_limit_is_refused_unread(folder: Path) -> None:
    with (folder / "huge.png").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(DataError, match=r"at most 256 MiB.*'huge\.png' with 256 MiB"):
        Folder(folder).read("huge.png")


def test_a_member_that_unfolds_hugely_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("a.png", bytes(50 * 2**20))
        new.writestr("small.png", bytes(1000))
    files = Archive(path)
    assert files.read("small.png") == bytes(1000)
    with pytest.raises(DataError, match=r"more than 200 times their size, got 'a\.png' with 50 MiB"):
        files.read("a.png")


def _edited(path: Path, name: str, **fields: int) -> None:
    """Change what the central directory says of a member."""
    data = bytearray(path.read_bytes())
    start = data.rindex(b"PK\1\2", 0, data.rindex(name.encode()))
    for field, value in fields.items():
        offset, kind = {"flags": (8, "<H"), "compressed": (20, "<I"), "size": (24, "<I")}[field]
        struct.pack_into(kind, data, start + offset, value)
    path.write_bytes(data)


def test_a_header_that_lies_gains_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lies.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("a.png", bytes(50 * 2**20))
    _edited(path, "a.png", size=1000)  # says that it is small
    assert Archive(path).read("a.png") == b""
    _edited(path, "a.png", size=2**31)
    with pytest.raises(
        DataError, match=r"a ZIP archive that does not unfold to more than 200 times its size.*2 GiB in 0\.0 MiB"
    ):
        Archive(path)


def test_a_member_with_a_password_is_told(archive: Path) -> None:
    _edited(archive, "cat/a.JPG", flags=1)
    with pytest.raises(DataError, match=r"'cat/a\.JPG', which has a password: unpack"):
        Archive(archive).read("cat/a.JPG")


def test_a_damaged_member_is_empty_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "hurt.zip"
    noise = np.random.default_rng(0).bytes(5000)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("a.png", noise)
        new.writestr("b.png", noise)
    data = bytearray(path.read_bytes())
    data[2000] ^= 0xFF
    path.write_bytes(data)
    assert Archive(path).read("a.png") == b""
    assert Archive(path).read("b.png") == noise


def test_half_an_archive_is_told(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(DataError, match=r"Expected a whole ZIP archive at .*media\.zip"):
        Archive(archive)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.png", True),
        ("x/y/Z.JPEG", True),
        ("x\\y.wav", True),
        ("a.txt", False),
        ("png", False),
        ("https://shop.example/a.png", False),
    ],
)
def test_what_is_a_path(text: str, expected: bool) -> None:
    assert is_path(text) == expected
