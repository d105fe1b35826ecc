from __future__ import annotations

import errno
import json
import sqlite3
import subprocess
import sys

import pytest

from abi.audit.entry import Draft
from abi.operations import AuditConfig
from tasks.ledger import Ledger
from tasks.workspace import Workspace

RUN = "0af3c1d2e4b5968778695a4b3c2d1e0f"


@pytest.fixture
def place(tmp_path):
    """A workspace whose ledger has a few decisions about two models."""
    ws = Workspace.open(tmp_path / "workspace")
    ledger = Ledger.open(ws, AuditConfig(actor="ann.of.the.platform.team@build-machine-17.example"))
    reason = "calibration drifted on the new region; the model before is put back until it is retrained"
    moved = {"round": 2, "entropy": 1.25, "moved": 0.03}
    ledger.append(
        Draft(kind="snapshot", model="churn", detail={"rows": 48_842, "snapshot_sha256": "ab" * 32}, operation="snap"),
        Draft(kind="attention", model="churn", values={"attention": "c0ffee" * 10}, detail=moved, mlflow_run=RUN),
        Draft(kind="outcome", model="fraud-of-cards", detail={"primary": "roc_auc", "metrics": {"roc_auc": 0.91237}}),
    )
    for version, kind in ((1, "promotion"), (2, "rollback")):
        detail = {"version": version, "reason": reason}
        draft = Draft(kind=kind, model="churn", detail=detail, operation=f"{kind}:{version}")
        ledger.change(draft, lambda now: now)
    ledger.engine.dispose()
    return ws


def test_entries_are_listed_and_filtered(abi, place):
    def numbers(*flags: object) -> list[int]:
        return [e["seq"] for e in abi("audit", "ls", "--workspace", place.root, "--json", *flags).json["entries"]]

    assert numbers() == [1, 2, 3, 4, 5, 6]
    assert numbers("--kind", "attention") == [3]
    assert numbers("--model", "churn", "--last", 2) == [5, 6]
    assert numbers("--value", "c0ffeec0") == numbers("--value", RUN[:8]) == [3]
    assert numbers("--model", "nobody") == []
    for flags in (("--kind", "guess"), ("--last", "0"), ("--last", "-3")):
        answer = abi("audit", "ls", "--workspace", place.root, *flags)
        assert answer.code == 2
        assert answer.sentence


