from __future__ import annotations

import collections
import contextlib
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from abi.audit import verify_export
from abi.audit.chain import Row, verify
from abi.audit.entry import GENESIS, Checkpoint, Entry, Head, Sealed
from abi.audit.keys import Signer
from abi.errors import AuditBroken

SEED = 20_260_101
TAMPERINGS = 2_000
EXPORTED = 400
BY_ITSELF = 20


@pytest.fixture(scope="module")
def tampering(benchmark_module):
    return benchmark_module("ledger_tampering")


@pytest.fixture(scope="module")
def world(tampering):
    return tampering.build_world()


def test_a_true_ledger_verifies_and_says_what_it_came_to(world):
    found = world.true.verify()
    assert (found.entries, found.checkpoints) == (30, 4)
    assert found.hash == world.true.rows[-1].sealed.hash
    assert set(found.keys) == {signer.id for signer in world.signers}


def test_every_state_that_a_ledger_has_been_in_verifies(world):
    for count, (marks, head) in enumerate(world.past, 1):
        earlier = replace(world.true, rows=world.true.rows[:count], checkpoints=marks, head=head, kept=(*marks, head))
        assert earlier.verify().entries == count


def test_a_ledger_that_only_has_grown_agrees_with_what_was_kept_before(world):
    for marks, head in world.past:
        assert replace(world.true, kept=(*marks, head)).verify().entries == 30


def test_two_thousand_tamperings_are_all_detected_and_the_first_bad_entry_named(tampering, world):
    make = tampering.Tamperer(world, SEED)
    undetected, misnamed = [], []
    seen: collections.Counter[str] = collections.Counter()
    for _ in range(TAMPERINGS):
        case = make.case()
        seen[case.what] += 1
        try:
            case.store.verify()
            undetected.append(case.what)
        except AuditBroken as broken:
            message = str(broken)
            assert "\n" not in message
            if broken.entry != case.entry or (case.entry is not None and not _names(message, case.entry)):
                misnamed.append((case.what, case.entry, message))
    assert (sum(seen.values()), undetected, misnamed[:3]) == (TAMPERINGS, [], [])
    assert len(seen) == 35
    assert min(seen.values()) >= 5, seen


def _names(message: str, entry: int) -> bool:
    return re.search(rf"entr(y|ies)( from)? {entry}\b", message) is not None


def test_the_exported_ledger_is_as_safe_with_the_script_alone(tampering, world):
    pem = world.signers[0].public_pem()
    with contextlib.redirect_stdout(io.StringIO()):
        assert verify_export.verify(_lines(world.true), pem) == (30, 4)
    make = tampering.Tamperer(world, SEED, stored_only=True)
    entries = {kind.__name__ for kind in make.entry_kinds}
    failures = []
    for _ in range(EXPORTED):
        make_one = make.random.choice(make.entry_kinds + make.mark_kinds)
        case = make_one()
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                verify_export.verify(_lines(case.store), pem)
            failures.append((case.what, "undetected"))
        except SystemExit as stopped:
            if stopped.code != 6 or not said.getvalue().startswith("BROKEN: "):
                failures.append((case.what, said.getvalue()))
            # entries that are gone with those that once stood for them leave a true, shorter ledger: `kept` tells, below
            if make_one.__name__ in entries and not re.search(rf"entr(y|ies from) {case.entry}\b", said.getvalue()):
                failures.append((case.what, case.entry, said.getvalue()))
    wholly_set_back = [f for f in failures if f == ("set back", "undetected")]
    assert [f for f in failures if f not in wholly_set_back] == []


