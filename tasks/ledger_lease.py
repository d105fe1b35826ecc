"""A lease: one process at a time is at work on an operation; it ends with the process, at the latest after its time."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from sqlalchemy import Engine, delete, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from tasks.ledger_tables import leases


class Lease:
    """Held while the ``with`` block runs, where nobody else holds it; clocks of machines should agree to seconds."""

    def __init__(
        self, engine: Engine, operation: str, seconds: float, answering: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._engine, self._operation, self._seconds, self._answering = engine, operation, seconds, answering
        self._holder = uuid.uuid4().hex
        self._done = threading.Event()
        self._keeper = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> bool:
        """Whether it is held."""
        with self._answering():
            held = self._take()
        if held:
            self._keeper.start()
        return held

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._keeper.is_alive():
            return
        self._done.set()
        self._keeper.join()
        with self._answering(), self._engine.begin() as connection:
            connection.execute(delete(leases).where(*self._mine()))

    def _take(self) -> bool:
        now = time.time()
        values = {"holder": self._holder, "expires": now + self._seconds}
        with self._engine.begin() as connection:
            row = connection.execute(select(leases.c.expires).where(leases.c.operation == self._operation)).first()
            if row is not None:
                free = (leases.c.operation == self._operation, leases.c.expires < now)
                return bool(connection.execute(update(leases).where(*free).values(**values)).rowcount)
        try:
            with self._engine.begin() as connection:
                connection.execute(leases.insert().values(operation=self._operation, **values))
        except IntegrityError:  # another one was quicker
            return False
        return True

    def _mine(self) -> tuple[object, object]:
        return (leases.c.operation == self._operation, leases.c.holder == self._holder)

    def _renew(self) -> None:
        while not self._done.wait(self._seconds / 3):
            try:
                with self._engine.begin() as connection:
                    connection.execute(update(leases).where(*self._mine()).values(expires=time.time() + self._seconds))
            except SQLAlchemyError:  # the next turn may reach the database again
                continue
