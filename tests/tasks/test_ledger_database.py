from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from abi.audit.entry import Draft
from abi.errors import AuditBroken, LedgerError, UsageError, WorkspaceError
from abi.operations import AuditConfig
from tasks.ledger import Ledger
from tasks.ledger_database import Database
from tasks.workspace import Workspace

HOLD = """
import sys, time
from pathlib import Path
from abi.operations import AuditConfig
from tasks.ledger import Ledger
from tasks.workspace import Workspace
from tasks.workspace import Workspace
ledger = Ledger.open(Workspace(Path(sys.argv[1])), AuditConfig(url=sys.argv[2] or None))
with ledger.lease("work", seconds=2) as held:
    print(held, flush=True)
    time.sleep(60)
"""


def test_a_lease_is_held_by_one_kept_up_and_given_back(opened):
    ledger = opened()
    with ledger.lease("work", seconds=0.6) as held:
        assert held
        for _ in range(4):
            time.sleep(0.4)
            with opened().lease("work", seconds=0.6) as also:
                assert not also
        with ledger.lease("another") as free:
            assert free
    with ledger.lease("work") as again:
        assert again


def test_a_lease_ends_with_the_process_that_held_it(opened, ws, ledger_url):
    ledger = opened()
    command = [sys.executable, "-c", HOLD, str(ws.root), ledger_url or ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "True\n"
        with ledger.lease("work") as held:
            assert not held
        holder.kill()
    end = time.monotonic() + 10
    held = False
    while not held:
        assert time.monotonic() < end
        with ledger.lease("work", seconds=1) as held:
            time.sleep(0.05)


def test_of_many_that_ask_at_once_one_gets_the_lease(opened):
    ledger, answers = opened(), []
    together = threading.Barrier(8)

    def ask() -> None:
        together.wait()
        with ledger.lease("work") as held:
            answers.append(held)
            together.wait()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False] * 7 + [True]


STATEMENTS = [
    "UPDATE ledger_entries SET model = 'other'",
    "DELETE FROM ledger_entries WHERE seq = 2",
    "UPDATE ledger_checkpoints SET hash = ''",
    "DELETE FROM ledger_checkpoints",
    "sqlite: INSERT OR REPLACE INTO ledger_entries SELECT 2, kind, model, time, NULL, payload, hash, key, signature FROM ledger_entries WHERE seq = 3",
    "sqlite: REPLACE INTO ledger_entries SELECT 9, kind, model, time, operation, payload, hash, key, signature FROM ledger_entries WHERE seq = 3",
    "sqlite: REPLACE INTO ledger_checkpoints SELECT number, '', hash, key, signature FROM ledger_checkpoints",
    "postgresql: TRUNCATE ledger_entries",
    "postgresql: INSERT INTO ledger_checkpoints SELECT * FROM ledger_checkpoints ON CONFLICT (number) DO UPDATE SET hash = ''",
]


def test_the_database_itself_refuses_changes(opened, draft):
    ledger = opened()
    ledger.append(draft(1), draft(2))
    ledger.checkpoint()
    for statement in STATEMENTS:
        only, _, words = statement.rpartition(": ")
        if only in ("", ledger.engine.dialect.name):
            with pytest.raises(DBAPIError, match="entries are never changed"), ledger.engine.begin() as connection:
                connection.execute(text(words))
    assert (ledger.verify().entries, ledger.verify().checkpoints) == (3, 1)


OPEN = """
import sys, time
from pathlib import Path
from abi.audit.entry import Draft
from abi.operations import AuditConfig
from tasks.ledger import Ledger
from tasks.workspace import Workspace
from tasks.workspace import Workspace
time.sleep(max(0.0, float(sys.argv[3]) - time.time()))
ledger = Ledger.open(Workspace(Path(sys.argv[1])), AuditConfig(url=sys.argv[2] or None))
ledger.append(Draft(kind="plan", model="m"))
"""


def test_processes_that_open_a_new_ledger_at_the_same_moment_share_it(ws, ledger_url):
    command = [sys.executable, "-c", OPEN, str(ws.root), ledger_url or "", str(time.time() + 4)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(p.communicate()[1], p.returncode) for p in running] == [("", 0)] * 4
    ledger = Ledger.look(ws, AuditConfig(url=ledger_url))
    assert [e.kind for e in ledger.entries()] == ["key"] + ["plan"] * 4
    assert ledger.verify().entries == 5
    ledger.engine.dispose()


