from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from abi.audit.entry import Draft
from abi.errors import AuditBroken, PromotionConflict
from tasks.ledger import Ledger
from tasks.ledger_tables import entries

SEED = 7
PROCESSES, OPERATIONS = 4, 15


def test_what_is_appended_is_read_back_in_order(opened, draft):
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


def test_an_operation_has_one_entry_however_often_it_is_asked_for(opened, draft, promote):
    ledger = opened()
    (first,) = ledger.append(draft(1))
    again, new, twice = ledger.append(draft(1, detail={}), draft(2), draft(2))
    assert (again, new.seq, twice) == (first, 3, new)
    assert promote(ledger, 5) == promote(ledger, 5)
    (unnamed,), (another,) = ledger.append(draft(operation=None)), ledger.append(draft(operation=None))
    assert unnamed.operation != another.operation
    assert ledger.verify().entries == ledger.size() == 6


def test_a_lost_answer_to_a_commit_makes_no_second_entry(opened, monkeypatch, draft, promote):
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


def test_what_fails_in_the_middle_leaves_nothing(opened, draft):
    ledger = opened()
    with pytest.raises(ZeroDivisionError):
        ledger.change(draft(1), lambda now: replace(now, champion=1 // 0))
    with pytest.raises(ZeroDivisionError):
        ledger.database.write(lambda c: (ledger._transaction(c, ledger.signing).append(draft(9)), 1 // 0))
    assert (ledger.size(), ledger.verify().entries) == (1, 1)


def test_aliases_follow_decisions_and_a_stale_one_gets_a_conflict(opened, promote):
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


def test_processes_that_promote_against_one_another_are_linearizable(ws, ledger_url, benchmark_module):
    race = benchmark_module("ledger_race")
    seen = race.race(ws.root, ledger_url, PROCESSES, OPERATIONS, SEED)
    ledger = Ledger.look(ws, race.settings(ledger_url))
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
    last = max(won, key=lambda s: s.entry)
    assert race.check([replace(s, expected=0, champion=None) if s is last else s for s in seen], done)
    assert ledger.verify().entries == len(won) + 1
    ledger.engine.dispose()


def test_what_verify_and_export_see_is_of_one_moment(opened, draft):
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


def test_checkpoints_are_kept_outside_and_the_head_with_each_append(opened, tmp_path, draft, promote):
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


def test_the_kept_head_only_goes_forward(opened, draft):
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


def test_a_decision_stands_where_its_checkpoint_could_not_be_kept(opened, tmp_path, capsys, promote):
    (tmp_path / "file").write_text("in the way")
    ledger = opened(checkpoints=tmp_path / "file")
    assert promote(ledger, 1).seq == 2
    assert "a checkpoint was not kept" in capsys.readouterr().err.replace("\n", " ")
    assert ledger.size() == 2


def test_an_empty_head_after_a_power_failure_is_as_good_as_none(opened, draft):
    ledger = opened()
    for rest in (b"", b"\0" * 1024):
        (ledger.place / "head.json").write_bytes(rest)
        assert ledger.verify().entries == 1
    ledger.append(draft(1))
    assert _kept(ledger.place / "head.json")["seq"] == 2
    (ledger.place / "head.json").write_bytes(b"{}")
    with pytest.raises(AuditBroken, match="Expected a signed checkpoint in"):
        ledger.verify()
