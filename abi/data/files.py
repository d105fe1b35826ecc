"""Where the files of a media column lie: a folder or a ZIP archive, out of which no path leads."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final, Protocol, runtime_checkable

from abi.errors import DataError, clip

IMAGES: Final = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"}
SOUNDS: Final = {".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff"}
ENDINGS: Final = IMAGES | SOUNDS
MOST_BYTES: Final = 256 * 2**20
"""Of one file."""
MOST_RATIO: Final = 200
"""What unfolds to more than this many times its size is refused, unless it is small: a member, and the whole archive."""
SMALL_BYTES: Final = 2**20
SMALL_TOTAL: Final = 2**30
MOSTLY: Final = 0.9
"""Share of a column's values that are paths, where it is one of paths."""
_ENCRYPTED: Final = 0x1


@runtime_checkable
class Files(Protocol):
    """Files by their relative path."""

    def names(self) -> Iterator[str]:
        """All files with an ending of images or sound, sorted."""
        ...

    def read(self, name: str) -> bytes | None:
        """The file's content, or None where there is no such file.

        Raises:
            DataError: the path leads out of the folder, or the file is too large.
        """
        ...


class Folder:
    """Files in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    def names(self) -> Iterator[str]:
        """All files with an ending of images or sound, sorted; what is hidden is left out."""
        found = (p.relative_to(self.path) for p in self.path.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
        yield from sorted(p.as_posix() for p in found if _is_seen(p.as_posix()))

    def read(self, name: str) -> bytes | None:
        """The file's content, or None where there is no such file, or it may not be read."""
        path = inside(name, self.path)
        try:
            place = (self.path / path).resolve()
            if place.is_relative_to(self.path) and not place.is_file():
                return None
            size = place.stat().st_size
        except (OSError, ValueError, RuntimeError):  # no name that a file could have, or links in a circle
            return None
        if not place.is_relative_to(self.path):  # by a link
            raise _outside(name, self.path)
        if size > MOST_BYTES:
            raise _too_large(name, size)
        try:
            return place.read_bytes()
        except OSError:
            return None


class Archive:
    """Members of a ZIP archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.zip = zipfile.ZipFile(path)  # NotImplementedError: it asks for a later version of the format
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            msg = (
                f"Expected a whole ZIP archive at {path}, got: {str(error).rstrip('.')}. Copy it again from its source."
            )
            raise DataError(msg) from None
        self.members = {info.filename.replace("\\", "/"): info for info in self.zip.infolist() if not info.is_dir()}
        total, size = sum(info.file_size for info in self.members.values()), path.stat().st_size
        if total > SMALL_TOTAL + MOST_RATIO * size:
            msg = f"Expected a ZIP archive that does not unfold to more than {MOST_RATIO} times its size, got {path} with {total / 2**30:,.0f} GiB in {size / 2**20:.1f} MiB: give the files in a folder."
            raise DataError(msg)

    def names(self) -> Iterator[str]:
        """All members with an ending of images or sound, sorted; what is hidden is left out."""
        yield from sorted(n for n in self.members if PurePosixPath(n).suffix.lower() in ENDINGS and _is_seen(n))

    def read(self, name: str) -> bytes | None:
        """The member's content; nothing where it is damaged, None where there is no such member."""
        info = self.members.get(inside(name, self.path))
        if info is None:
            return None
        if info.flag_bits & _ENCRYPTED:
            msg = f"Expected files that can be read in {self.path}, got {clip(name)!r}, which has a password: unpack the archive and give the folder."
            raise DataError(msg)
        if info.file_size > MOST_BYTES or info.file_size > SMALL_BYTES + MOST_RATIO * info.compress_size:
            raise _too_large(name, info.file_size)
        try:
            with self.zip.open(info) as member:
                data = member.read(info.file_size + 1)  # a header may say less than there is
        except Exception:  # damaged content may break any of the decompressors
            return b""
        return data if len(data) <= info.file_size else b""


def is_path(text: str) -> bool:
    """Whether it ends as the name of an image or a sound does; an address on the web is none."""
    return "://" not in text and PurePosixPath(text.replace("\\", "/")).suffix.lower() in ENDINGS


def inside(name: str, place: Path) -> str:
    """The path in its plain form.

    Raises:
        DataError: it is absolute or leads upwards.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise _outside(name, place)
    return str(path)


def _is_seen(name: str) -> bool:
    return not any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _outside(name: str, place: Path) -> DataError:
    return DataError(
        f"Expected paths of files inside {place}, got {clip(name)!r}, which leads out of it: mend the path, set data.media.folder to the folder that holds all files, or set the column to ignore in data.columns."
    )


def _too_large(name: str, size: int) -> DataError:
    return DataError(
        f"Expected files of at most {MOST_BYTES // 2**20} MiB that do not unfold to more than {MOST_RATIO} times their size, got {clip(name)!r} with {size / 2**20:.0f} MiB: leave it out of the data."
    )
