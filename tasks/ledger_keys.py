"""The ledger's keys on disk: the private one that signs, and the first public one, which all others are trusted from.

A new key is entered in the ledger, signed by the one before (`rotate`), so the first public key is enough to verify with.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from abi.audit.entry import Draft, Entry, Kind
from abi.audit.keys import Signer, key_id, read_public
from abi.errors import AuditBroken, UsageError
from tasks.ledger_transaction import Signing
from tasks.workspace import disk_errors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from abi.operations import AuditConfig
    from tasks.ledger import Ledger
    from tasks.workspace import Workspace

KEYS: tuple[Kind, ...] = ("key",)
PRIVATE, NEXT, FIRST_PUBLIC = "ledger.pem", "ledger-next.pem", "ledger.pub.pem"
MAKES = "`openssl genpkey -algorithm ed25519 -out FILE` makes"
CONFIGURED = f"name one that is there ({MAKES} a private one), or leave audit.key away"
OF_FILE = f"name one that is there with --key ({MAKES} one)"
FROM_WHOM = "name the ledger's public key with --key, from whom you trust, or leave --key out for the one that this workspace saw first"


def find_signer(ws: Workspace, config: AuditConfig) -> Signer:
    """The private key; where none is configured and this workspace has seen no ledger yet, a new one.

    Raises:
        UsageError: the file is missing or holds no such key.
    """
    if config.key is not None:
        return Signer.read(_bytes(config.key), str(config.key))
    private = ws.keys / PRIVATE
    with ws.alone("keys"):
        if not private.is_file():
            if (ws.keys / FIRST_PUBLIC).is_file():
                msg = f"Expected the ledger's private key at {private}, found none: restore it from a backup, or name one that the ledger trusts with audit.key."
                raise UsageError(msg)
            ws.write(private, Signer.new().pem(), private=True)
    return Signer.read(_bytes(private), str(private))


def settle(ledger: Ledger) -> Signing:
    """The signer, and why it may not append where the ledger does not trust it; who only reads needs no trusted key.

    Finishes a rotation that was interrupted, and pins the first public key.

    Raises:
        UsageError: it is another ledger than this workspace saw first.
    """
    with ledger.ws.alone("keys"):
        return _settle(ledger)


def _settle(ledger: Ledger) -> Signing:
    ws = ledger.ws
    entries = list(ledger.entries(kinds=KEYS, model=""))
    _pin(ledger, entries)
    valid = set[str]()
    for entry in entries:
        valid = (valid - set(entry.detail.get("retired", []))) | {entry.detail["id"]}
    private = ledger.config.key or ws.keys / PRIVATE
    following = ws.keys / NEXT
    if ledger.config.key is None and following.is_file():
        if Signer.read(_bytes(following), str(following)).id in valid:
            following.replace(private)
        else:
            following.unlink()
    signer = Signer.read(_bytes(private), str(private))
    refusal = f"Expected a key that the ledger trusts ({', '.join(sorted(valid))}), got {signer.id}: name its file with audit.key, or enter this one with `abi audit rotate --key` where the trusted key is."
    return Signing(signer, entries[-1].seq, refusal="" if signer.id in valid else refusal)


def _pin(ledger: Ledger, entries: list[Entry]) -> None:
    """The first key as this workspace saw it first is what the ledger is held against from then on."""
    pinned = ledger.ws.keys / FIRST_PUBLIC
    if not entries:
        msg = f"Expected the ledger at {ledger.database.place} to begin with a key, found none: `abi audit verify` says what is missing."
        raise AuditBroken(msg, 1)
    first = str(entries[0].detail["public_key"]).encode()
    if not pinned.is_file():
        ledger.ws.write(pinned, first)
    elif key_id(read_public(_bytes(pinned), str(pinned))) != entries[0].detail["id"]:
        msg = f"Expected the ledger at {ledger.database.place} to begin with the key in {pinned}, got {entries[0].detail['id']}: it is another ledger; use a workspace of its own for it."
        raise UsageError(msg)


def rotate(ledger: Ledger, key: Path | None = None) -> Entry:
    """Enter a new key, signed by the present one; entries from here on must be signed by it.

    Args:
        ledger: whose key changes.
        key: private key file that `audit.key` will name from now on; one is made in the workspace where None.

    Raises:
        UsageError: the key is configured, and no file for the new one is given; or the file has an earlier key.
    """
    ws = ledger.ws
    if key is None and ledger.config.key is not None:
        msg = "Expected --key FILE with the new private key, since audit.key names the present one: `openssl genpkey -algorithm ed25519 -out FILE`."
        raise UsageError(msg)
    with ws.alone("keys"):  # who opens the ledger now must not take the next key for one of an interrupted rotation
        ledger.signing = _settle(ledger)
        ledger.signing.demand()
        signer = Signer.new() if key is None else Signer.read(_bytes(key, OF_FILE), str(key))
        operation = f"key:{signer.id}"
        if ledger.find(operation) is not None:
            msg = f"Expected a key that is new to the ledger, got {signer.id}, which is not: make one with `openssl genpkey -algorithm ed25519 -out FILE`."
            raise UsageError(msg)
        if key is None:
            ws.write(ws.keys / NEXT, signer.pem(), private=True)
        detail = {
            "id": signer.id,
            "public_key": signer.public_pem().decode(),
            "retired": [ledger.signing.signer.id],
        }
        entry = ledger.enter_key(Draft(kind="key", model="", detail=detail, operation=operation))
        if key is None:
            (ws.keys / NEXT).replace(ws.keys / PRIVATE)
        ledger.signing = Signing(signer, entry.seq)
    return entry


def trusted_keys(ws: Workspace, given: tuple[Path, ...] = ()) -> dict[str, Ed25519PublicKey]:
    """Public keys that a ledger is verified with: those given, else the first one as this workspace saw it first."""
    pinned = ws.keys / FIRST_PUBLIC
    if not given and not pinned.is_file():
        msg = (
            f"Expected the ledger's first public key at {pinned}, found none: name it with --key, from whom you trust."
        )
        raise UsageError(msg)
    keys = [read_public(_bytes(path, FROM_WHOM), str(path)) for path in given or (pinned,)]
    return {key_id(key): key for key in keys}


def first_public(ledger: Ledger) -> bytes:
    """The first public key (PEM): as this workspace saw it first, else as the ledger itself gives it."""
    pinned = ledger.ws.keys / FIRST_PUBLIC
    if pinned.is_file():
        return _bytes(pinned)
    entries = list(ledger.entries(kinds=KEYS, model=""))
    return str(entries[0].detail["public_key"]).encode() if entries else b""


def _bytes(path: Path, remedy: str = CONFIGURED) -> bytes:
    if path.is_dir():
        msg = f"Expected a key file at {path}, got a folder: name the file in it."
        raise UsageError(msg)
    try:
        with disk_errors(path):
            return path.read_bytes()
    except FileNotFoundError:
        msg = f"Expected a key file at {path}, found none: {remedy}."
        raise UsageError(msg) from None
