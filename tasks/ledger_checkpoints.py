"""Checkpoints outside the database: small signed files, best on another disk or machine.

Who can change the database cannot take back what these say. A copy that could not be written is told and made up for by
the next one; the decision itself stands.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from abi.audit.entry import Sealed
from abi.errors import AuditBroken, WorkspaceError
from tasks.progress import say

if TYPE_CHECKING:
    from tasks.workspace import Workspace

HEAD = "head.json"


def keep(ws: Workspace, folder: Path, head: Sealed | None, checkpoints: Sequence[Sealed]) -> None:
    """Write new checkpoints, and the head in place of the one before."""
    try:
        for sealed in checkpoints:
            number = json.loads(sealed.payload)["number"]
            ws.write(folder / f"checkpoint-{number:08d}.json", _bytes(sealed))
        if head is not None:
            ws.write(folder / HEAD, _bytes(head), durable=False)  # each append writes it: the last ones may be lost
    except WorkspaceError as error:
        say(f"ledger    a checkpoint was not kept in {folder}: {error}")


def read_kept(folder: Path) -> list[Sealed]:
    """All that was kept there.

    Raises:
        AuditBroken: a file is no checkpoint.
    """
    kept = []
    for path in sorted(folder.glob("*.json")):
        data = path.read_bytes()
        if path.name == HEAD and not data:  # a power failure; as good as none
            continue
        try:
            kept.append(Sealed(**json.loads(data)))
        except (ValueError, TypeError):
            msg = f"Expected a signed checkpoint in {path}, got something else: restore it from where else it was kept."
            raise AuditBroken(msg) from None
    return kept


def _bytes(sealed: Sealed) -> bytes:
    return json.dumps(vars(sealed)).encode()
