"""The ledger: decisions in SQL (SQLite or PostgreSQL, one code path), appended in one order, each signed, none changed.

What a transaction appends is there in full or not at all, and an operation has one entry, however often it is asked for.
Appends follow one another by the lock on the head's row (on SQLite by its write lock).
"""

from __future__ import annotations

import contextlib
import datetime
import getpass
import json
import socket
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, RowMapping, bindparam, create_engine, event, select, update
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError

from abi.audit.chain import CHAMPION_KINDS, Row, Verified, verify
from abi.audit.entry import GENESIS, Aliases, Checkpoint, Draft, Entry, Head, Kind, Sealed
from abi.audit.keys import Signer
from abi.errors import LedgerError, PromotionConflict, UsageError, WorkspaceError, clip
from tasks.ledger_checkpoints import keep, read_kept
from tasks.ledger_keys import find_signer, settle, trusted_keys
from tasks.ledger_lease import Lease
from tasks.ledger_tables import checkpoints, entries, head, metadata
from tasks.workspace import Workspace, disk_errors

if TYPE_CHECKING:
    from abi.config import AuditConfig

T = TypeVar("T")
ALIAS_KINDS: tuple[Kind, ...] = ("registration", "promotion", "rollback", "quarantine")
SEAL = ("payload", "hash", "key", "signature")
COLUMNS = ("seq", "kind", "model", "time", "operation")
BUSY_MS = 60_000
FETCHED = 5_000
READING = {"reading": True}
LOCK = select(head.c.payload).with_for_update()
FOUND = select(entries.c.payload).where(entries.c.operation == bindparam("wanted"))
ADD, MOVE_HEAD = entries.insert(), update(head)
ADVISORY = 0x41424921


