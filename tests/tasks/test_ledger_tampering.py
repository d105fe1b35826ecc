from __future__ import annotations

import contextlib
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from abi.errors import AuditBroken
from abi.operations import AuditConfig
from tasks.ledger import Ledger

SEED = 7
TAMPERINGS = 50


def test_tampering_with_the_database_file_is_detected(ws, benchmark_module, draft, promote):
    """As somebody would who has the file: triggers dropped, rows written anew."""
    from tasks.ledger_checkpoints import read_kept
    from tasks.ledger_keys import rotate, trusted_keys

    module = benchmark_module("ledger_tampering")
    ledger = Ledger.open(ws, AuditConfig(every=7, actor="ann@desk"))
    for number in range(2, 31):
        if number == 15:
            rotate(ledger)
        elif number % 5 == 0:
            promote(ledger, number)
        else:
            ledger.append(draft(number, detail={"salt": "one"}))
    marks = read_kept(ledger.place)
    true = ledger.whole(
        lambda now: module.Store(tuple(now.rows), now.checkpoints, now.head, tuple(marks), trusted_keys(ws))
    )
    assert true.verify() == ledger.verify()
    world = module.build_world()
    make = module.Tamperer(replace(world, true=true), SEED)
    needs_a_past = {"retired_key", "set_back", "head_set_back", "other_ledger"}
    kinds = [
        kind
        for kind in make.entry_kinds + make.mark_kinds
        if kind.__name__ not in needs_a_past and not kind.__name__.endswith("_other") and "kept" not in kind.__name__
    ]
    kinds.remove(make.other_key)
    ledger.engine.dispose()
    failures = []
    for turn in range(TAMPERINGS):
        case = kinds[turn % len(kinds)]()
        _write(ws.ledger_db, case.store)
        found = Ledger.look(ws, AuditConfig())
        try:
            found.verify()
            failures.append((case.what, "undetected"))
        except AuditBroken as broken:
            if broken.entry != case.entry:
                failures.append((case.what, case.entry, str(broken)))
        found.engine.dispose()
    assert failures == []
    _write(ws.ledger_db, true)
    assert Ledger.look(ws, AuditConfig()).verify().entries == 30


def _write(path: Path, store) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    for table in ("entries", "checkpoints", "head"):  # anew, without triggers and constraints
        names = [row[1] for row in connection.execute(f"PRAGMA table_info(ledger_{table})")]
        connection.execute(f"DROP TABLE ledger_{table}")
        connection.execute(f"CREATE TABLE ledger_{table} ({', '.join(names)})")
    for row in store.rows:
        c, s = row.columns, row.sealed
        first = [c[name] for name in ("seq", "kind", "model", "time", "operation")]
        connection.execute(
            "INSERT INTO ledger_entries VALUES (?,?,?,?,?,?,?,?,?)", (*first, s.payload, s.hash, s.key, s.signature)
        )
    for number, s in enumerate(store.checkpoints, 1):
        connection.execute(
            "INSERT INTO ledger_checkpoints VALUES (?,?,?,?,?)", (number, s.payload, s.hash, s.key, s.signature)
        )
    if store.head is not None:
        s = store.head
        connection.execute(
            "INSERT INTO ledger_head VALUES (1,?,?,?,?,?)", (len(store.rows), s.payload, s.hash, s.key, s.signature)
        )
    connection.execute("COMMIT")
    connection.close()


def test_damage_in_the_file_is_no_traceback(ws, draft):
    ledger = Ledger.open(ws, AuditConfig())
    ledger.append(draft(1), draft(2))
    ledger.engine.dispose()
    for value in (b"\xff\xfe", "{", None, 7, b"{}"):
        connection = sqlite3.connect(ws.ledger_db)
        connection.execute("DROP TRIGGER IF EXISTS ledger_entries_no_update")
        schema = "UPDATE sqlite_master SET sql = replace(sql, 'payload TEXT NOT NULL', 'payload TEXT')"
        connection.execute("PRAGMA writable_schema=1")
        connection.execute(schema)
        connection.commit()
        connection.close()
        connection = sqlite3.connect(ws.ledger_db)
        with connection:
            cast = "CAST(? AS TEXT)" if value == b"\xff\xfe" else "?"
            connection.execute(f"UPDATE ledger_entries SET payload = {cast} WHERE seq = 2", (value,))
        connection.close()
        found = Ledger.look(ws, AuditConfig())
        for read in (found.verify, lambda one=found: list(one.entries())):
            with pytest.raises(AuditBroken, match="entry 2") as caught:
                read()
            assert caught.value.entry == 2
        found.engine.dispose()


@pytest.mark.parametrize("table", ["ledger_entries", "ledger_checkpoints", "ledger_head"])
@pytest.mark.parametrize("kept", [True, False])
def test_a_table_that_was_dropped_is_broken_and_none_is_made_in_its_place(ws, draft, table, kept):
    ledger = Ledger.open(ws, AuditConfig())
    ledger.append(draft(1))
    ledger.engine.dispose()
    if not kept:  # as where only the database is looked at
        (ws.keys / "ledger.pub.pem").unlink()
        shutil.rmtree(ledger.place)
    with contextlib.closing(sqlite3.connect(ws.ledger_db)) as connection:
        connection.execute(f"DROP TABLE {table}")
    for attempt in (Ledger.open, lambda *given: Ledger.look(*given).verify()):
        with pytest.raises(AuditBroken, match=f"as they were made, got no {table}: restore them from a backup"):
            attempt(ws, AuditConfig())
    with contextlib.closing(sqlite3.connect(ws.ledger_db)) as connection:
        assert not connection.execute(f"SELECT 1 FROM sqlite_master WHERE name = '{table}'").fetchall()


def test_no_new_end_is_signed_behind_entries_that_have_none(ws, draft):
    ledger = Ledger.open(ws, AuditConfig())
    ledger.append(draft(1))
    ledger.engine.dispose()
    with contextlib.closing(sqlite3.connect(ws.ledger_db)) as connection, connection:
        connection.execute("DELETE FROM ledger_head")
    with pytest.raises(AuditBroken, match=r"Expected the signed end of the ledger at .* behind its entries, got none"):
        Ledger.open(ws, AuditConfig())
    with pytest.raises(AuditBroken, match="Expected the signed end of the ledger, found none"):
        Ledger.look(ws, AuditConfig()).verify()


def test_a_ledger_that_is_gone_is_missed_by_what_was_kept(ws, draft):
    ledger = Ledger.open(ws, AuditConfig())
    ledger.append(draft(1))
    ledger.engine.dispose()
    for path in ws.root.glob("ledger.db*"):
        path.unlink()
    with pytest.raises(AuditBroken, match="entries from 1 on may be missing"):
        Ledger.look(ws, AuditConfig()).verify()
    assert not ws.ledger_db.exists()
