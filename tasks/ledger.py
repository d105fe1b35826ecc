"""The ledger: decisions in SQL (SQLite or PostgreSQL, one code path), appended in one order, each signed, none changed.

What a transaction appends is there in full or not at all, and an operation has one entry, however often it is asked for.
"""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, inspect, select

from abi.audit.chain import CHAMPION_KINDS, Verified, verify
from abi.audit.entry import GENESIS, Aliases, Checkpoint, Draft, Entry, Head, Kind
from abi.errors import AuditBroken, LedgerError, PromotionConflict, UsageError, clip
from tasks.ledger_checkpoints import keep, read_kept
from tasks.ledger_database import Database
from tasks.ledger_keys import FIRST_PUBLIC, find_signer, settle, trusted_keys
from tasks.ledger_lease import Lease
from tasks.ledger_tables import OPERATION_LENGTH, checkpoints, entries, head, metadata
from tasks.ledger_transaction import (
    KeyChanged,
    Signing,
    Transaction,
    aliases_of,
    fields_of,
    find,
    read_entry,
)
from tasks.ledger_whole import FETCHED, Whole, read_whole
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from abi.operations import AuditConfig

T = TypeVar("T")
LARGEST = 2**63 - 1
ADVISORY = 0x41424921
UNREADABLE = ("malformed", "not a database")
TABLES = entries, checkpoints, head


