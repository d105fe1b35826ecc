"""The ledger's key on disk: the one that the settings name, or one made in the workspace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from abi.audit.keys import Signer, key_id, read_public
from abi.errors import LedgerError, UsageError
from tasks.workspace import disk_errors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from abi.config import AuditConfig
    from tasks.workspace import Workspace

PRIVATE, PUBLIC = "ledger.pem", "ledger.pub.pem"


def find_signer(ws: Workspace, config: AuditConfig) -> Signer:
    """The private key; where none is configured and none is there, a new one.

    Raises:
        UsageError: the configured file is missing or holds no such key.
        LedgerError: the workspace has the public key alone.
    """
    if config.key is not None:
        return Signer.read(_bytes(config.key), str(config.key))
    private, public = ws.keys / PRIVATE, ws.keys / PUBLIC
    with ws.alone("keys"):
        if not private.is_file():
            if public.is_file():
                msg = f"Expected the ledger's private key at {private}, found its public key alone: restore it, or name it with audit.key."
                raise LedgerError(msg)
            signer = Signer.new()
            ws.write(private, signer.pem(), private=True)
            ws.write(public, signer.public_pem())
    return Signer.read(_bytes(private), str(private))


def trusted_keys(ws: Workspace, config: AuditConfig, given: tuple[Path, ...] = ()) -> dict[str, Ed25519PublicKey]:
    """Public keys that a ledger is verified with: those given, else that of the settings or the workspace."""
    if given:
        keys = [read_public(_bytes(path), str(path)) for path in given]
        return {key_id(key): key for key in keys}
    public = ws.keys / PUBLIC
    if config.key is None and public.is_file():
        key = read_public(_bytes(public), str(public))
        return {key_id(key): key}
    signer = find_signer(ws, config)
    return {signer.id: signer.private.public_key()}


def _bytes(path: Path) -> bytes:
    try:
        with disk_errors(path):
            return path.read_bytes()
    except FileNotFoundError:
        msg = f"Expected a key file at {path}, found none: make one with `openssl genpkey -algorithm ed25519`, or leave audit.key away."
        raise UsageError(msg) from None
