from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import DBAPIError

from abi.audit.entry import Draft
from abi.audit.keys import Signer
from abi.errors import AuditBroken, LedgerError, PromotionConflict, UsageError, WorkspaceError
from abi.operations import AuditConfig
from tasks.ledger import Ledger
from tasks.ledger_tables import entries
from tasks.workspace import Workspace

SEED = 7
TAMPERINGS = 50
PROCESSES, OPERATIONS = 4, 15


@pytest.fixture
def ws(tmp_path):
    return Workspace.open(tmp_path / "workspace")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def opened(ws, url):
    """Opens the ledger; all are closed in the end."""
    ledgers = []

    def open_(ws: Workspace = ws, **settings: object) -> Ledger:
        ledgers.append(Ledger.open(ws, AuditConfig(**{"url": url, "patience": 30.0, **settings})))
        return ledgers[-1]

    yield open_
    for ledger in ledgers:
        ledger.engine.dispose()


def draft(number: int = 1, **given: object) -> Draft:
    plain = {"kind": "scores", "model": "churn", "values": {"scores": "ab" * 32}, "operation": f"scores:{number}"}
    return Draft(**{**plain, "detail": {"figure": number / 7, "word": "größer"}, **given})


def promotion(version: int) -> Draft:
    return Draft(kind="promotion", model="churn", detail={"version": version}, operation=f"promote:{version}")


def promote(ledger: Ledger, version: int, expected: int | None = None):
    return ledger.change(
        promotion(version), lambda now: replace(now, champion=version, previous=now.champion), expected=expected
    )


# ----------------------------------------------------------------------------------------------- what is entered
def test_what_is_appended_is_read_back_in_order(opened):
    ledger = opened(actor="ann@desk")
    first, second = ledger.append(draft(1, flow_run="f", mlflow_run="m"), draft(2, model="other"))
    (third,) = ledger.append(draft(3, kind="plan"))
    assert [e.seq for e in (first, second, third)] == [2, 3, 4]  # entry 1 is the key
    assert list(opened().entries(after=1)) == [first, second, third]
    assert (first.actor, first.flow_run, first.mlflow_run, first.detail["word"]) == ("ann@desk", "f", "m", "größer")
    assert first.time.endswith("Z")
    assert second.previous == _hash(ledger, 2)
    assert list(ledger.entries(kinds=("scores",), model="churn")) == [first]
    assert (ledger.find("scores:2"), ledger.find("none")) == (second, None)
    assert (ledger.last("scores", "churn"), ledger.last("plan", "other")) == (first, None)
    assert (ledger.at(4), ledger.at(5), ledger.at(10**30)) == (third, None, None)
    assert (ledger.size(), ledger.models()) == (4, ["churn", "other"])
    assert ledger.verify().entries == 4


def _hash(ledger: Ledger, seq: int) -> str:
    return str(ledger.database.read(lambda c: c.execute(select(entries.c.hash).where(entries.c.seq == seq)).scalar()))


def test_an_operation_has_one_entry_however_often_it_is_asked_for(opened):
    ledger = opened()
    (first,) = ledger.append(draft(1))
    again, new, twice = ledger.append(draft(1, detail={}), draft(2), draft(2))
    assert (again, new.seq, twice) == (first, 3, new)
    assert promote(ledger, 5) == promote(ledger, 5)
    (unnamed,), (another,) = ledger.append(draft(operation=None)), ledger.append(draft(operation=None))
    assert unnamed.operation != another.operation
    assert ledger.verify().entries == ledger.size() == 6


def test_a_lost_answer_to_a_commit_makes_no_second_entry(opened, monkeypatch):
    ledger = opened()
    real, lost = ledger.engine.dialect.do_commit, []
    words = "database is locked" if ledger.database.is_sqlite else "server closed the connection unexpectedly"

    def commit(connection):
        real(connection)
        if len(lost) < 3:
            lost.append(connection)
            raise ledger.engine.dialect.dbapi.OperationalError(words)

    monkeypatch.setattr(ledger.engine.dialect, "do_commit", commit)
    (entry,) = ledger.append(draft(1, operation=None))
    promoted = promote(ledger, 4)
    assert len(lost) == 3
    assert [e.seq for e in ledger.entries()] == [1, entry.seq, promoted.seq] == [1, 2, 3]
    assert ledger.verify().entries == 3