def test_the_script_stands_by_itself(tampering, world, tmp_path):
    """Only the standard library and cryptography: -I hides this project, and its folder has nothing else."""
    script = tmp_path / "verify_export.py"
    script.write_text(Path(verify_export.__file__).read_text())
    (tmp_path / "key.pem").write_bytes(world.signers[0].public_pem())

    def run(store) -> subprocess.CompletedProcess[str]:
        (tmp_path / "ledger.jsonl").write_text("".join(f"{line}\n" for line in _lines(store)))
        command = [sys.executable, "-I", "verify_export.py", "ledger.jsonl", "key.pem"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    good = run(world.true)
    assert (good.returncode, good.stdout) == (0, "OK: 30 entries, 4 checkpoints, as they were written\n")
    make = tampering.Tamperer(world, SEED + 1, stored_only=True)
    make.entry_kinds.remove(make.set_back)
    for _ in range(BY_ITSELF):
        case = make.case()
        answer = run(case.store)
        assert (answer.returncode, answer.stderr) == (6, ""), (case.what, answer)
    usage = subprocess.run(
        [sys.executable, "-I", "verify_export.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert usage.returncode == 2
    assert "verify_export.py ledger.jsonl ledger.pub.pem" in usage.stdout
    for wrong in (["nope", "key.pem"], ["ledger.jsonl", "ledger.jsonl"], ["ledger.jsonl", "nope"]):
        answer = subprocess.run(
            [sys.executable, "-I", "verify_export.py", *wrong],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (answer.returncode, answer.stderr) == (2, ""), answer
        assert answer.stdout.startswith("Expected an export and the ledger's Ed25519 public key (PEM), got ")


@pytest.mark.parametrize("line", ["", "{", "null", "[]", "{}", '{"type": "entry"}', '{"type": 3, "payload": null}'])
def test_the_script_calls_rubbish_broken(world, line, capsys):
    for place in (0, 20, 32, 35):
        lines = _lines(world.true)
        lines.insert(place, line)
        with pytest.raises(SystemExit) as stopped:
            verify_export.verify(lines, world.signers[0].public_pem())
        assert stopped.value.code == 6
        assert capsys.readouterr().out.startswith("BROKEN: ")


def test_the_script_is_short():
    assert len(Path(verify_export.__file__).read_text().splitlines()) < 110


def _lines(store) -> list[str]:
    sealed = [("entry", row.sealed) for row in store.rows] + [("checkpoint", mark) for mark in store.checkpoints]
    if store.head is not None:
        sealed.append(("head", store.head))
    return [json.dumps({"type": kind, **vars(one)}) for kind, one in sealed]


def _ledger(*entries: dict) -> tuple[list[Row], Signer, Sealed]:
    """A small one whose entries its own signer may have written wrongly."""
    signer, previous, rows = Signer.new(), GENESIS, []
    for seq, given in enumerate(entries, 1):
        plain = {"kind": "scores", "model": "m", "seq": seq, "previous": previous, "time": "t", "actor": "a", **given}
        sealed = signer.seal(Entry(**plain))
        rows.append(Row(sealed))
        previous = sealed.hash
    return rows, signer, signer.seal(Head(seq=len(rows), hash=previous, checkpoint=GENESIS))


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([{"operation": "one"}, {"operation": "one"}], "entry 2 repeats the operation of entry 1"),
        ([{}, {"seq": 3}], "entry 2 is another one, written as entry 3"),
        ([{}, {"previous": "ab"}], "entry 2 does not follow from the entry before it"),
        (
            [{"kind": "promotion", "detail": {"replaces": 0}}, {"kind": "rollback", "detail": {"replaces": 0}}],
            "entry 2 sets a champion in place of entry 0, where entry 1 held",
        ),
        ([{"kind": "key", "detail": {"id": "x", "public_key": "none"}}], "entry 1 brings a key that cannot be read"),
        (
            [{"kind": "key", "detail": {"id": "x", "public_key": Signer.new().public_pem().decode()}}],
            "entry 1 brings a key under another one's name",
        ),
    ],
)
def test_what_its_own_signer_may_not_write(entries, said):
    rows, signer, head = _ledger(*entries)
    with pytest.raises(AuditBroken, match=said):
        verify(rows, {signer.id: signer.private.public_key()}, head=head)


@pytest.mark.parametrize("kind", ["head", "checkpoint", "kept"])
def test_a_retired_key_signs_nothing_past_the_entry_that_retired_it(kind, capsys):
    old, new = Signer.new(), Signer.new()
    rotation = {"id": new.id, "public_key": new.public_pem().decode(), "retired": [old.id]}
    previous, rows = GENESIS, []
    for seq, (kind_of, detail, signer) in enumerate(
        (("scores", {}, old), ("key", rotation, old), ("scores", {}, new)), 1
    ):
        entry = Entry(
            kind=kind_of, model="", detail=detail, operation=str(seq), seq=seq, previous=previous, time="t", actor="a"
        )
        rows.append(Row(signer.seal(entry)))
        previous = rows[-1].sealed.hash
    keys, pem = {old.id: old.private.public_key()}, old.public_pem()

    def ledger(signer: Signer, seq: int) -> SimpleNamespace:
        held, sealed = rows[: seq if kind == "head" else 3], rows[seq - 1].sealed.hash
        mark = signer.seal(Checkpoint(number=1, previous=GENESIS, seq=seq, hash=sealed, time="t"))
        marks = (mark,) if kind == "checkpoint" else ()
        last = marks[0].hash if marks else GENESIS
        head = Head(seq=len(held), hash=held[-1].sealed.hash, checkpoint=last)
        kept = (signer.seal(Head(seq=seq, hash=sealed, checkpoint=last)),) if kind == "kept" else ()
        end = (signer if kind == "head" else new).seal(head)
        return SimpleNamespace(rows=held, checkpoints=marks, kept=kept, head=end)

    def check(one: SimpleNamespace) -> int:
        return verify(one.rows, keys, head=one.head, checkpoints=one.checkpoints, kept=one.kept).entries

    for signer, seq in ((old, 2), (new, 3)):  # the rotation itself is the old key's last word
        whole = ledger(signer, seq)
        assert check(whole) == verify_export.verify(_lines(whole), pem)[0] == len(whole.rows)
    with pytest.raises(AuditBroken, match=f"got {old.id}, which entry 2 retired"):
        check(ledger(old, 3))
    if kind != "kept":
        with pytest.raises(SystemExit):
            verify_export.verify(_lines(ledger(old, 3)), pem)
        assert "is signed by a key that was retired" in capsys.readouterr().out


def test_a_promotion_of_another_model_replaces_nothing():
    first = {"kind": "promotion", "detail": {"replaces": 0}}
    rows, signer, head = _ledger(first, {**first, "model": "other"}, {"kind": "rollback", "detail": {"replaces": 1}})
    assert verify(rows, {signer.id: signer.private.public_key()}, head=head).entries == 3


def test_an_empty_ledger_verifies_and_one_without_its_end_does_not():
    signer = Signer.new()
    keys = {signer.id: signer.private.public_key()}
    assert verify([], keys, head=signer.seal(Head(seq=0, hash=GENESIS, checkpoint=GENESIS))).entries == 0
    with pytest.raises(AuditBroken, match="entries from 1 on may be missing") as caught:
        verify([], keys, head=None)
    assert caught.value.entry == 1
