"""What an auditor asks of the ledger: lists, one entry whole, an export that is verified without this software."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abi.audit.entry import KINDS, Entry, Sealed
from abi.errors import UsageError, listed
from tasks.ledger_keys import public_pem
from tasks.workspace import disk_errors

if TYPE_CHECKING:
    from tasks.ledger import Ledger

VERIFIER = "verify_export.py"


def select(ledger: Ledger, kind: str | None, model: str | None, value: str | None, last: int | None) -> list[Entry]:
    """Entries of a kind, about a model, that name a value (or the beginning of its id); the last so many of them.

    Raises:
        UsageError: there is no such kind.
    """
    if kind is not None and kind not in KINDS:
        msg = f"Expected --kind as one of {listed(KINDS, len(KINDS))}, got {kind!r}."
        raise UsageError(msg)
    kinds = () if kind is None else (kind,)
    found = [e for e in ledger.entries(kinds=kinds, model=model) if value is None or _names(e, value)]  # type: ignore[arg-type]  # looked at above
    return found[-last:] if last else found


def find_entry(ledger: Ledger, which: str) -> Entry:
    """The entry with that number or operation.

    Raises:
        UsageError: there is none.
    """
    if which.isdecimal():
        for entry in ledger.entries(after=int(which) - 1):
            if entry.seq == int(which):
                return entry
            break
    else:
        entry = ledger.find(which)
        if entry is not None:
            return entry
    msg = f"Expected the number (1 to {ledger.size()}) or operation of an entry, got {which!r}: `abi audit ls` lists them."
    raise UsageError(msg)


def _names(entry: Entry, value: str) -> bool:
    held = [*entry.values.values(), entry.mlflow_run or "", entry.flow_run or "", str(entry.detail.get("artifact", ""))]
    return any(one.startswith(value) for one in held)


def export(ledger: Ledger, out: Path) -> dict[str, Any]:
    """Write the ledger as JSON lines, the public keys, and the script that verifies them, to a folder."""
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        lines, pem, script = out / "ledger.jsonl", out / "ledger.pub.pem", out / VERIFIER
        count = 0
        with lines.open("w", encoding="utf-8") as file:
            for line in _lines(ledger):
                file.write(line)
                count += 1
        pem.write_bytes(public_pem(ledger.ws))
        script.write_text((resources.files("abi.audit") / VERIFIER).read_text(encoding="utf-8"), encoding="utf-8")
    return {"lines": count, "ledger": str(lines), "public_key": str(pem), "verifier": str(script)}


def _lines(ledger: Ledger) -> Iterator[str]:
    head, checkpoints = ledger.head(), ledger.checkpoints()  # before the entries: these may only grow
    for row in ledger.sealed():
        yield _line("entry", row.sealed)
    for sealed in checkpoints:
        yield _line("checkpoint", sealed)
    yield _line("head", head)


def _line(kind: str, sealed: Sealed) -> str:
    return json.dumps({"type": kind, **vars(sealed)}, ensure_ascii=False) + "\n"
