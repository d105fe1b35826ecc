"""What a model folder may hold: plain text and safetensors in regular files. Nothing is deserialised to find that out.

Other content is refused whoever signed it, since the formats that run code when they are read (pickle in all its
wrappings, compiled Python, archives of these) are neither text nor safetensors.
"""

from __future__ import annotations

import codecs
import json
import os
import pickletools
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from abi.errors import ArtifactRefused, clip
from abi.units import show_bytes

MOST_FILES: Final = 10_000
MOST_LEVELS: Final = 32
MOST_BYTES: Final = 16 * 2**30
"""Of one folder, by the sizes that the file system tells: a sparse file counts in full and is never read."""
SUFFIXES: Final = frozenset(
    [
        ".pkl",
        ".pickle",
        ".p",
        ".pt",
        ".pt2",
        ".pth",
        ".ckpt",
        ".joblib",
        ".cloudpickle",
        ".cpkl",
        ".dill",
        ".npy",
        ".npz",
        ".pyc",
        ".pyo",
        ".mar",
        ".h5",
        ".keras",
    ]
)
"""Names that readers take for pickled or executable content, whatever the file holds."""
WORDS: Final = ("cloudpickle", "pickle", "joblib")
_BLOCK: Final = 2**20
_HEADER_BYTES: Final = 100_000_000
_OPCODES: Final = 100_000
_WIDTHS: Final = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "U16": 2,
    "F32": 4,
    "I32": 4,
    "U32": 4,
    "F64": 8,
    "I64": 8,
    "U64": 8,
}
"""Bytes of one number, by safetensors' name of its type."""


def list_files(folder: Path) -> dict[str, int]:
    """Every file of the folder with its size in bytes, by its path in the folder; no link is followed, nothing read.

    Raises:
        ArtifactRefused: there is a link, pipe, socket or device, a file with a second name, an empty folder, an odd
            name, or more than the limits above.
    """
    if folder.is_symlink() or not folder.is_dir():
        msg = f"Expected a model folder at {folder}, got {'a link' if folder.is_symlink() else 'none'}: restore the folder or train the model again."
        raise ArtifactRefused(msg)
    files: dict[str, int] = {}
    total = 0
    for name, size in _walk(folder, "", 0):
        files[name] = size
        total += size
        if len(files) > MOST_FILES or total > MOST_BYTES:
            raise _refused(
                folder, name, f"at most {MOST_FILES:,} files and {show_bytes(MOST_BYTES)}", "more", "remove it"
            )
    return files


def _walk(folder: Path, inside: str, level: int) -> Iterator[tuple[str, int]]:
    try:
        entries = sorted(os.scandir(folder / inside), key=lambda entry: entry.name)
    except OSError as error:
        raise _refused(folder, inside or ".", "a folder that can be read", error.strerror, "restore it") from None
    if not entries or level > MOST_LEVELS:
        got = f"more than {MOST_LEVELS} levels of folders" if entries else "an empty folder"
        raise _refused(folder, inside or ".", "folders with files in them", got, "remove it")
    for entry in entries:
        name = f"{inside}/{entry.name}" if inside else entry.name
        if not entry.name.isprintable() or "\\" in entry.name:
            raise _refused(folder, ascii(name), "a printable name", "another", "remove it")
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            yield from _walk(folder, name, level + 1)
        elif not stat.S_ISREG(found.st_mode):
            raise _refused(
                folder, name, "a regular file", _KINDS.get(stat.S_IFMT(found.st_mode), "another"), "remove it"
            )
        elif found.st_nlink > 1:
            raise _refused(folder, name, "a file with one name", f"{found.st_nlink} hard links", "copy the folder")
        else:
            yield name, found.st_size


def copy_files(source: Path, target: Path) -> None:
    """Copy a folder to a place that does not exist yet, file by file and by nothing but their content.

    Raises:
        ArtifactRefused: as `list_files`.
    """
    for name, size in list_files(source).items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with open_regular(source, name) as file, place.open("xb") as copy:
            left = size
            while left > 0 and (block := file.read(min(_BLOCK, left))):
                copy.write(block)
                left -= len(block)