def test_what_fails_in_the_middle_leaves_nothing(opened):
    ledger = opened()
    with pytest.raises(ZeroDivisionError):
        ledger.change(promotion(1), lambda now: replace(now, champion=1 // 0))
    with pytest.raises(ZeroDivisionError):
        ledger.database.write(lambda c: (ledger._transaction(c, ledger.signing).append(draft(9)), 1 // 0))
    assert (ledger.size(), ledger.verify().entries) == (1, 1)


# --------------------------------------------------------------------------------------------- compare and set
def test_aliases_follow_decisions_and_a_stale_one_gets_a_conflict(opened):
    ledger = opened()
    assert ledger.aliases("churn").champion_seq == 0
    registered = Draft(kind="registration", model="churn", operation="r")
    ledger.change(registered, lambda now: replace(now, challenger=1))
    first = promote(ledger, 1, expected=0)
    now = ledger.aliases("churn")
    assert (now.champion, now.challenger, now.previous, now.seq, now.champion_seq) == (1, 1, None, 3, 3)
    second = promote(ledger, 2, expected=first.seq)
    with pytest.raises(PromotionConflict, match="another promotion came first") as caught:
        promote(ledger, 3, expected=first.seq)
    assert (caught.value.expected, caught.value.found) == (first.seq, second.seq)
    assert ledger.find("promote:3") is None
    assert (first.detail["replaces"], second.detail["replaces"]) == (0, first.seq)
    # what sets no champion is no reason for a conflict
    ledger.change(replace(registered, operation="r2"), lambda now: replace(now, challenger=9))
    assert promote(ledger, 3, expected=second.seq).detail["aliases"] == {
        "champion": 3, "challenger": 9, "previous": 2,
    }  # fmt: skip
    assert ledger.aliases("another").champion is None


def test_processes_that_promote_against_one_another_are_linearizable(ws, url, benchmark_module):
    race = benchmark_module("ledger_race")
    seen = race.race(ws.root, url, PROCESSES, OPERATIONS, SEED)
    ledger = Ledger.look(ws, race.settings(url))
    done = list(ledger.entries(kinds=("promotion",)))
    won, lost = [s for s in seen if s.entry is not None], [s for s in seen if s.entry is None]
    assert len(seen) == len(won) + len(lost) == PROCESSES * OPERATIONS
    assert all(s.found is not None for s in lost)
    assert won
    assert lost, "nobody met anybody: this shows nothing"
    assert race.check(seen, done) == []
    # the check itself would see it
    swapped = [
        replace(s, entry=won[1].entry if s is won[0] else won[0].entry if s is won[1] else s.entry) for s in seen
    ]
    assert race.check(swapped, done)
    assert race.check([replace(s, expected=0, champion=None) if s is won[-1] else s for s in seen], done)
    assert ledger.verify().entries == len(won) + 1
    ledger.engine.dispose()


def test_what_verify_and_export_see_is_of_one_moment(opened):
    ledger, other, ends = opened(every=3), opened(every=3), threading.Event()

    def work() -> None:
        number = 0
        while not ends.is_set():
            other.append(*(draft(number := number + 1) for _ in range(3)))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        sizes = [ledger.verify().entries for _ in range(20)]
    finally:
        ends.set()
        thread.join()
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]


# ------------------------------------------------------------------------------------------------- checkpoints
def test_checkpoints_are_kept_outside_and_the_head_with_each_append(opened, tmp_path):
    place = tmp_path / "elsewhere"
    ledger = opened(every=3, checkpoints=place)
    ledger.append(*(draft(n) for n in range(6)))
    assert sorted(p.name for p in place.glob("*.json")) == [
        "checkpoint-00000001.json", "checkpoint-00000002.json", "head.json",
    ]  # fmt: skip
    assert _kept(place / "checkpoint-00000002.json")["seq"] == 6
    assert _kept(place / "head.json")["seq"] == 7
    made = ledger.checkpoint()
    assert made is not None
    assert (made.number, made.seq) == (3, 7)
    assert ledger.checkpoint() is None
    promote(ledger, 1)
    assert _kept(place / "checkpoint-00000004.json")["seq"] == _kept(place / "head.json")["seq"] == 8
    assert ledger.verify().checkpoints == 4


def _kept(path: Path) -> dict:
    return json.loads(json.loads(path.read_bytes())["payload"])


def test_the_kept_head_only_goes_forward(opened):
    ledger, other = opened(), opened()
    threads = [
        threading.Thread(target=lambda one=one, i=i: [one.append(draft(100 * i + n)) for n in range(20)])
        for i, one in enumerate((ledger, other, ledger, other))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _kept(ledger.place / "head.json")["seq"] == ledger.size() == 81
    assert ledger.verify().entries == 81


def test_a_decision_stands_where_its_checkpoint_could_not_be_kept(opened, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    ledger = opened(checkpoints=tmp_path / "file")
    assert promote(ledger, 1).seq == 2
    assert "a checkpoint was not kept" in capsys.readouterr().err.replace("\n", " ")
    assert ledger.size() == 2


def test_an_empty_head_after_a_power_failure_is_as_good_as_none(opened):
    ledger = opened()
    for rest in (b"", b"\0" * 1024):
        (ledger.place / "head.json").write_bytes(rest)
        assert ledger.verify().entries == 1
    ledger.append(draft(1))
    assert _kept(ledger.place / "head.json")["seq"] == 2
    (ledger.place / "head.json").write_bytes(b"{}")
    with pytest.raises(AuditBroken, match="Expected a signed checkpoint in"):
        ledger.verify()


# -------------------------------------------------------------------------------------------------------- keys
def test_a_new_key_signs_from_its_entry_on(opened, ws):
    from tasks.ledger_keys import rotate

    ledger, old = opened(), opened()
    before = ledger.signing.signer.id
    ledger.append(draft(1))
    entry = rotate(ledger)
    assert entry.detail["retired"] == [before]
    ledger.append(draft(2))
    old.append(draft(3))  # it had been opened before
    opened().append(draft(4))
    rotate(old)
    ledger.append(draft(5))
    found = ledger.verify()
    assert (found.entries, len(found.keys)) == (8, 3)
    assert not (ws.keys / "ledger-next.pem").exists()
    assert (ws.keys / "ledger.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("entered", [False, True])
def test_a_rotation_that_stops_between_its_writes_is_finished_or_forgotten(opened, ws, monkeypatch, entered):
    from tasks.ledger_keys import rotate

    ledger = opened()
    before, real = ledger.signing.signer.id, ledger.enter_key

    def stops(draft: Draft) -> None:
        if entered:
            real(draft)
        raise KeyboardInterrupt

    monkeypatch.setattr(ledger, "enter_key", stops)
    with pytest.raises(KeyboardInterrupt):
        rotate(ledger)
    assert (ws.keys / "ledger-next.pem").exists()
    again = opened()
    again.append(draft(1))
    assert (again.signing.signer.id != before) is entered
    assert not (ws.keys / "ledger-next.pem").exists()
    assert len(again.verify().keys) == 1 + entered
    ledger.append(draft(2))
    assert again.verify().entries == 3 + entered


def test_who_opens_the_ledger_while_a_key_is_rotated_waits(opened, monkeypatch):
    from tasks.ledger_keys import rotate

    ledger, real, met = opened(), None, []
    real = ledger.enter_key

    def meanwhile(draft: Draft):
        thread = threading.Thread(target=lambda: met.append(opened().append(globals()["draft"](1))))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        met.append(thread)
        return real(draft)

    monkeypatch.setattr(ledger, "enter_key", meanwhile)
    rotate(ledger)
    met[0].join(30)
    assert met[1][0].seq == 3
    ledger.append(draft(2))
    assert (ledger.verify().entries, len(ledger.verify().keys)) == (4, 2)


def test_a_configured_key_is_rotated_to_a_named_file(opened, tmp_path):
    from tasks.ledger_keys import rotate

    old, new = tmp_path / "old.pem", tmp_path / "new.pem"
    for path in (old, new):
        path.write_bytes(Signer.new().pem())
    ledger = opened(key=old)
    with pytest.raises(UsageError, match="Expected --key FILE"):
        rotate(ledger)
    with pytest.raises(UsageError, match="Expected a key that is new to the ledger"):
        rotate(ledger, old)
    rotate(ledger, new)
    with pytest.raises(UsageError, match="Expected a key that the ledger trusts"):
        opened(key=old).append(draft(1))
    opened(key=new).append(draft(1))
    assert len(ledger.verify().keys) == 2
    with pytest.raises(UsageError, match=r"Expected a key file at .*missing\.pem, found none"):
        opened(key=tmp_path / "missing.pem")


def test_a_key_that_the_ledger_does_not_know_is_refused_and_the_first_one_pinned(opened, ws, tmp_path):
    ledger = opened()
    other = Workspace.open(tmp_path / "other")
    with pytest.raises(UsageError, match="Expected a key that the ledger trusts"):
        opened(other, url=ledger.engine.url.render_as_string(hide_password=False)).append(draft(1))
    (e,) = opened(other, url=ledger.engine.url.render_as_string(hide_password=False)).entries()  # to read needs none
    assert e.kind == "key"
    pinned = ws.keys / "ledger.pub.pem"
    assert pinned.read_bytes() == ledger.signing.signer.public_pem()
    pinned.write_bytes(Signer.new().public_pem())
    with pytest.raises(UsageError, match="it is another ledger"):
        opened()
    with pytest.raises(AuditBroken, match="entry 1 is not signed by a trusted key") as caught:
        ledger.verify()
    assert caught.value.entry == 1
    key = tmp_path / "given.pem"
    key.write_bytes(ledger.signing.signer.public_pem())
    assert ledger.verify((key,)).entries == 1


def test_an_auditor_needs_no_private_key(opened, url, ws, tmp_path):
    opened().append(draft(1))
    auditor = Workspace.open(tmp_path / "auditor")
    config = AuditConfig(url=url or f"sqlite:///{ws.ledger_db}")
    ledger = Ledger.look(auditor, config)
    with pytest.raises(UsageError, match="name it with --key"):
        ledger.verify()
    assert ledger.verify((ws.keys / "ledger.pub.pem",)).entries == 2
    assert [e.kind for e in ledger.entries()] == ["key", "scores"]
    assert not list(auditor.keys.iterdir())
    ledger.engine.dispose()


def test_looking_for_a_ledger_makes_none(ws, url):
    ledger = Ledger.look(ws, AuditConfig(url=url))
    with pytest.raises(UsageError, match="found none: `abi run` begins one"):
        ledger.verify()
    with pytest.raises(UsageError, match="found none"):
        ledger.demand()
    assert not ws.ledger_db.exists()
    ledger.engine.dispose()


# ------------------------------------------------------------------------------------------------------ leases
HOLD = """
import sys, time
from pathlib import Path
from abi.operations import AuditConfig
from tasks.ledger import Ledger
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


def test_a_lease_ends_with_the_process_that_held_it(opened, ws, url):
    ledger = opened()
    command = [sys.executable, "-c", HOLD, str(ws.root), url or ""]
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


# ---------------------------------------------------------------------------------------------------- database
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entries SET model = 'other'",
        "DELETE FROM ledger_entries WHERE seq = 2",
        "UPDATE ledger_checkpoints SET hash = ''",
        "DELETE FROM ledger_checkpoints",
        "sqlite: INSERT OR REPLACE INTO ledger_entries SELECT 2, kind, model, time, NULL, payload, hash, key, signature FROM ledger_entries WHERE seq = 3",
        "sqlite: REPLACE INTO ledger_entries SELECT 9, kind, model, time, operation, payload, hash, key, signature FROM ledger_entries WHERE seq = 3",
        "sqlite: REPLACE INTO ledger_checkpoints SELECT number, '', hash, key, signature FROM ledger_checkpoints",
        "postgresql: TRUNCATE ledger_entries",
        "postgresql: INSERT INTO ledger_checkpoints SELECT * FROM ledger_checkpoints ON CONFLICT (number) DO UPDATE SET hash = ''",
    ],
)
def test_the_database_itself_refuses_changes(opened, statement):
    ledger = opened()
    kind, _, rest = statement.rpartition(": ")
    if kind and kind != ledger.engine.dialect.name:
        pytest.skip(f"only {kind} has that statement")
    ledger.append(draft(1), draft(2))
    ledger.checkpoint()
    with pytest.raises(DBAPIError, match="entries are never changed"), ledger.engine.begin() as connection:
        connection.execute(text(rest))
    assert (ledger.verify().entries, ledger.verify().checkpoints) == (3, 1)


OPEN = """
import sys, time
from pathlib import Path
from abi.audit.entry import Draft
from abi.operations import AuditConfig
from tasks.ledger import Ledger
from tasks.workspace import Workspace
time.sleep(max(0.0, float(sys.argv[3]) - time.time()))
ledger = Ledger.open(Workspace(Path(sys.argv[1])), AuditConfig(url=sys.argv[2] or None))
ledger.append(Draft(kind="plan", model="m"))
"""


def test_processes_that_open_a_new_ledger_at_the_same_moment_share_it(ws, url):
    command = [sys.executable, "-c", OPEN, str(ws.root), url or "", str(time.time() + 4)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(p.communicate()[1], p.returncode) for p in running] == [("", 0)] * 4
    ledger = Ledger.look(ws, AuditConfig(url=url))
    assert [e.kind for e in ledger.entries()] == ["key"] + ["plan"] * 4
    assert ledger.verify().entries == 5
    ledger.engine.dispose()


def test_a_decision_waits_for_a_server_that_is_away(ws, postgres_url, cut_proxy, capsys):
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


def test_a_full_disk_is_said_and_nothing_entered(ws):
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
        ("sqlite:////no/such/folder/ledger.db", LedgerError, "got: unable to open database file"),
    ],
)
def test_a_url_that_cannot_be_used_is_one_sentence_at_once(ws, url, error, said):
    with pytest.raises(error, match=said) as caught:
        Ledger.open(ws, AuditConfig(url=url))
    assert "\n" not in str(caught.value)


def test_a_wrong_password_or_database_is_not_waited_for(ws, postgres_url):
    start = time.monotonic()
    for wrong in (postgres_url.replace("only-for", "not-for"), f"{postgres_url}_none"):
        with pytest.raises(LedgerError, match=r"(authentication failed|does not exist)") as caught:
            Ledger.open(ws, AuditConfig(url=wrong))
        assert "\n" not in str(caught.value)
        assert "this-test-run" not in str(caught.value)
    assert time.monotonic() - start < 20


# --------------------------------------------------------------------------------------------------- tampering
def test_tampering_with_the_database_file_is_detected(ws, benchmark_module):
    """As somebody would who has the file: triggers dropped, rows written anew."""
    from tasks.ledger_checkpoints import read_kept
    from tasks.ledger_keys import rotate, trusted_keys

    module = benchmark_module("ledger_tampering")
    ledger = Ledger.open(ws, AuditConfig(every=7))
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
    skipped = (make.retired_key, make.set_back, make.head_set_back, make.kept, make.kept_of_other, make.other_key)
    kinds = [kind for kind in make.entry_kinds + make.mark_kinds if kind not in (*skipped, make.other_ledger)]
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
            if broken.entry != case.entry and case.what not in FOREIGN:
                failures.append((case.what, case.entry, str(broken)))
        found.engine.dispose()
    assert failures == []
    _write(ws.ledger_db, true)
    assert Ledger.look(ws, AuditConfig()).verify().entries == 30


FOREIGN = {"replayed from another ledger", "head of another ledger", "checkpoint of another ledger"}


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


def test_damage_in_the_file_is_no_traceback(ws):
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


def test_a_ledger_that_is_gone_is_missed_by_what_was_kept(ws):
    ledger = Ledger.open(ws, AuditConfig())
    ledger.append(draft(1))
    ledger.engine.dispose()
    for path in ws.root.glob("ledger.db*"):
        path.unlink()
    with pytest.raises(AuditBroken, match="entries from 1 on may be missing"):
        Ledger.look(ws, AuditConfig()).verify()
    assert not ws.ledger_db.exists()