@dataclass(frozen=True)
class Ledger:
    """An open ledger; safe to use from several threads and processes."""

    ws: Workspace
    config: AuditConfig
    url: str
    engine: Engine
    signer: Signer
    refusal: str = ""

    @classmethod
    def open(cls, ws: Workspace, config: AuditConfig) -> Ledger:
        """Connect, and make tables and key where there are none. Appending, not reading, needs a key that is trusted.

        Raises:
            LedgerError: the database does not answer, or refuses.
            UsageError: the URL or the key cannot be used.
        """
        url = config.url or f"sqlite:///{ws.ledger_db}"
        signer = find_signer(ws, config)
        try:
            engine = create_engine(url, pool_pre_ping=True)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            msg = f"Expected audit.url as sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE (pip install 'abi-instrument[postgres]'), got: {clip(str(error), 200)}"
            raise UsageError(msg) from None
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        ledger = cls(ws, config, url, engine, signer)
        ledger._create()
        signer, refusal = settle(ledger)
        return replace(ledger, signer=signer, refusal=refusal)

    def append(self, *drafts: Draft) -> tuple[Entry, ...]:
        """Enter decisions, in one transaction; one whose operation is there is answered with the entry that is.

        Raises:
            LedgerError: the database does not answer, or refuses; nothing was entered then.
        """
        named = [_named(draft) for draft in drafts]
        return self._write(lambda at: tuple(at.append(draft) for draft in named))

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

        def write(at: _Appending) -> Entry:
            there = at.found(named.operation)
            if there is not None:
                return there
            now = at.aliases(named.model)
            if expected is not None and now.champion_seq != expected:
                msg = f"Expected the champion of {named.model!r} as entry {expected or 'none'} set it, got entry {now.champion_seq} (champion {now.champion}): another promotion came first; look at it and decide again."
                raise PromotionConflict(msg, expected, now.champion_seq)
            then = decide(now)
            detail: dict[str, Any] = {**named.detail, "aliases": _plain(then)}
            if named.kind in CHAMPION_KINDS:
                detail["replaces"] = now.champion_seq
            entry = at.append(Draft(**{**_fields(named), "detail": detail}))
            at.checkpoint()
            return entry

        return self._write(write)

    def find(self, operation: str) -> Entry | None:
        """The entry of that operation."""
        return self._read(lambda connection: _Appending(self, connection).found(operation))

    def last(self, kind: Kind, model: str) -> Entry | None:
        """The newest entry of a kind about a model."""
        query = select(entries.c.payload).where(entries.c.model == model, entries.c.kind == kind)
        row = self._read(lambda c: c.execute(query.order_by(entries.c.seq.desc()).limit(1)).first())
        return None if row is None else _entry(row.payload)

    def entries(self, *, kinds: Collection[Kind] = (), model: str | None = None, after: int = 0) -> Iterator[Entry]:
        """Entries in order."""
        for row in self._rows(kinds, model, after):
            yield _entry(row["payload"])

    def sealed(self, after: int = 0) -> Iterator[Row]:
        """All entries as they are stored."""
        for row in self._rows((), None, after):
            yield Row(_sealed(row), {name: row[name] for name in COLUMNS})

    def models(self) -> list[str]:
        """Models that there are entries about."""
        found = self._read(lambda c: c.execute(select(entries.c.model).distinct()).scalars().all())
        return sorted(name for name in found if name)

    def aliases(self, model: str) -> Aliases:
        """What the model's aliases stand for now."""
        return self._read(lambda connection: _Appending(self, connection).aliases(model))

    def size(self) -> int:
        """How many entries there are."""
        return self._read(lambda c: int(c.execute(select(head.c.seq)).scalar_one()))

    def checkpoint(self) -> Checkpoint | None:
        """Sign how far the ledger goes, for good; None where the last checkpoint says so already."""
        return self._write(lambda at: at.checkpoint())

    def checkpoints(self) -> list[Sealed]:
        """The stored checkpoints, in order."""
        rows = self._read(lambda c: c.execute(select(checkpoints).order_by(checkpoints.c.number)).mappings().all())
        return [_sealed(row) for row in rows]

    def head(self) -> Sealed:
        """The signed head."""
        return _sealed(self._read(lambda c: c.execute(select(head)).mappings().one()))

    def verify(self, keys: tuple[Path, ...] = (), kept: Path | None = None) -> Verified:
        """Hold every entry against hashes, signatures and checkpoints, those kept elsewhere too.

        Args:
            keys: files of the public keys to trust; those of settings and workspace where none is named.
            kept: folder of kept checkpoints; that of the settings where None.

        Raises:
            AuditBroken: names the first entry that is not as it was written.
        """
        place = kept or self.place
        marks = read_kept(place)  # before the entries, so that what is appended meanwhile is not missed
        heads, stored = [self.head()], self.checkpoints()
        trusted = trusted_keys(self.ws, keys)
        return verify(self.sealed(), trusted, heads=heads, checkpoints=stored, kept=marks)

    @property
    def place(self) -> Path:
        """Folder where checkpoints are kept outside the database."""
        return self.config.checkpoints or self.ws.ledger_checkpoints

    def lease(self, operation: str, *, seconds: float = 60.0) -> Lease:
        """``with ledger.lease(operation) as held``: whether this process is the one at work on it; kept up meanwhile."""
        return Lease(self.engine, operation, seconds, self._answering)

    def _create(self) -> None:
        lock = self.ws.alone("ledger") if self.engine.dialect.name == "sqlite" else contextlib.nullcontext()
        with self._answering(), lock:
            self._retry(self._create_tables)

    def _create_tables(self) -> None:
        with self.engine.begin() as connection:
            if self.engine.dialect.name == "postgresql":
                if connection.dialect.has_table(connection, head.name):
                    there = connection.execute(select(head.c.id)).first()
                    if there is not None:
                        return
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY})")
            metadata.create_all(connection)
            if connection.execute(select(head.c.id)).first() is None:
                sealed = self.signer.seal(Head(seq=0, hash=GENESIS))
                connection.execute(head.insert().values(id=1, seq=0, **vars(sealed)))
                detail = {
                    "id": self.signer.id,
                    "public_key": self.signer.public_pem().decode(),
                    "ledger": uuid.uuid4().hex,
                }
                first = Draft(kind="key", model="", detail=detail, operation=f"key:{self.signer.id}")
                at = _Appending(self, connection).begin()
                at.append(first)
                at.end()

    def _write(self, work: Callable[[_Appending], T]) -> T:
        def transaction() -> tuple[T, _Appending]:
            with self.engine.begin() as connection:
                at = _Appending(self, connection).begin()
                result = work(at)
                at.end()
            return result, at

        if self.refusal:
            raise UsageError(self.refusal)
        with self._answering():
            result, at = self._retry(transaction)
        keep(self.ws, self.place, at.head, at.checkpoints)
        return result

    def _read(self, work: Callable[[Connection], T]) -> T:
        def transaction() -> T:
            with self.engine.execution_options(**READING).connect() as connection:
                return work(connection)

        with self._answering():
            return self._retry(transaction)

    def _rows(self, kinds: Collection[str], model: str | None, after: int) -> Iterator[RowMapping]:
        query = select(entries).order_by(entries.c.seq).limit(FETCHED)
        if kinds:
            query = query.where(entries.c.kind.in_(list(kinds)))
        if model is not None:
            query = query.where(entries.c.model == model)
        while True:
            page = query.where(entries.c.seq > after)
            rows = self._read(lambda c, page=page: c.execute(page).mappings().all())  # type: ignore[misc]
            yield from rows
            if len(rows) < FETCHED:
                return
            after = rows[-1]["seq"]

    def _retry(self, work: Callable[[], T]) -> T:
        """Wait for a database that does not answer; all that is written twice is written under its operation."""
        until, pause = time.monotonic() + self.config.patience, 0.1
        while True:
            try:
                return work()
            except OperationalError as error:
                if _is_full(error) or time.monotonic() + pause > until:
                    raise
            except DBAPIError as error:
                if not error.connection_invalidated or time.monotonic() + pause > until:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        place = self.engine.url.render_as_string(hide_password=True)
        try:
            with disk_errors(place):
                yield
        except SQLAlchemyError as error:
            if _is_full(error):
                msg = f"Expected room to write the ledger at {place}, got no space left: free some, then run again."
                raise WorkspaceError(msg) from error
            said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            msg = f"Expected the ledger at {place} to answer, got: {clip(said, 300)}. Check audit.url, or start the database, then run again."
            raise LedgerError(msg) from error