@pytest.mark.parametrize("columns", [80, 120])
def test_a_list_fits_the_terminal_and_breaks_no_word(abi, place, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    answer = abi("audit", "ls", "--workspace", place.root, "--no-color")
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= columns
    who = ["who"] if columns == 120 else []  # else with what, in the column that is broken at spaces
    assert lines[0].split() == ["entry", "time", "(UTC)", "kind", "model", *who, "what"]
    for word in ("attention", "promotion", "rollback", "fraud-of-cards", "48,842", "roc_auc", "calibration", "until"):
        assert word in answer.out.split()
    assert answer.out.count("ann.of.the.platform…") == 6
    starts = [line for line in lines[1:] if line[:5].strip()]
    assert [int(line.split()[0]) for line in starts] == [1, 2, 3, 4, 5, 6]


def test_an_empty_list_says_so(abi, place):
    answer = abi("audit", "ls", "--workspace", place.root, "--model", "nobody")
    assert (answer.code, answer.out) == (0, "No entries.\n")


def test_one_entry_is_shown_by_number_or_operation(abi, place):
    by_number = abi("audit", "show", "2", "--workspace", place.root)
    assert by_number.json["detail"]["rows"] == 48_842
    assert abi("audit", "show", "snap", "--workspace", place.root).json == by_number.json
    for which in ("7", "0", "none", "9" * 40, "9" * 5000):
        answer = abi("audit", "show", which, "--workspace", place.root)
        assert answer.code == 2
        assert answer.sentence.startswith("abi: Expected the number (1 to 6) or operation of an entry, got")


def test_verify_says_that_all_is_well_or_names_the_first_bad_entry(abi, place, tmp_path):
    answer = abi("audit", "verify", "--workspace", place.root)
    assert answer.code == 0
    assert answer.out.startswith("6 entries and 2 checkpoints are as they were written")
    assert abi("audit", "verify", "--workspace", place.root, "--json").json["entries"] == 6
    key = place.keys / "ledger.pub.pem"
    assert abi("audit", "verify", "--workspace", tmp_path / "w", "--key", key).code == 2
    elsewhere = abi("audit", "verify", "--workspace", place.root, "--key", key, "--checkpoints", tmp_path / "none")
    assert elsewhere.code == 2
    assert "--checkpoints" in elsewhere.sentence
    for seq in (4, 1):  # the key's own entry, at last
        with sqlite3.connect(place.ledger_db) as connection:
            connection.execute("DROP TRIGGER IF EXISTS ledger_entries_no_update")
            connection.execute(
                "UPDATE ledger_entries SET payload = replace(payload, 'ann.of', 'eve.of') WHERE seq = ?", (seq,)
            )
        connection.close()
        answer = abi("audit", "verify", "--workspace", place.root)
        assert answer.code == 6
        assert f"entry {seq} was changed" in answer.sentence
    with sqlite3.connect(place.ledger_db) as connection:
        connection.execute("UPDATE ledger_entries SET payload = '' WHERE seq = 1")
    connection.close()
    for words in (("verify",), ("ls",), ("show", "1")):
        answer = abi("audit", *words, "--workspace", place.root)
        assert answer.code == 6
        assert "entry 1" in answer.sentence


def test_an_export_is_verified_without_this_software(abi, place, tmp_path):
    out = tmp_path / "export"
    answer = abi("audit", "export", "--workspace", place.root, "--out", out, "--json")
    assert answer.json["lines"] == 6 + 2 + 1
    command = [sys.executable, "-I", answer.json["verifier"], answer.json["ledger"], answer.json["public_key"]]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    good = run()
    assert (good.returncode, good.stdout) == (0, "OK: 6 entries, 2 checkpoints, as they were written\n")
    lines = (out / "ledger.jsonl").read_text().splitlines()
    entry = json.loads(lines[3])
    entry["payload"] = entry["payload"].replace("0.91237", "0.99237")
    (out / "ledger.jsonl").write_text("\n".join([*lines[:3], json.dumps(entry), *lines[4:]]) + "\n")
    bad = run()
    assert (bad.returncode, bad.stderr) == (6, "")
    assert "entry 4 was changed" in bad.stdout
    said = abi("audit", "export", "--workspace", place.root, "--out", out).out
    assert "verify with: python" in said
    assert run().returncode == 0


def test_a_place_or_key_that_cannot_be_used_says_what_to_name(abi, place, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    answer = abi("audit", "export", "--workspace", place.root, "--out", tmp_path / "file" / "x")
    assert (answer.code, "another place with --out." in answer.sentence) == (1, True)
    monkeypatch.setattr("tasks.audit._lines", _full)  # while the ledger is read, whose own place is another
    answer = abi("audit", "export", "--workspace", place.root, "--out", tmp_path / "full")
    assert answer.code == 1
    assert f"room to write {tmp_path / 'full'}, got no space left: free some or use another place with --out." in answer.sentence  # fmt: skip
    answer = abi("audit", "verify", "--workspace", place.root, "--key", tmp_path / "none")
    assert (answer.code, "name the ledger's public key with --key" in answer.sentence) == (2, True)
    assert "private" not in answer.sentence


def _full(_: object) -> list[str]:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_key_is_rotated(abi, place):
    answer = abi("audit", "rotate", "--workspace", place.root)
    assert answer.code == 0
    assert answer.out.startswith("Entry 7: key ")
    assert abi("audit", "verify", "--workspace", place.root, "--json").json["entries"] == 7


@pytest.mark.parametrize("words", [["ls"], ["show", "1"], ["verify"], ["export"]])
def test_where_there_is_no_ledger_none_is_made(abi, tmp_path, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w").mkdir()
    answer = abi("audit", *words, "--workspace", tmp_path / "w")
    assert answer.code == 2
    assert "Expected a ledger at" in answer.sentence
    assert [path.name for path in tmp_path.rglob("*")] == ["w"]


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "ls"], ["audit", "show", "1"], ["audit", "verify"], ["audit", "export"], ["keys", "show"], ["metrics"],
        ["leaderboard"], ["explain", "size"], ["explain", "a/1"], ["replay", "a/1"], ["diff", "a/1", "a/2"],
        ["report", "a/1"], ["eval", "a/1"], ["predict", "x.csv"], ["serve"], ["promote"], ["promote", "--model", "a"],
        ["rollback", "--reason", "r"], ["monitor", "x.csv"], ["audit", "rotate"],
    ],
)  # fmt: skip
def test_where_there_is_no_workspace_reading_makes_none(abi, tmp_path, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = abi(*words)
    assert answer.code == 2
    assert f"Expected a workspace at {tmp_path / '.abi'}, found none: `abi run` makes one" in answer.sentence
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["promote"], ["rollback", "--model", "a", "--reason", "r"], ["monitor", "x.csv"]])
def test_in_a_folder_that_is_no_workspace_nothing_is_decided_or_made(abi, tmp_path, words):
    answer = abi(*words, "--workspace", tmp_path)
    assert answer.code == 2
    assert "Expected a ledger at" in answer.sentence
    assert not list(tmp_path.iterdir())


def test_a_document_that_is_not_there_leaves_no_workspace(abi, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["report", "none.json"], ["score", "none.json"]):
        answer = abi(*words)
        assert answer.code == 2
        assert "at none.json, got: No such file or directory" in answer.sentence
    assert not list(tmp_path.iterdir())


def test_a_ledger_elsewhere_is_read_without_a_workspace(abi, place, tmp_path):
    where = ("--set", f"audit.url=sqlite:///{place.ledger_db}")
    assert len(abi("audit", "ls", "--workspace", tmp_path / "w", "--json", *where).json["entries"]) == 6


def test_reading_begins_no_ledger(abi, tmp_path):
    assert "abi_ledger_entries 0.0" in abi("metrics", "--workspace", tmp_path).out
    answer = abi("audit", "rotate", "--workspace", tmp_path)
    assert (answer.code, "`abi run` begins one" in answer.sentence) == (2, True)
    assert not list(tmp_path.glob("ledger.db*"))
    assert not list(tmp_path.glob("keys/*"))
