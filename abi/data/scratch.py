"""Files and folders under way: each is locked by who writes it, so that what a killed process left can be told and removed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = ".abi-"


def scratch_file(folder: Path) -> tuple[int, Path]:
    """A new file in `folder`, open for writing and held until it is closed; only its owner can read it."""
    while True:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=PREFIX, suffix=".tmp")
        _hold(descriptor)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)  # swept away in the moment before it was held


@contextlib.contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A new folder in `folder`, held while the ``with`` block runs, then removed; only its owner can enter it."""
    while True:
        made = Path(tempfile.mkdtemp(dir=folder, prefix=PREFIX))
        try:
            descriptor = os.open(made, os.O_RDONLY)
        except FileNotFoundError:  # swept away in the moment before it was held
            continue
        _hold(descriptor)
        if made.is_dir():
            break
        os.close(descriptor)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(descriptor)


def sweep(folder: Path) -> list[Path]:
    """Remove what killed processes left in `folder`; what is held stays."""
    removed = []
    for path in folder.glob(f"{PREFIX}*"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:  # gone already, or not ours
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            removed.append(path)
        except OSError:  # somebody is at work on it
            pass
        finally:
            os.close(descriptor)
    return removed


def _hold(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # where a file system has no locks, nothing is swept there either
        fcntl.flock(descriptor, fcntl.LOCK_EX)