def test_a_decision_waits_for_a_server_that_is_away(ws, postgres_url, cut_proxy, capsys, draft):
    proxy, url = cut_proxy(postgres_url)
    ledger = Ledger.open(ws, AuditConfig(url=url, patience=30.0))
    ledger.append(draft(1))
    proxy.down()
    threading.Timer(2.0, proxy.up).start()
    start = time.monotonic()
    (entry,) = ledger.append(draft(2))
    assert entry.seq == 3
    assert 1.5 < time.monotonic() - start < 20
    assert capsys.readouterr().err.count("waiting   the ledger at") == 1
    proxy.down()
    threading.Timer(1.0, proxy.up).start()
    with ledger.lease("work") as held:
        assert held
        proxy.down()  # it cannot be given back: no reason to stop
    ledger.database.__dict__["patience"] = 0.5
    with pytest.raises(LedgerError, match=r"Expected the ledger at .* to answer, got: .*\. Check audit\.url") as caught:
        ledger.append(draft(3))
    assert "\n" not in str(caught.value)
    assert "only-for-this" not in str(caught.value)
    proxy.up()
    ledger.database.__dict__["patience"] = 30.0
    assert (ledger.size(), ledger.verify().entries) == (3, 3)
    ledger.engine.dispose()


def test_a_full_disk_is_said_and_nothing_entered(ws, draft):
    ledger = Ledger.open(ws, AuditConfig(patience=30.0))
    ledger.append(draft(1))

    def limit(connection, _) -> None:
        connection.execute(f"PRAGMA max_page_count={room}")

    room = 1  # as many as there are
    event.listen(ledger.engine, "connect", limit)
    ledger.engine.dispose()
    start = time.monotonic()
    fill = (ledger.append(draft(n), draft(n + 1000), draft(n + 2000)) for n in range(2, 300))
    with pytest.raises(WorkspaceError, match=r"Expected room to write the ledger at sqlite.*, got no space left"):
        list(fill)
    assert time.monotonic() - start < 20
    size = ledger.size()
    assert size == ledger.verify().entries
    assert size % 3 == 2  # the key, the first, then threes
    room = 10_000
    ledger.engine.dispose()
    (entry, *_) = ledger.append(draft(9_000))
    assert entry.seq == size + 1
    assert ledger.verify().entries == size + 1
    ledger.engine.dispose()


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("nothing", UsageError, "Expected audit.url as sqlite"),
        ("oracle+none://x/y", UsageError, "Expected audit.url as sqlite"),
        ("postgresql+psycopg://abi:mine@h:port/db", UsageError, "got: a port that is no number from 1 to 65,535"),
        ("postgresql+psycopg://abi:only@h:mine@h/db", UsageError, "got: a port that is no number from 1 to 65,535"),
        ("postgresql+psycopg://abi:mine@h:70000/db", UsageError, "got: a port that is no number from 1 to 65,535"),
        ("sqlite:////no/such/folder/ledger.db", LedgerError, "got: unable to open database file"),
    ],
)
def test_a_url_that_cannot_be_used_is_one_sentence_at_once(ws, url, error, said):
    with pytest.raises(error, match=said) as caught:
        Ledger.open(ws, AuditConfig(url=url))
    assert "\n" not in str(caught.value)
    assert "mine" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://abi:only/mine@h/db", "postgresql+psycopg://h/db?user=abi&password=mine"]
)
def test_the_ledgers_place_is_told_without_its_password(url):
    place = Database.open(url, 0.0).place
    assert "mine" not in place
    assert "***" in place


def test_a_wrong_password_or_database_is_not_waited_for(ws, postgres_url):
    start = time.monotonic()
    for wrong in (postgres_url.replace("only-for", "not-for"), f"{postgres_url}_none"):
        with pytest.raises(LedgerError, match=r"(authentication failed|does not exist)") as caught:
            Ledger.open(ws, AuditConfig(url=wrong))
        assert "\n" not in str(caught.value)
        assert "this-test-run" not in str(caught.value)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("harm", ["index", "cut", "overwritten"])
def test_a_damaged_file_is_broken_though_every_entry_may_be_there(ws: Workspace, harm: str) -> None:
    """A bit in an index hides an entry from who looks it up, and a scan of the entries does not see it."""
    ledger = Ledger.open(ws, AuditConfig())
    ledger.append(*(Draft(kind="plan", model="m", operation=f"somewhat-{i:04d}") for i in range(300)))
    ledger.engine.dispose()
    with contextlib.closing(sqlite3.connect(ws.ledger_db)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ledger_entries_by_kind'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    data = bytearray(ws.ledger_db.read_bytes())
    if harm == "index":
        page = data.index(b"mplan", (root - 1) * size)
        data[page + 1] ^= 1
    elif harm == "cut":
        data = data[: len(data) // 2]
    else:
        data[:200] = b"x" * 200
    ws.ledger_db.write_bytes(data)
    with pytest.raises(AuditBroken, match=r"Expected the ledger"):
        Ledger.look(ws, AuditConfig()).verify()
