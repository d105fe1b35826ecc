"""Keys of signed models, and signing and verifying with them."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from abi.audit import signing
from abi.audit.model_keys import fingerprint, make_private_key, public_key_of, public_keys
from abi.errors import UsageError
from tasks.workspace import Workspace, disk_errors

if TYPE_CHECKING:
    from abi.audit.signing import Claim
    from abi.operations import SigningConfig

PRIVATE, PUBLIC = 0o600, 0o644


@dataclass(frozen=True)
class Signing:
    """The keys of a workspace or of the settings. A machine that has no private key can verify, and only that."""

    ws: Workspace
    config: SigningConfig

    @property
    def private_key(self) -> Path:
        """The file of the key that signs."""
        return self.config.private_key or self.ws.keys / "model.pem"

    @property
    def public_key(self) -> Path:
        """The file of the key that verifies."""
        return self.config.public_key or self.ws.keys / "model.pub.pem"

    @property
    def revoked_place(self) -> Path:
        """Folder of the public keys of before, which still verify."""
        return self.ws.keys / "trusted"

    def sign(self, folder: Path, files: Collection[str] | None = None) -> None:
        """Sign a model folder, with a key that is made where there is none; see `abi.audit.signing.sign`."""
        with disk_errors(folder):
            signing.sign(folder, self._ready(), files)

    def verify(self, folder: Path, name: str | None = None) -> Claim:
        """See that a model folder is what a trusted key signed; see `abi.audit.signing.verify`."""
        return signing.verify(folder, self.trusted(), name)

    def trusted(self) -> dict[str, bytes]:
        """Every public key that is trusted, as PEM by fingerprint; the current one comes first."""
        keys: dict[str, bytes] = {}
        if self.config.public_key is not None or self.public_key.is_file():
            keys |= public_keys(self.public_key)
        if self.config.public_key is None and self.private_key.is_file():
            pem = self._public()
            keys = {fingerprint(pem): pem, **(keys if self.config.private_key is not None else {})}
        for path in sorted(self.revoked_place.glob("*.pem")):
            keys |= public_keys(path)
        return keys

    def rotate(self, *, revoke: bool = False) -> tuple[str | None, str]:
        """Make a new key of the workspace; the public one of before stays trusted, unless it is revoked.

        Returns:
            Fingerprints of the key before (None where there was none) and of the new one.

        Raises:
            UsageError: the key is one of the settings, and not the workspace's to change.
        """
        if self.config.private_key is not None or self.config.public_key is not None:
            msg = "Expected a model key of the workspace to rotate, got signing.private_key or signing.public_key in the settings: make a new key with `openssl ecparam -name prime256v1 -genkey -noout`, name it there, and append its public half to the trusted ones."
            raise UsageError(msg)
        with self.ws.alone("keys"):
            before = None
            if self.private_key.is_file():
                pem = self._public()
                before = fingerprint(pem)
                if not revoke:
                    self.ws.write(self.revoked_place / f"{before}.pem", pem)
            return before, self._make()

    def _ready(self) -> Path:
        if self.config.private_key is None and not (self.private_key.is_file() and self.public_key.is_file()):
            with self.ws.alone("keys"):  # of two first uses one makes the key
                if not self.private_key.is_file():
                    self._make()
                elif self.config.public_key is None:
                    self.ws.write(self.public_key, self._public())
        self._public()  # a key that cannot sign is named here
        return self.private_key

    def _make(self) -> str:
        private = make_private_key()
        public = public_key_of(private, self.private_key)
        self.ws.write(self.private_key, private, mode=PRIVATE)
        self.private_key.parent.chmod(0o700)
        self.ws.write(self.public_key, public)
        return fingerprint(public)

    def _public(self) -> bytes:
        try:
            return public_key_of(self.private_key.read_bytes(), self.private_key)
        except OSError as error:
            msg = f"Expected a private key in {self.private_key}, got: {os.strerror(error.errno or 0).lower()}: correct signing.private_key."
            raise UsageError(msg) from None
