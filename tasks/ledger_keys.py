"""The ledger's keys on disk: the private one that signs, and the first public one, which all others are trusted from.

A new key is entered in the ledger, signed by the one before (`rotate`), so the first public key is enough to verify with.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from abi.audit.entry import Draft, Entry
from abi.audit.keys import Signer, key_id, read_public
from abi.errors import UsageError
from tasks.workspace import disk_errors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from abi.config import AuditConfig
    from tasks.ledger import Ledger
    from tasks.workspace import Workspace

PRIVATE, NEXT, FIRST_PUBLIC = "ledger.pem", "ledger-next.pem", "ledger.pub.pem"


def find_signer(ws: Workspace, config: AuditConfig) -> Signer:
    """The private key; where none is configured and none is there, a new one.

    Raises:
        UsageError: the configured file is missing or holds no such key.
    """
    if config.key is not None:
        return Signer.read(_bytes(config.key), str(config.key))
    private = ws.keys / PRIVATE
    with ws.alone("keys"):
        if not private.is_file():
            ws.write(private, Signer.new().pem(), private=True)
    return Signer.read(_bytes(private), str(private))


def settle(ledger: Ledger) -> tuple[Signer, str]:
    """The signer, and why it may not append ("" where the ledger trusts it); who only reads needs no trusted key.

    Finishes a rotation that was interrupted, and pins the first public key.
    """
    ws, signer, valid, first = ledger.ws, ledger.signer, set[str](), ""
    for entry in ledger.entries(kinds=("key",)):
        first = first or entry.detail["public_key"]
        valid = (valid - set(entry.detail.get("retired", []))) | {entry.detail["id"]}
    following = ws.keys / NEXT
    if ledger.config.key is None and following.is_file():
        with ws.alone("keys"):
            other = Signer.read(_bytes(following), str(following))
            if other.id in valid:
                following.replace(ws.keys / PRIVATE)
                signer = other
            else:
                following.unlink()
    if not (ws.keys / FIRST_PUBLIC).is_file():
        ws.write(ws.keys / FIRST_PUBLIC, first.encode())
    if signer.id in valid:
        return signer, ""
    msg = f"Expected a key that the ledger trusts ({', '.join(sorted(valid))}), got {signer.id}: name its file with audit.key, or enter this one with `abi audit rotate --key` where the trusted key is."
    return signer, msg


def rotate(ledger: Ledger, key: Path | None = None) -> Entry:
    """Enter a new key, signed by the present one; entries from here on must be signed by it.

    Args:
        ledger: whose key changes.
        key: private key file that `audit.key` will name from now on; one is made in the workspace where None.

    Raises:
        UsageError: the key is configured, and no file for the new one is given.
    """
    ws = ledger.ws
    if key is not None:
        signer = Signer.read(_bytes(key), str(key))
    elif ledger.config.key is not None:
        msg = "Expected --key FILE with the new private key, since audit.key names the present one: `openssl genpkey -algorithm ed25519 -out FILE`."
        raise UsageError(msg)
    else:
        signer = Signer.new()
        ws.write(ws.keys / NEXT, signer.pem(), private=True)
    detail = {"id": signer.id, "public_key": signer.public_pem().decode(), "retired": [ledger.signer.id]}
    (entry,) = ledger.append(Draft(kind="key", model="", detail=detail, operation=f"key:{signer.id}"))
    if key is None:
        (ws.keys / NEXT).replace(ws.keys / PRIVATE)
    return entry


def trusted_keys(ws: Workspace, given: tuple[Path, ...] = ()) -> dict[str, Ed25519PublicKey]:
    """Public keys that a ledger is verified with: those given, else the first one as this workspace saw it first."""
    keys = [read_public(_bytes(path), str(path)) for path in given or (ws.keys / FIRST_PUBLIC,)]
    return {key_id(key): key for key in keys}


def public_pem(ws: Workspace) -> bytes:
    """The first public key."""
    return _bytes(ws.keys / FIRST_PUBLIC)


def _bytes(path: Path) -> bytes:
    try:
        with disk_errors(path):
            return path.read_bytes()
    except FileNotFoundError:
        msg = f"Expected a key file at {path}, found none: make one with `openssl genpkey -algorithm ed25519`, or leave audit.key away."
        raise UsageError(msg) from None
