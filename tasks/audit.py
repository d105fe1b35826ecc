"""What an auditor asks of the ledger: lists, one entry whole, an export that is verified without this software."""

from __future__ import annotations

import collections
import json
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abi.audit.entry import KINDS, Entry, Sealed
from abi.errors import UsageError, clip, listed
from tasks.ledger_keys import first_public
from tasks.workspace import disk_errors

if TYPE_CHECKING:
    from tasks.ledger import Ledger
    from tasks.ledger_whole import Whole

VERIFIER = "verify_export.py"
DIGITS = 18
"""Longer numbers are past every ledger's end, and past what a database takes."""


def select(ledger: Ledger, kind: str | None, model: str | None, value: str | None, last: int | None) -> list[Entry]:
    """Entries of a kind, about a model, that name a value (or the beginning of its id); the last so many of them.

    Raises:
        UsageError: there is no such kind, or none that could be the last.
    """
    if kind is not None and kind not in KINDS:
        msg = f"Expected --kind as one of {listed(KINDS, len(KINDS))}, got {kind!r}."
        raise UsageError(msg)
    if last is not None and last < 1:
        msg = f"Expected --last as a number from 1 on, got {last}."
        raise UsageError(msg)
    ledger.demand()
    kinds = () if kind is None else (kind,)
    found = (e for e in ledger.entries(kinds=kinds, model=model) if value is None or _names(e, value))
    return list(collections.deque(found, None if last is None else min(last, sys.maxsize)))


def find_entry(ledger: Ledger, which: str) -> Entry:
    """The entry with that number or operation.

    Raises:
        UsageError: there is none.
    """
    ledger.demand()
    number = int(which) if which.isdecimal() and len(which) <= DIGITS else None
    entry = ledger.find(which) if number is None else ledger.at(number)
    if entry is None:
        msg = f"Expected the number (1 to {ledger.size()}) or operation of an entry, got {clip(which)!r}: `abi audit ls` lists them."
        raise UsageError(msg)
    return entry


def _names(entry: Entry, value: str) -> bool:
    held = [*entry.values.values(), entry.mlflow_run or "", entry.flow_run or "", str(entry.detail.get("artifact", ""))]
    return any(one.startswith(value) for one in held)


def export(ledger: Ledger, out: Path) -> dict[str, Any]:
    """Write the ledger as JSON lines, the first public key, and the script that verifies them, to a folder."""
    lines, pem, script = out / "ledger.jsonl", out / "ledger.pub.pem", out / VERIFIER

    def write(whole: Whole) -> int:
        count = 0
        with disk_errors(out, "--out"), lines.open("w", encoding="utf-8") as file:  # within the ledger's own place
            for line in _lines(whole):
                file.write(line)
                count += 1
        return count

    ledger.demand()
    with disk_errors(out, "--out"):
        out.mkdir(parents=True, exist_ok=True)
        count = ledger.whole(write)
        pem.write_bytes(first_public(ledger))
        script.write_text((resources.files("abi.audit") / VERIFIER).read_text(encoding="utf-8"), encoding="utf-8")
    return {"lines": count, "ledger": str(lines), "public_key": str(pem), "verifier": str(script)}


def _lines(whole: Whole) -> Iterator[str]:
    for row in whole.rows:
        yield _line("entry", row.sealed)
    for sealed in whole.checkpoints:
        yield _line("checkpoint", sealed)
    if whole.head is not None:
        yield _line("head", whole.head)


def _line(kind: str, sealed: Sealed) -> str:
    return json.dumps({"type": kind, **vars(sealed)}) + "\n"
