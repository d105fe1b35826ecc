"""The ledger's tables, for SQLite and PostgreSQL alike: entries that the database itself refuses to change."""

from __future__ import annotations

from sqlalchemy import DDL, BigInteger, Column, Float, Index, MetaData, String, Table, Text, event

metadata = MetaData()
OPERATION_LENGTH = 200

entries = Table(
    "ledger_entries",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(20), nullable=False),
    Column("model", String(200), nullable=False),
    Column("time", String(40), nullable=False),
    Column("operation", String(OPERATION_LENGTH), unique=True),
    Column("payload", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("key", String(64), nullable=False),
    Column("signature", String(120), nullable=False),
)
Index("ledger_entries_by_kind", entries.c.model, entries.c.kind, entries.c.seq)

checkpoints = Table(
    "ledger_checkpoints",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("payload", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("key", String(64), nullable=False),
    Column("signature", String(120), nullable=False),
)

head = Table(  # one row, whose lock makes appends follow one another
    "ledger_head",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("payload", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("key", String(64), nullable=False),
    Column("signature", String(120), nullable=False),
)

leases = Table(  # who is at work on an operation; no part of the record
    "ledger_leases",
    metadata,
    Column("operation", String(OPERATION_LENGTH), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("expires", Float, nullable=False),
)

REFUSAL = "entries are never changed"
for _table, _same in ((entries, "seq = NEW.seq OR operation = NEW.operation"), (checkpoints, "number = NEW.number")):
    event.listen(  # INSERT OR REPLACE deletes without asking the trigger for that
        _table,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]
            f"CREATE TRIGGER {_table.name}_no_replace BEFORE INSERT ON {_table.name} "  # noqa: S608 - our own names
            f"WHEN EXISTS (SELECT 1 FROM {_table.name} WHERE {_same}) BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        ).execute_if(dialect="sqlite"),
    )
    for _verb in ("UPDATE", "DELETE"):
        event.listen(
            _table,
            "after_create",
            DDL(  # type: ignore[no-untyped-call]
                f"CREATE TRIGGER {_table.name}_no_{_verb.lower()} BEFORE {_verb} ON {_table.name} "
                f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            ).execute_if(dialect="sqlite"),
        )
    event.listen(
        _table,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]
            f"CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$ LANGUAGE plpgsql;"
            f"CREATE TRIGGER {_table.name}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {_table.name} EXECUTE FUNCTION ledger_refuse()"
        ).execute_if(dialect="postgresql"),
    )
