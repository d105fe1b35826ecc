"""One transaction at the ledger's end: entries and checkpoints are sealed, chained and put there, then the head moves."""

from __future__ import annotations

import datetime
import functools
import getpass
import json
import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, func, select, update

from abi.audit.chain import CHAMPION_KINDS
from abi.audit.entry import GENESIS, Aliases, Checkpoint, Draft, Entry, Head, Kind, Sealed
from abi.audit.keys import Signer
from abi.errors import AuditBroken, LedgerError, UsageError
from tasks.ledger_tables import checkpoints, entries, head

ALIAS_KINDS: tuple[Kind, ...] = ("registration", "promotion", "rollback", "quarantine")
SEAL = ("payload", "hash", "key", "signature")
COLUMNS = ("seq", "kind", "model", "time", "operation")
LOCK = select(head).with_for_update()
FOUND = select(entries.c.seq, entries.c.payload).where(entries.c.operation == bindparam("wanted"))
NEWEST_KEY = select(func.max(entries.c.seq)).where(entries.c.model == "", entries.c.kind == "key")
NEWEST_CHECKPOINT = select(checkpoints).order_by(checkpoints.c.number.desc()).limit(1)
ADD, MOVE_HEAD, ADD_CHECKPOINT = entries.insert(), update(head), checkpoints.insert()


class KeyChanged(LedgerError):
    """The key was rotated since this process looked."""


@dataclass(frozen=True)
class Signing:
    """Who signs, the newest entry that named a key, and why this one may not append ("" where it may)."""

    signer: Signer
    seq: int
    refusal: str = ""

    def demand(self) -> None:
        """Stop where the ledger does not trust the key.

        Raises:
            UsageError: says so.
        """
        if self.refusal:
            raise UsageError(self.refusal)


class Transaction:
    """Appends follow one another by the lock on the head's row (on SQLite by its write lock)."""

    def __init__(self, connection: Connection, signing: Signing, *, every: int, actor: str | None) -> None:
        self._connection, self._signing = connection, signing
        self._every, self._actor = every, actor or _whoami()
        row = connection.execute(LOCK).mappings().one()
        self.head = read_sealed(row)
        self._began = self._at = read_head(self.head)
        self.checkpoints: list[Sealed] = []
        newest = connection.execute(NEWEST_KEY).scalar()
        if newest is not None and newest != signing.seq:
            msg = f"Expected the ledger's key as entry {signing.seq} named it, got one of entry {newest}: it was rotated meanwhile; run again."
            raise KeyChanged(msg)

    def append(self, draft: Draft) -> Entry:
        """Put one entry at the end, unless its operation is there."""
        there = find(self._connection, draft.operation)
        if there is not None:
            return there
        entry = Entry(
            **fields_of(draft),
            seq=self._at.seq + 1,
            previous=self._at.hash,
            time=_now("microseconds"),
            actor=self._actor,
        )
        sealed = self._signing.signer.seal(entry)
        columns = {name: getattr(entry, name) for name in COLUMNS}
        self._connection.execute(ADD, {**columns, **vars(sealed)})
        self._at = Head(seq=entry.seq, hash=sealed.hash, checkpoint=self._at.checkpoint)
        if entry.seq % self._every == 0:
            self.checkpoint()
        return entry

    def checkpoint(self) -> Checkpoint | None:
        """One more checkpoint, where the ledger has grown."""
        row = self._connection.execute(NEWEST_CHECKPOINT).mappings().first()
        before = None if row is None else Checkpoint.from_json(json.loads(row["payload"]))
        if self._at.seq == (before.seq if before else 0):
            return None
        made = Checkpoint(
            number=before.number + 1 if before else 1,
            previous=row["hash"] if row else GENESIS,
            seq=self._at.seq,
            hash=self._at.hash,
            time=_now("seconds"),
        )
        sealed = self._signing.signer.seal(made)
        self._connection.execute(ADD_CHECKPOINT, {"number": made.number, **vars(sealed)})
        self._at = Head(seq=self._at.seq, hash=self._at.hash, checkpoint=sealed.hash)
        self.checkpoints.append(sealed)
        return made

    def end(self) -> None:
        """Sign how far the ledger goes now."""
        if self._at is not self._began:
            self.head = self._signing.signer.seal(self._at)
            self._connection.execute(MOVE_HEAD, {"seq": self._at.seq, **vars(self.head)})


def find(connection: Connection, operation: str | None) -> Entry | None:
    """The entry of that operation."""
    if operation is None:
        return None
    row = connection.execute(FOUND, {"wanted": operation}).first()
    return None if row is None else read_entry(row.payload, row.seq)


def aliases_of(connection: Connection, model: str) -> Aliases:
    """What the model's aliases stand for."""

    def newest(kinds: Collection[str]) -> Entry | None:
        query = select(entries.c.seq, entries.c.payload).where(
            entries.c.model == model, entries.c.kind.in_(list(kinds))
        )
        row = connection.execute(query.order_by(entries.c.seq.desc()).limit(1)).first()
        return None if row is None else read_entry(row.payload, row.seq)

    last = newest(ALIAS_KINDS)
    if last is None:
        return Aliases()
    champion = newest(CHAMPION_KINDS)
    return Aliases(**last.detail["aliases"], seq=last.seq, champion_seq=champion.seq if champion is not None else 0)


def fields_of(draft: Draft) -> dict[str, Any]:
    """What a draft says, by name."""
    return {name: getattr(draft, name) for name in Draft.__dataclass_fields__}


def read_entry(payload: str, seq: int) -> Entry:
    """An entry from its stored text.

    Raises:
        AuditBroken: the text is none.
    """
    try:
        entry: Entry = Entry.from_json(json.loads(payload))
    except (ValueError, TypeError, UsageError):
        msg = f"Expected entry {seq} of the ledger as it was written, got something else: `abi audit verify` finds the first one that was changed."
        raise AuditBroken(msg, seq) from None
    return entry


def read_head(sealed: Sealed) -> Head:
    """How far the ledger goes, from the stored text.

    Raises:
        AuditBroken: the text does not say so.
    """
    try:
        found: Head = Head.from_json(json.loads(sealed.payload))
    except (ValueError, TypeError, UsageError):
        msg = "Expected the signed end of the ledger, got something else: `abi audit verify` finds the first entry that was changed."
        raise AuditBroken(msg) from None
    return found


def read_sealed(row: RowMapping) -> Sealed:
    """A stored text with its hash and signature, whatever somebody put in their place."""
    return Sealed(*(text if isinstance(text, str) else repr(text) for text in (row[name] for name in SEAL)))


@functools.cache
def _whoami() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _now(precision: str) -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec=precision).replace("+00:00", "Z")
