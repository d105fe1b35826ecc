"""The ledger as it is stored, all of one moment: what verifying and exporting go through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, select

from abi.audit.chain import Row
from abi.audit.entry import Sealed
from tasks.ledger_tables import checkpoints, entries, head
from tasks.ledger_transaction import COLUMNS, read_sealed

FETCHED = 5_000


@dataclass(frozen=True)
class Whole:
    """Entries in the order of their numbers (they are read on the way), checkpoints in theirs, and the signed end."""

    rows: Iterator[Row]
    checkpoints: tuple[Sealed, ...]
    head: Sealed | None


def read_whole(connection: Connection) -> Whole:
    """All of it; the connection's transaction has to see one moment."""
    marks = connection.execute(select(checkpoints).order_by(checkpoints.c.number)).mappings()
    end = connection.execute(select(head)).mappings().first()
    return Whole(_rows(connection), tuple(map(read_sealed, marks)), None if end is None else read_sealed(end))


def _rows(connection: Connection) -> Iterator[Row]:
    """All entries, those with impossible numbers too."""
    query = select(entries).order_by(entries.c.seq).limit(FETCHED)
    page = query
    while True:
        rows = connection.execute(page).mappings().all()
        yield from map(_row, rows)
        if len(rows) < FETCHED:
            return
        page = query.where(entries.c.seq > rows[-1]["seq"])


def _row(row: RowMapping) -> Row:
    return Row(read_sealed(row), {name: row[name] for name in COLUMNS})