def open_regular(folder: Path, name: str) -> BufferedReader:
    """Open a file of the folder to read, never through a link, never waiting for a pipe.

    Raises:
        ArtifactRefused: it cannot be opened so.
    """
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(folder, name, "a file that can be read", error.strerror, "restore it") from None
    return os.fdopen(descriptor, "rb")


def expect_plain(folder: Path, name: str) -> None:
    """See that a file is safetensors or text, and that nothing could unpickle it.

    Raises:
        ArtifactRefused: it is something else.
    """
    path = Path(name)
    if SUFFIXES & {suffix.lower() for suffix in path.suffixes} or any(word in path.name.lower() for word in WORDS):
        raise _refused(folder, name, "text or safetensors", "the name of a pickled or compiled file", _REMEDY)
    with open_regular(folder, name) as file:
        size = os.fstat(file.fileno()).st_size
        if _is_safetensors(file, size):
            return
        file.seek(0)
        text = _is_text(file, size)
        file.seek(0)
        head = file.read(8)
        file.seek(0)
        what = "a pickle" if _is_pickle(file) else None
    if what is None and not text:
        what = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "other binary content")
    if what is not None:
        raise _refused(folder, name, "text or safetensors", what, _REMEDY)


def _is_safetensors(file: BufferedReader, size: int) -> bool:
    """Whether the header describes exactly the bytes that follow: no gap, no overlap, nothing after the last tensor."""
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(_HEADER_BYTES, size - 8):  # noqa: PLR2004 - {}
        return False
    try:
        header = json.loads(file.read(length))
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        ends = 0
        for begin, end, count in sorted((*entry["data_offsets"], _tensor_bytes(entry)) for entry in tensors):
            if begin != ends or end - begin != count:
                return False
            ends = end
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    return bool(ends == size - 8 - length)


def _tensor_bytes(entry: dict[str, Any]) -> int:
    count = _WIDTHS[entry["dtype"]]
    for side in entry["shape"]:
        count *= range(side).stop if side >= 0 else -1  # whole numbers alone
    return count


def _is_text(file: BufferedReader, size: int) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    left = size
    try:
        while left > 0:
            block = file.read(min(_BLOCK, left))
            left -= len(block)
            if b"\0" in block or not block:
                return False
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _is_pickle(file: BufferedReader) -> bool:
    """Whether it reads as a pickle of the old text protocol: its opcodes are listed with their stack, never run."""
    stack: list[bool] = []  # True: a mark
    marks = seen = 0
    try:
        for opcode, _, _ in pickletools.genops(file):
            seen += 1
            if opcode.name == "STOP" or seen > _OPCODES:
                return bool(stack)
            needed = len(opcode.stack_before)
            if pickletools.markobject in opcode.stack_before:
                if not marks:
                    return False
                marks -= 1
                while not stack.pop():
                    pass
                needed = opcode.stack_before.index(pickletools.markobject)
            if needed > len(stack):
                return False
            marks -= sum(stack[len(stack) - needed :])
            del stack[len(stack) - needed :]
            stack += [item is pickletools.markobject for item in opcode.stack_after]
            marks += opcode.stack_after.count(pickletools.markobject)
    except Exception:
        return False
    return False


def _refused(folder: Path, name: str, expected: str, got: object, remedy: str) -> ArtifactRefused:
    return ArtifactRefused(f"Expected {expected} at {clip(name, 120)} in {folder}, got {got}: {remedy}.")


_REMEDY: Final = "save the model without pickle, or train it again"
_KINDS: Final = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_MAGIC: Final = {
    **{bytes([0x80, protocol]): "a pickle" for protocol in range(6)},
    b"PK": "an archive, which may hold pickles",
    b"\x93NUMPY": "a NumPy file, which may hold pickles",
    b"\x1f\x8b": "a compressed file",
    b"BZh": "a compressed file",
    b"\xfd7zXZ": "a compressed file",
    b"\x78": "a compressed file",
    b"\x7fELF": "a program",
}
