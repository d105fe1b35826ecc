from __future__ import annotations

import threading

import pytest

from abi.audit.entry import Draft
from abi.audit.keys import Signer
from abi.errors import AuditBroken, UsageError
from abi.operations import AuditConfig
from tasks.ledger import Ledger
from tasks.workspace import Workspace


def test_a_new_key_signs_from_its_entry_on(opened, ws, draft):
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
def test_a_rotation_that_stops_between_its_writes_is_finished_or_forgotten(opened, ws, monkeypatch, entered, draft):
    from tasks.ledger_keys import rotate

    ledger = opened()
    before, real = ledger.signing.signer.id, ledger.enter_key

    def stops(given: Draft) -> None:
        if entered:
            real(given)
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


def test_who_opens_the_ledger_while_a_key_is_rotated_waits(opened, monkeypatch, draft):
    from tasks.ledger_keys import rotate

    ledger, met = opened(), []
    real = ledger.enter_key

    def meanwhile(given: Draft):
        thread = threading.Thread(target=lambda: met.append(opened().append(draft(1))))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        met.append(thread)
        return real(given)

    monkeypatch.setattr(ledger, "enter_key", meanwhile)
    rotate(ledger)
    met[0].join(30)
    assert met[1][0].seq == 3
    ledger.append(draft(2))
    assert (ledger.verify().entries, len(ledger.verify().keys)) == (4, 2)


def test_a_configured_key_is_rotated_to_a_named_file(opened, tmp_path, draft):
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


def test_a_key_that_the_ledger_does_not_know_is_refused_and_the_first_one_pinned(opened, ws, tmp_path, draft):
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


def test_an_auditor_needs_no_private_key(opened, ledger_url, ws, tmp_path, draft):
    opened().append(draft(1))
    auditor = Workspace.open(tmp_path / "auditor")
    config = AuditConfig(url=ledger_url or f"sqlite:///{ws.ledger_db}")
    ledger = Ledger.look(auditor, config)
    with pytest.raises(UsageError, match="name it with --key"):
        ledger.verify()
    with pytest.raises(UsageError, match="got a folder: name the file in it"):
        ledger.verify((ws.keys,))
    assert ledger.verify((ws.keys / "ledger.pub.pem",)).entries == 2
    assert [e.kind for e in ledger.entries()] == ["key", "scores"]
    assert not list(auditor.keys.iterdir())
    ledger.engine.dispose()


def test_looking_for_a_ledger_makes_none(ws, ledger_url):
    ledger = Ledger.look(ws, AuditConfig(url=ledger_url))
    with pytest.raises(UsageError, match="found none: `abi run` begins one"):
        ledger.verify()
    with pytest.raises(UsageError, match="found none"):
        ledger.demand()
    assert not ws.ledger_db.exists()
    ledger.engine.dispose()


def test_a_lost_private_key_is_named_and_none_is_made_in_its_place(opened, ws, draft, ledger_url):
    opened().append(draft(1))
    (ws.keys / "ledger.pem").unlink()
    with pytest.raises(UsageError, match="restore it from a backup"):
        opened()
    assert not (ws.keys / "ledger.pem").exists()
    looked = Ledger.look(ws, AuditConfig(url=ledger_url))
    assert looked.verify().entries == 2
    looked.engine.dispose()


def test_a_lost_ledger_is_named_and_none_begins_in_its_place(ws, draft):
    Ledger.open(ws, AuditConfig()).append(draft(1))
    for file in ws.root.glob("ledger.db*"):
        file.unlink()
    for attempt in (Ledger.open, lambda *given: Ledger.look(*given).demand()):
        with pytest.raises(AuditBroken, match="restore it from a backup"):
            attempt(ws, AuditConfig())
    assert not ws.ledger_db.exists()
    (ws.keys / "ledger.pub.pem").unlink()  # on purpose
    assert Ledger.open(ws, AuditConfig()).size() == 1
