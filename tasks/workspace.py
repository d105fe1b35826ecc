"""The workspace folder: everything that ABI keeps lies under it, and every write to it goes through here.

A full, read-only or missing disk is one clear sentence; a write is there in full or not at all.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import re
import shutil
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from abi.data.scratch import scratch_file, sweep
from abi.documents import document_bytes, read_document
from abi.errors import UsageError, WorkspaceError
from abi.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL = {errno.ENOSPC, errno.EDQUOT}
CLOSED = {
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}
FOLDERS = (
    "values",
    "tables",
    "snapshots",
    "suites",
    "gx",
    "models",
    "checkpoints",
    "runs",
    "prefect",
    "mlartifacts",
    "keys",
)
_HELD: deque[Value] = deque(maxlen=4)
"""What this process has put and got last: to read a wide table's value takes seconds, to compare its bytes next to nothing."""


@dataclass(frozen=True)
class Workspace:
    """The layout of one workspace; `root` is absolute."""

    root: Path

    @classmethod
    def at(cls, root: Path) -> Workspace:
        """The workspace there, whether it has been made or not."""
        return cls(Path(os.path.realpath(Path(root).expanduser())))

    @classmethod
    def look(cls, root: Path) -> Workspace:
        """The workspace to read from: nothing is made or written.

        Raises:
            UsageError: there is no such folder.
            WorkspaceError: it is a file, or may not be looked at.
        """
        workspace = cls.at(root)
        with disk_errors(workspace.root):
            there = workspace.root.exists()
        if not there:
            msg = f"Expected a workspace at {workspace.root}, found none: `abi run` makes one, or name another with --workspace."
            raise UsageError(msg)
        return workspace if workspace.root.is_dir() else cls.open(root)

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """Make the folders where they are missing and see that they can be written.

        Raises:
            WorkspaceError: a file stands in the way, or the place is full, read-only or not ours.
        """
        workspace = cls.at(root)
        root = workspace.root
        with disk_errors(root):
            try:
                for name in FOLDERS:
                    (root / name).mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                msg = f"Expected a folder for the workspace at {root}, got a file at {error.filename}: name another folder with --workspace."
                raise WorkspaceError(msg) from None
        ignore = root / ".gitignore"
        # always written where it is missing or cannot be read back: this is also the probe for a read-only place
        workspace.write(ignore, b"*\n")
        return workspace

    @property
    def values(self) -> Path:
        """Values by id, as JSON documents."""
        return self.root / "values"

    @property
    def tables(self) -> Path:
        """Canonical Parquet tables by content."""
        return self.root / "tables"

    @property
    def snapshots(self) -> Path:
        """The DVC repository of raw data files."""
        return self.root / "snapshots"

    @property
    def dvc_remote(self) -> Path:
        """Where DVC pushes to unless a remote is configured."""
        return self.root / "dvc-remote"

    @property
    def suites(self) -> Path:
        """Expectation suites by model name, for a person to edit."""
        return self.root / "suites"

    @property
    def gx(self) -> Path:
        """Great Expectations' file context, with Data Docs."""
        return self.root / "gx"

    @property
    def models(self) -> Path:
        """Trained models by artifact hash."""
        return self.root / "models"

    @property
    def vectors(self) -> Path:
        """What pretrained encoders made of texts, by encoder."""
        return self.root / "vectors"

    @property
    def encoders(self) -> Path:
        """Encoders that were tuned for a target, by the SHA-256 of their files."""
        return self.root / "encoders"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of trainings that are under way."""
        return self.root / "checkpoints"

    @property
    def runs(self) -> Path:
        """Reports and answers of runs."""
        return self.root / "runs"

    @property
    def stages(self) -> Path:
        """Results of finished stages by key."""
        return self.root / "stages"

    @property
    def prefect(self) -> Path:
        """Prefect's home, with the results of finished stages."""
        return self.root / "prefect"

    @property
    def mlflow_db(self) -> Path:
        """MLflow's SQLite file."""
        return self.root / "mlflow.db"

    @property
    def ledger_db(self) -> Path:
        """The ledger's SQLite file."""
        return self.root / "ledger.db"

    @property
    def ledger_checkpoints(self) -> Path:
        """Signed checkpoints of the ledger, unless they are kept elsewhere."""
        return self.root / "ledger-checkpoints"

    @property
    def keys(self) -> Path:
        """Keys of the ledger and of models, unless the settings name others."""
        return self.root / "keys"

    @property
    def mlartifacts(self) -> Path:
        """MLflow's artifacts."""
        return self.root / "mlartifacts"

    def write(
        self, path: Path, data: bytes, *, private: bool = False, durable: bool = True, flag: str = "--workspace"
    ) -> None:
        """As `write_whole`."""
        write_whole(path, data, private=private, durable=durable, flag=flag)

    def put(self, value: Value) -> str:
        """Keep a value; returns its id."""
        data = document_bytes(value)
        path = self._value(value.id)
        if not path.is_file() or path.read_bytes() != data:
            self.write(path, data)
        _HELD.append(value)
        return value.id

    def get(self, value_id: str) -> Value:
        """The value of that id, its content held against the id.

        Raises:
            WorkspaceError: it is not here, or its file was changed or damaged.
        """
        path = self._value(value_id)
        held = next((value for value in tuple(_HELD) if value.id == value_id), None)
        try:
            data = path.read_bytes()
            if held is not None and data == document_bytes(held):
                return held
            value = read_document(json.loads(data))
        except FileNotFoundError:
            msg = f"Expected value {value_id} in {self.values}, found none: run the stage that makes it in this workspace."
            raise WorkspaceError(msg) from None
        except (ValueError, UsageError):
            value = None
        if value is None or value.id != value_id:
            msg = f"Expected {path} as it was written, got other content: the file is damaged; delete it and run the stage that made it again."
            raise WorkspaceError(msg)
        _HELD.append(value)
        return value

    def has(self, value_id: str) -> bool:
        """Whether the value is kept here (its content is held against the id when it is read)."""
        return self._value(value_id).is_file()

    def _value(self, value_id: str) -> Path:
        return self.values / f"{value_id}.json"

    @contextlib.contextmanager
    def lock(self, timeout_s: float = 5.0) -> Iterator[None]:
        """Hold the run lock: one run at a time in a workspace. The system lets go of it when the process dies.

        Raises:
            WorkspaceError: another run holds it for longer than `timeout_s`.
        """
        holder = self.root / "lock.json"
        lock = filelock.FileLock(self.root / "lock")
        with disk_errors(lock.lock_file):
            try:
                lock.acquire(timeout=timeout_s)
            except filelock.Timeout:
                msg = f"Expected the workspace {self.root} to be free, got {_holder(holder)} running in it: wait for it, or use another folder with --workspace."
                raise WorkspaceError(msg) from None
        try:
            started = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
            self.write(holder, json.dumps({"pid": os.getpid(), "started": started}).encode())
            self.sweep()
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def sweep(self) -> None:
        """Remove what killed processes left half-written; what others are writing stays."""
        kept = (
            self.values,
            self.tables,
            self.snapshots,
            self.suites,
            self.gx,
            self.models,
            self.checkpoints,
            self.stages,
        )
        others = (
            self.root,
            self.encoders,
            *self.vectors.glob("*"),
            *(self.root / "residuals").glob("*"),
            self.root / "devices",
            self.root / "machines",
            self.snapshots / ".dvc",
            self.keys,
            self.keys / "trusted",
            self.ledger_checkpoints,
        )
        for folder in (*kept, *others, *self.runs.iterdir()):
            sweep(folder)

    @contextlib.contextmanager
    def alone(self, what: str, timeout_s: float = 600.0) -> Iterator[None]:
        """Hold a lock on one thing in the workspace for a moment (`what` names its file)."""
        with disk_errors(self.root):
            lock = filelock.FileLock(self.root / f"{what}.lock")
            try:
                lock.acquire(timeout=timeout_s)
            except filelock.Timeout:
                msg = f"Expected {lock.lock_file} to be free within {timeout_s:.0f} s, got another process that holds it: wait for that one to end."
                raise WorkspaceError(msg) from None
        try:
            yield
        finally:
            lock.release()


