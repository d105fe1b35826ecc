"""The ledger's database, SQLite or PostgreSQL by one code path: connections, transactions, patience, one-sentence errors."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError

from abi.errors import LedgerError, UsageError, WorkspaceError, clip
from abi.sections import masked
from tasks.progress import say
from tasks.workspace import disk_errors

T = TypeVar("T")
BUSY_MS = 60_000
MOST_PORT = 65_535
WRONG_PORT = f"a port that is no number from 1 to {MOST_PORT:,}"
FIRST_S, LONGEST_S = 0.1, 5.0
TOLD_S = 10.0
"""Who waits for less is told nothing but the outcome."""
LIVENESS = {"connect_timeout": 10, "keepalives_idle": 20, "keepalives_interval": 5, "keepalives_count": 3}
"""A machine that is gone is noticed within half a minute."""
HOPELESS = ("authentication failed", "does not exist", "no password supplied", "pg_hba.conf", "permission denied")
"""What waiting does not mend."""


@dataclass(frozen=True)
class Database:
    """Transactions that are done in full or not at all, and waited for up to `patience` seconds."""

    engine: Engine
    patience: float

    @classmethod
    def open(cls, url: str, patience: float) -> Database:
        """Prepare to connect.

        Raises:
            UsageError: the URL cannot be used.
        """
        try:
            named = make_url(url)
            postgres = named.get_backend_name() == "postgresql"
            if not postgres and named.get_backend_name() != "sqlite":
                raise ArgumentError(named.get_backend_name())
            if named.port is not None and not 0 < named.port <= MOST_PORT:
                raise ValueError(named.port)
            liveness = {k: v for k, v in LIVENESS.items() if postgres and k not in named.query}
            engine = create_engine(named, pool_pre_ping=True, connect_args=liveness)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
            # what int() says of a port may quote the password
            said = WRONG_PORT if isinstance(error, ValueError) else masked(str(error))
            msg = f"Expected audit.url as sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE (pip install 'abi-instrument[postgres]'), got: {clip(said, 200)}"
            raise UsageError(msg) from None
        if not postgres:
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        return cls(engine, patience)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file."""
        return bool(self.engine.dialect.name == "sqlite")

    @property
    def is_missing(self) -> bool:
        """Whether it is a file that is not there; connecting would make it."""
        return self.is_sqlite and not Path(self.engine.url.database or "").exists()

    @property
    def place(self) -> str:
        """The URL without its password."""
        return masked(self.engine.url.render_as_string(hide_password=True))

    def write(self, work: Callable[[Connection], T]) -> T:
        """One transaction; done again where its answer was lost, so what it writes is written under its operation.

        Raises:
            LedgerError: the database does not answer, or refuses; nothing was written then.
            WorkspaceError: there is no room.
        """

        def transaction() -> T:
            with self.engine.begin() as connection:
                return work(connection)

        return self._insist(transaction)

    def read(self, work: Callable[[Connection], T]) -> T:
        """All that `work` reads is as it was at one moment.

        Raises:
            LedgerError: the database does not answer.
        """
        isolation = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        engine = self.engine.execution_options(reading=True, **isolation)

        def transaction() -> T:
            with engine.connect() as connection:
                return work(connection)

        return self._insist(transaction)

    def _insist(self, work: Callable[[], T]) -> T:
        until, pause, told = time.monotonic() + self.patience, FIRST_S, False
        with self._one_sentence():
            while True:
                try:
                    return work()
                except DBAPIError as error:
                    if not self._may_pass(error) or time.monotonic() + pause > until:
                        raise
                    if not told and not self.is_sqlite and self.patience >= TOLD_S:
                        say(f"waiting   the ledger at {self.place} does not answer: {_said(error)}")
                        told = True
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_S)

    def _may_pass(self, error: DBAPIError) -> bool:
        said = str(error.orig).lower()
        if _is_full(error):
            return False
        if self.is_sqlite:
            return "locked" in said or "busy" in said
        waits = isinstance(error, OperationalError) and not any(words in said for words in HOPELESS)
        return waits or error.connection_invalidated

    @contextlib.contextmanager
    def _one_sentence(self) -> Iterator[None]:
        try:
            with disk_errors(self.place):
                yield
        except SQLAlchemyError as error:
            if _is_full(error):
                msg = (
                    f"Expected room to write the ledger at {self.place}, got no space left: free some, then run again."
                )
                raise WorkspaceError(msg) from error
            msg = f"Expected the ledger at {self.place} to answer, got: {_said(error)}. Check audit.url, or start the database, then run again."
            raise LedgerError(msg) from error


def _said(error: SQLAlchemyError) -> str:
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return clip(masked(lines[0].rstrip(".")), 300) if lines else type(error).__name__


def _is_full(error: SQLAlchemyError) -> bool:
    said = str(getattr(error, "orig", error)).lower()
    return "disk is full" in said or "no space left" in said or "disk i/o error" in said


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions are begun below
    connection.text_factory = _text
    for pragma in (f"busy_timeout={BUSY_MS}", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _text(data: bytes) -> str:
    """A text that somebody damaged is read all the same, and found to be another than was signed."""
    return data.decode("utf-8", "replace")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reading") else "BEGIN IMMEDIATE")
