"""A lease: one process at a time is at work on an operation; it ends with the process, at the latest after its time."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from types import TracebackType

from sqlalchemy import ColumnElement, Connection, delete, or_, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from tasks.ledger_database import Database
from tasks.ledger_tables import leases


class Lease:
    """Held while the ``with`` block runs, where nobody else holds it; clocks of machines should agree to seconds."""

    def __init__(self, database: Database, operation: str, seconds: float) -> None:
        self._database, self._operation, self._seconds = database, operation, seconds
        self._holder = uuid.uuid4().hex
        self._done = threading.Event()
        self._keeper = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> bool:
        """Whether it is held."""
        held = self._database.write(self._take)
        if held:
            self._keeper.start()
        return held

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeper.ident is None:
            return
        self._done.set()
        self._keeper.join()
        # a lease that cannot be given back now runs out by itself
        with contextlib.suppress(SQLAlchemyError), self._database.engine.begin() as connection:
            connection.execute(delete(leases).where(*self._mine()))

    def _take(self, connection: Connection) -> bool:
        now = time.time()
        values = {"holder": self._holder, "expires": now + self._seconds}
        row = connection.execute(select(leases.c.expires).where(leases.c.operation == self._operation)).first()
        if row is None:
            try:
                with connection.begin_nested():
                    connection.execute(leases.insert().values(operation=self._operation, **values))
            except IntegrityError:  # another one was quicker
                return False
            return True
        # its own where the answer to the first try was lost
        free = or_(leases.c.expires < now, leases.c.holder == self._holder)
        taken = update(leases).where(leases.c.operation == self._operation, free).values(**values)
        return bool(connection.execute(taken).rowcount)

    def _mine(self) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        return (leases.c.operation == self._operation, leases.c.holder == self._holder)

    def _renew(self) -> None:
        while not self._done.wait(self._seconds / 3):
            # where the database does not answer, the next turn may reach it again
            with contextlib.suppress(SQLAlchemyError), self._database.engine.begin() as connection:
                connection.execute(update(leases).where(*self._mine()).values(expires=time.time() + self._seconds))