def _holder(path: Path) -> str:
    try:
        plain = json.loads(path.read_bytes())
        return f"process {plain['pid']} (since {plain['started']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another run"


def write_whole(
    path: Path, data: bytes, *, private: bool = False, durable: bool = True, flag: str = "--workspace"
) -> None:
    """Put `data` at `path`, in full or not at all; a device or a pipe, as /dev/null, is written into and stays.

    Only its owner can read a `private` file. One that is not `durable` may be empty after a power failure. `flag` is what
    names the place.

    Raises:
        WorkspaceError: no space is left, or the place cannot be written.
    """
    with disk_errors(path, flag):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_char_device() or path.is_fifo():
            with path.open("wb") as file:
                file.write(data)
            return
        descriptor, new = scratch_file(path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
                new.chmod(0o600 if private else 0o644)
                new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def disk_errors(place: Path | str, flag: str = "--workspace") -> Iterator[None]:
    """Say a full or closed disk in one sentence; `flag` is what names the place.

    Raises:
        WorkspaceError: in place of the OSError.
    """
    try:
        yield
    except OSError as error:
        number = _number(error)
        if number in FULL:
            msg = f"Expected room to write {place}, got no space left: free some or use another place with {flag}."
        elif number in CLOSED:
            msg = f"Expected a place that can be written at {place}, got {os.strerror(number or 0).lower()}: change that or use another place with {flag}."
        else:
            raise
        raise WorkspaceError(msg) from error


def _number(error: OSError) -> int | None:
    """What went wrong; of many files that could not be copied, with the first one."""
    if error.errno is None and isinstance(error, shutil.Error):
        found = re.search(r"\[Errno (\d+)\]", str(error))
        return int(found.group(1)) if found else None
    return error.errno