class _Appending:
    """One transaction at the ledger's end."""

    def __init__(self, ledger: Ledger, connection: Connection) -> None:
        self._ledger, self._connection = ledger, connection
        self._seq, self._hash = 0, GENESIS
        self.head: Sealed | None = None
        self.checkpoints: list[Sealed] = []

    def begin(self) -> _Appending:
        """Take the lock, and see how far the ledger goes."""
        plain = json.loads(self._connection.execute(LOCK).scalar_one())
        self._seq, self._hash = int(plain["seq"]), plain["hash"]
        return self

    def append(self, draft: Draft) -> Entry:
        """Put one entry at the end, unless its operation is there."""
        there = self.found(draft.operation)
        if there is not None:
            return there
        entry = Entry(
            **_fields(draft),
            seq=self._seq + 1,
            previous=self._hash,
            time=datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            actor=self._ledger.config.actor or _whoami(),
        )
        sealed = self._ledger.signer.seal(entry)
        columns = {name: getattr(entry, name) for name in COLUMNS}
        self._connection.execute(ADD, {**columns, **vars(sealed)})
        self._seq, self._hash = entry.seq, sealed.hash
        if entry.seq % self._ledger.config.every == 0:
            self.checkpoint()
        return entry

    def end(self) -> None:
        """Sign how far the ledger goes now."""
        self.head = self._ledger.signer.seal(Head(seq=self._seq, hash=self._hash))
        self._connection.execute(MOVE_HEAD, {"seq": self._seq, **vars(self.head)})

    def checkpoint(self) -> Checkpoint | None:
        """One more checkpoint, where the ledger has grown."""
        last = select(checkpoints).order_by(checkpoints.c.number.desc()).limit(1)
        row = self._connection.execute(last).mappings().first()
        before = None if row is None else Checkpoint.from_json(json.loads(row["payload"]))
        if self._seq == (before.seq if before else 0):
            return None
        made = Checkpoint(
            number=before.number + 1 if before else 1,
            previous=row["hash"] if row else GENESIS,
            seq=self._seq,
            hash=self._hash,
            time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        )
        sealed = self._ledger.signer.seal(made)
        self._connection.execute(checkpoints.insert().values(number=made.number, **vars(sealed)))
        self.checkpoints.append(sealed)
        return made

    def found(self, operation: str | None) -> Entry | None:
        """The entry of that operation."""
        if operation is None:
            return None
        row = self._connection.execute(FOUND, {"wanted": operation}).first()
        return None if row is None else _entry(row.payload)

    def aliases(self, model: str) -> Aliases:
        """What the model's aliases stand for."""

        def newest(kinds: Collection[str]) -> Entry | None:
            query = select(entries.c.payload).where(entries.c.model == model, entries.c.kind.in_(list(kinds)))
            row = self._connection.execute(query.order_by(entries.c.seq.desc()).limit(1)).first()
            return None if row is None else _entry(row.payload)

        last = newest(ALIAS_KINDS)
        if last is None:
            return Aliases()
        champion = newest(CHAMPION_KINDS)
        return Aliases(**last.detail["aliases"], seq=last.seq, champion_seq=champion.seq if champion is not None else 0)


def _plain(aliases: Aliases) -> dict[str, int | None]:
    return {name: getattr(aliases, name) for name in ("champion", "challenger", "previous")}


def _fields(draft: Draft) -> dict[str, Any]:
    return {name: getattr(draft, name) for name in Draft.__dataclass_fields__}


def _named(draft: Draft) -> Draft:
    """Every entry has an operation, so that a lost answer makes no second one."""
    return draft if draft.operation is not None else Draft(**{**_fields(draft), "operation": uuid.uuid4().hex})


def _entry(payload: str) -> Entry:
    entry: Entry = Entry.from_json(json.loads(payload))
    return entry


def _sealed(row: RowMapping) -> Sealed:
    return Sealed(**{name: row[name] for name in SEAL})


def _whoami() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _is_full(error: SQLAlchemyError) -> bool:
    said = str(getattr(error, "orig", error)).lower()
    return "disk is full" in said or "no space left" in said or "disk i/o error" in said


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions are begun below
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reading") else "BEGIN IMMEDIATE")
