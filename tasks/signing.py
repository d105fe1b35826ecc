"""Keys of signed models, and signing and verifying with them."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from abi.audit import signing
from abi.audit.model_keys import MAKE, fingerprint, make_private_key, public_key_of, public_keys
from abi.errors import UsageError
from tasks.workspace import Workspace, disk_errors

if TYPE_CHECKING:
    from abi.audit.signing import Claim
    from abi.operations import SigningConfig

LOCK = "model-keys"
TRUSTED = "ABI_SIGNING__PUBLIC_KEY"
"""Environment variable of the setting; a served model reads it as well (`tasks/pyfunc_model.py`)."""


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
        """The file of the keys that verify."""
        return self.config.public_key or self.ws.keys / "model.pub.pem"

    @property
    def kept(self) -> Path:
        """Folder of the workspace's public keys of before, which still verify."""
        return self.ws.keys / "trusted"

    def sign(self, folder: Path, files: Collection[str] | None = None) -> None:
        """Sign a model folder, with a key that is made where there is none yet.

        Raises:
            ArtifactRefused: the folder holds what no signature makes good; see `abi.audit.signing.sign`.
            UsageError: the private key cannot be used, or verifying would refuse it.
        """
        self._make_first()
        own = fingerprint(self._public())
        if own not in self.trusted():
            msg = f"Expected the private key {self.private_key} to belong to a key in {self.public_key}, got {own[:12]}, which is not among them: append its public half there, or name the other private key in signing.private_key."
            raise UsageError(msg)
        with disk_errors(folder):
            signing.sign(folder, self.private_key, files)

    def verify(self, folder: Path, name: str | None = None) -> Claim:
        """See that a model folder is what a trusted key signed, before anything in it is read as a model.

        Raises:
            ArtifactRefused: it is not; see `abi.audit.signing.verify`.
        """
        return signing.verify(folder, self.trusted(), name)

    def trusted(self) -> dict[str, bytes]:
        """Every public key that is trusted, as PEM by fingerprint; the current one comes first."""
        keys: dict[str, bytes] = {}
        if self.config.public_key is not None:
            keys |= public_keys(self.config.public_key)
        elif self.private_key.is_file():  # its public half on disk is older for a moment while the key changes
            pem = self._public()
            keys[fingerprint(pem)] = pem
        elif self.public_key.is_file():
            keys |= public_keys(self.public_key)
        for path in sorted(self.kept.glob("*.pem")):
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
            msg = f"Expected a model key of the workspace, got one that the settings name (signing.private_key, signing.public_key): make a new one with `{MAKE}`, name it there, and append its public half to the trusted ones."
            raise UsageError(msg)
        with self.ws.alone(LOCK):
            before = None
            if self.private_key.is_file():
                pem = self._public()
                before = fingerprint(pem)
                if not revoke:
                    self.ws.write(self.kept / f"{before}.pem", pem)
            return before, self._make()

    def _make_first(self) -> None:
        if self.private_key.is_file() or self.config.private_key is not None:
            return
        if self.public_key.exists() or self.config.public_key is not None:
            msg = f"Expected a private key at {self.private_key} to sign with, found only the public one, {self.public_key}: this machine can verify models; to sign them restore the key or name it in signing.private_key."
            raise UsageError(msg)
        with self.ws.alone(LOCK):  # of two first uses one makes the key
            if not self.private_key.is_file():
                self._make()

    def _make(self) -> str:
        private = make_private_key()
        public = public_key_of(private, self.private_key)
        self.ws.write(self.private_key, private, private=True)
        self.ws.write(self.public_key, public)
        return fingerprint(public)

    def _public(self) -> bytes:
        try:
            return public_key_of(self.private_key.read_bytes(), self.private_key)
        except OSError as error:
            msg = f"Expected a private key in {self.private_key}, got: {os.strerror(error.errno or 0).lower()}: correct signing.private_key."
            raise UsageError(msg) from None