@dataclass(eq=False)
class Ledger:
    """An open ledger; safe to use from several threads and processes."""

    ws: Workspace
    config: AuditConfig
    database: Database
    signing: Signing | None = None
    """None where it is only looked at."""

    @classmethod
    def open(cls, ws: Workspace, config: AuditConfig) -> Ledger:
        """Connect, and make tables and key where there are none. Appending, not reading, needs a key that is trusted.

        Raises:
            AuditBroken: there is none, though this workspace has had one.
            LedgerError: the database does not answer, or refuses.
            UsageError: the URL or the key cannot be used.
        """
        ledger = cls.look(ws, config)
        try:
            ledger.begun()
            ledger._create(Signing(find_signer(ws, config), 1))
            ledger.signing = settle(ledger)
        except BaseException:
            ledger.engine.dispose()
            raise
        return ledger

    @classmethod
    def look(cls, ws: Workspace, config: AuditConfig) -> Ledger:
        """Connect to read: without the private key, and whatever state the ledger is in.

        Raises:
            UsageError: the URL cannot be used.
        """
        return cls(ws, config, Database.open(config.url or f"sqlite:///{ws.ledger_db}", config.patience))

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's."""
        return self.database.engine

    @functools.cached_property
    def id(self) -> str:
        """What tells it from other ledgers, whoever opens it: its first entry says so."""
        first = self.at(1)
        if first is None:
            msg = f"Expected the ledger at {self.database.place} to begin with a key, found none: `abi audit verify` says what is missing."
            raise AuditBroken(msg, 1)
        return str(first.detail.get("ledger") or first.detail["id"])

    def append(self, *drafts: Draft) -> tuple[Entry, ...]:
        """Enter decisions, in one transaction; one whose operation is there is answered with the entry that is.

        Raises:
            LedgerError: the database does not answer, or refuses; nothing was entered then.
        """
        named = [_named(draft) for draft in drafts]
        return self._write(lambda _, at: at.append(*named))

    def change(self, draft: Draft, decide: Callable[[Aliases], Aliases], *, expected: int | None = None) -> Entry:
        """Enter a decision that sets a model's aliases, in one transaction with looking at them (compare and set).

        A checkpoint is made with it.

        Args:
            draft: the decision; the aliases are added to its detail.
            decide: aliases as they are -> as they shall be.
            expected: the entry that set the champion when the decision was made; None decides on whatever is.

        Raises:
            PromotionConflict: another decision has set the champion since.
        """
        named = _named(draft)

        def write(connection: Connection, at: Transaction) -> Entry:
            there = find(connection, named.operation)
            if there is not None:
                return there
            now = aliases_of(connection, named.model)
            if expected is not None and now.champion_seq != expected:
                msg = f"Expected the champion of {named.model!r} as entry {expected or 'none'} set it, got entry {now.champion_seq} (champion {now.champion}): another promotion came first; look at it and decide again."
                raise PromotionConflict(msg, expected, now.champion_seq)
            then = decide(now)
            detail: dict[str, Any] = {**named.detail, "aliases": _plain(then)}
            if named.kind in CHAMPION_KINDS:
                detail["replaces"] = now.champion_seq
            (entry,) = at.append(Draft(**{**fields_of(named), "detail": detail}))
            at.checkpoint()
            return entry

        return self._write(write)

    def enter_key(self, draft: Draft) -> Entry:
        """Enter a new key, signed by the present one.

        Raises:
            KeyChanged: another one was entered since this ledger was opened.
        """
        (entry,) = self._write(lambda _, at: at.append(draft), again=False)
        return entry

    def find(self, operation: str) -> Entry | None:
        """The entry of that operation."""
        return self.database.read(lambda c: find(c, operation))

    def at(self, seq: int) -> Entry | None:
        """The entry of that number."""
        query = select(entries.c.seq, entries.c.payload).where(entries.c.seq == min(seq, LARGEST))
        row = self.database.read(lambda c: c.execute(query).first())
        return None if row is None else read_entry(row.payload, row.seq)

    def last(self, kind: Kind, model: str) -> Entry | None:
        """The newest entry of a kind about a model."""
        query = select(entries.c.seq, entries.c.payload).where(entries.c.model == model, entries.c.kind == kind)
        row = self.database.read(lambda c: c.execute(query.order_by(entries.c.seq.desc()).limit(1)).first())
        return None if row is None else read_entry(row.payload, row.seq)

    def entries(self, *, kinds: Collection[str] = (), model: str | None = None, after: int = 0) -> Iterator[Entry]:
        """Entries in order."""
        query = select(entries.c.seq, entries.c.payload)
        if kinds:
            query = query.where(entries.c.kind.in_(kinds))
        if model is not None:
            query = query.where(entries.c.model == model)
        while True:
            page = query.where(entries.c.seq > after).order_by(entries.c.seq).limit(FETCHED)
            rows = self.database.read(lambda c, page=page: c.execute(page).all())  # type: ignore[misc]
            for row in rows:
                yield read_entry(row.payload, row.seq)
            if len(rows) < FETCHED:
                return
            after = rows[-1].seq

    def models(self) -> list[str]:
        """Models that there are entries about."""
        found = self.database.read(lambda c: c.execute(select(entries.c.model).distinct()).scalars().all())
        return sorted(name for name in found if name)

    def aliases(self, model: str) -> Aliases:
        """What the model's aliases stand for now."""
        return self.database.read(lambda c: aliases_of(c, model))

    def size(self) -> int:
        """How many entries there are."""
        return self.database.read(lambda c: int(c.execute(select(head.c.seq)).scalar_one()))

    def checkpoint(self) -> Checkpoint | None:
        """Sign how far the ledger goes, for good; None where the last checkpoint says so already."""
        return self._write(lambda _, at: at.checkpoint())

    def whole(self, work: Callable[[Whole], T]) -> T:
        """Do something with all that is stored; it may be done again where the database went away in between."""
        self.demand()
        return self.database.read(lambda connection: work(read_whole(connection)))

    def verify(self, keys: tuple[Path, ...] = (), kept: Path | None = None) -> Verified:
        """Hold every entry against hashes, signatures and checkpoints, those kept elsewhere too.

        Args:
            keys: files of the public keys to trust; those of settings and workspace where none is named.
            kept: folder of kept checkpoints; that of the settings where None.

        Raises:
            AuditBroken: names the first entry that is not as it was written.
        """
        marks = read_kept(kept or self.place)  # first, so that none is newer than the entries
        if kept is not None and not marks:
            msg = f"Expected checkpoints that were kept in {kept}, found none: name their folder with --checkpoints."
            raise UsageError(msg)
        if not marks:
            self.demand()
        trusted = trusted_keys(self.ws, keys)
        try:
            self._demand_tables()
            if not self.exists():
                return verify((), trusted, head=None, kept=marks)
            found = self.whole(
                lambda now: verify(now.rows, trusted, head=now.head, checkpoints=now.checkpoints, kept=marks)
            )
            self._check_file()
        except LedgerError as error:
            if not any(words in str(error) for words in UNREADABLE):
                raise
            msg = f"Expected the ledger's file {self.database.place} as it was written, got one that SQLite cannot read: restore it from a backup."
            raise AuditBroken(msg) from error
        return found

    def _check_file(self) -> None:
        """See that SQLite finds its file sound: a damaged index hides entries from who looks one up, though all are there."""
        if self.database.is_sqlite:
            found = self.database.read(
                lambda connection: connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
            )
            if found != "ok":
                msg = f"Expected the ledger's file {self.database.place} sound, got: {clip(str(found), 200)}. Restore it from a backup, or mend its indexes with `sqlite3 FILE REINDEX` and verify again."
                raise AuditBroken(msg)

    def exists(self) -> bool:
        """Whether there is one; nothing is made by asking."""
        return not self.database.is_missing and self.database.read(lambda c: inspect(c).has_table(entries.name))

    def _demand_tables(self) -> None:
        """Stop where some of the tables are there and others are not: they are made together."""
        if not self.database.is_missing:
            missing = self.database.read(_missing_tables)
            if 0 < len(missing) < len(TABLES):
                msg = f"Expected the tables of the ledger at {self.database.place} as they were made, got no {' and no '.join(missing)}: restore them from a backup."
                raise AuditBroken(msg)

    def demand(self) -> None:
        """Stop where there is no ledger yet.

        Raises:
            AuditBroken: this workspace has had one.
            UsageError: says so.
        """
        if not self.begun():
            msg = f"Expected a ledger at {self.database.place}, found none: `abi run` begins one."
            raise UsageError(msg)

    def begun(self) -> bool:
        """Whether there is one; a new one in place of one that this workspace has seen would hide what that held.

        Raises:
            AuditBroken: there is none, though this workspace has had one; or it lacks a table.
        """
        self._demand_tables()
        pinned = self.ws.keys / FIRST_PUBLIC
        seen = pinned.is_file()  # looked at first: it is written after the ledger, by whoever begins it just now
        there = self.exists()
        if seen and not there:
            msg = f"Expected the ledger at {self.database.place}, which this workspace has had, found none: restore it from a backup, or name where it is with audit.url. Only to begin a new one on purpose, take {pinned} and {self.place} away."
            raise AuditBroken(msg)
        return there

    @property
    def place(self) -> Path:
        """Folder where checkpoints are kept outside the database."""
        return self.config.checkpoints or self.ws.ledger_checkpoints

    def lease(self, operation: str, *, seconds: float = 60.0) -> Lease:
        """``with ledger.lease(operation) as held``: whether this process is the one at work on it; kept up meanwhile."""
        return Lease(self.database, operation, seconds)

    def _create(self, signing: Signing) -> None:
        lock = self.ws.alone("ledger") if self.database.is_sqlite else contextlib.nullcontext()
        with lock:
            if not self.database.read(_is_there):
                at = self.database.write(lambda connection: self._create_tables(connection, signing))
                if at is not None:
                    keep(self.ws, self.place, at.head, at.checkpoints)

    def _create_tables(self, connection: Connection, signing: Signing) -> Transaction | None:
        if not self.database.is_sqlite:  # two first uses at a time would both make them
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY})")
        metadata.create_all(connection)
        if connection.execute(select(head.c.id)).first() is not None:
            return None
        if any(connection.execute(select(table).limit(1)).first() is not None for table in (entries, checkpoints)):
            msg = f"Expected the signed end of the ledger at {self.database.place} behind its entries, got none: `abi audit verify` says what is missing; restore it from a backup."
            raise AuditBroken(msg)
        signer = signing.signer
        sealed = signer.seal(Head(seq=0, hash=GENESIS, checkpoint=GENESIS))
        connection.execute(head.insert().values(id=1, seq=0, **vars(sealed)))
        detail = {"id": signer.id, "public_key": signer.public_pem().decode(), "ledger": uuid.uuid4().hex}
        at = self._transaction(connection, signing)
        at.append(Draft(kind="key", model="", detail=detail, operation=f"key:{signer.id}"))
        at.end()
        return at

    def _transaction(self, connection: Connection, signing: Signing) -> Transaction:
        return Transaction(connection, signing, every=self.config.every, actor=self.config.actor)

    def _write(self, work: Callable[[Connection, Transaction], T], *, again: bool = True) -> T:
        def transaction(connection: Connection) -> tuple[T, Transaction]:
            assert self.signing is not None
            at = self._transaction(connection, self.signing)
            result = work(connection, at)
            at.end()
            return result, at

        while True:
            assert self.signing is not None, "a ledger that is only looked at"
            self.signing.demand()
            try:
                result, at = self.database.write(transaction)
                break
            except KeyChanged:
                if not again:
                    raise
                self.signing = settle(self)
        keep(self.ws, self.place, at.head, at.checkpoints)
        return result


def _missing_tables(connection: Connection) -> list[str]:
    there = inspect(connection)
    return [table.name for table in TABLES if not there.has_table(table.name)]


def _is_there(connection: Connection) -> bool:
    return inspect(connection).has_table(head.name) and connection.execute(select(head.c.id)).first() is not None


def _plain(aliases: Aliases) -> dict[str, int | None]:
    return {name: getattr(aliases, name) for name in ("champion", "challenger", "previous")}


def _named(draft: Draft) -> Draft:
    """Every entry has an operation, so that a lost answer makes no second one."""
    if draft.operation is None:
        return Draft(**{**fields_of(draft), "operation": uuid.uuid4().hex})
    assert len(draft.operation) <= OPERATION_LENGTH, draft.operation
    return draft
