"""Checkpoints outside the database: small signed files, best on another disk or machine.

Who can change the database cannot take back what these say. A copy that could not be written is told and made up for by
the next one; the decision itself stands.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from abi.audit.entry import Sealed
from abi.errors import AuditBroken, WorkspaceError
from tasks.progress import say
from tasks.workspace import disk_errors

if TYPE_CHECKING:
    from tasks.workspace import Workspace

HEAD, LOCK = "head.json", "head.lock"
HEAD_BYTES = 1024
WAIT_S, POLL_S = 10.0, 0.002


def keep(ws: Workspace, folder: Path, head: Sealed, checkpoints: Sequence[Sealed]) -> None:
    """Write new checkpoints, and the head over the one before."""
    try:
        for sealed in checkpoints:
            number = json.loads(sealed.payload)["number"]
            ws.write(folder / f"checkpoint-{number:08d}.json", _bytes(sealed))
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(folder / LOCK, timeout=WAIT_S, poll_interval=POLL_S):
                _move_head(folder / HEAD, head)
    except (WorkspaceError, OSError) as error:
        say(f"ledger    a checkpoint was not kept in {folder}: {error}")


def _move_head(path: Path, head: Sealed) -> None:
    """Forward only, whoever comes last; in place, since each append does it: a power failure may lose the last ones."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        before = os.read(descriptor, HEAD_BYTES)
        if _seq(before) < _seq(_bytes(head)):
            os.pwrite(descriptor, _bytes(head).ljust(HEAD_BYTES), 0)
    finally:
        os.close(descriptor)


def _seq(data: bytes) -> int:
    try:
        return int(json.loads(json.loads(data)["payload"])["seq"])
    except (ValueError, TypeError, KeyError):
        return -1


def read_kept(folder: Path) -> list[Sealed]:
    """All that was kept there.

    Raises:
        AuditBroken: a file is no checkpoint.
    """
    kept = []
    for path in sorted(folder.glob("*.json")):
        with disk_errors(path):
            data = path.read_bytes()
        if path.name == HEAD and not data.strip(b"\0"):  # a power failure; as good as none
            continue
        try:
            found = json.loads(data)
            kept.append(Sealed(*(str(found[name]) for name in Sealed.__dataclass_fields__)))
        except (ValueError, TypeError, KeyError):
            msg = f"Expected a signed checkpoint in {path}, got something else: restore it from where else it was kept."
            raise AuditBroken(msg) from None
    return kept


def _bytes(sealed: Sealed) -> bytes:
    return json.dumps(vars(sealed)).encode()
