"""Ed25519 keys (RFC 8032): who sealed an entry, and whether a seal holds."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from abi.audit.entry import Sealed
from abi.errors import UsageError
from abi.values import Value

ID_LENGTH = 16
MAKE = "make one with `openssl genpkey -algorithm ed25519`"
EXTRACT = "take the public half with `openssl pkey -in KEY.pem -pubout`"


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 hex digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:ID_LENGTH]


@dataclass(frozen=True)
class Signer:
    """Seals values with one private key."""

    private: Ed25519PrivateKey

    @classmethod
    def new(cls) -> Signer:
        """A key that nobody has seen."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, pem: bytes, where: str) -> Signer:
        """From PEM (PKCS 8, unencrypted).

        Raises:
            UsageError: it is no such key.
        """
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError):  # TypeError: it is encrypted
            msg = f"Expected an Ed25519 private key (PEM, no passphrase) in {where}, got something else: {MAKE}."
            raise UsageError(msg) from None
        if not isinstance(key, Ed25519PrivateKey):
            msg = f"Expected an Ed25519 private key in {where}, got another kind: {MAKE}."
            raise UsageError(msg)
        return cls(key)

    @property
    def id(self) -> str:
        """Names the key."""
        return key_id(self.private.public_key())

    def pem(self) -> bytes:
        """The private key."""
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def public_pem(self) -> bytes:
        """The public key."""
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def seal(self, value: Value) -> Sealed:
        """Canonical text, hash and signature of a value."""
        payload = value.canonical()
        signature = base64.b64encode(self.private.sign(payload)).decode()
        return Sealed(payload.decode(), hashlib.sha256(payload).hexdigest(), self.id, signature)


def read_public(pem: bytes, where: str) -> Ed25519PublicKey:
    """A public key from PEM.

    Raises:
        UsageError: it is no such key.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError:
        msg = f"Expected an Ed25519 public key (PEM) in {where}, got something else: {EXTRACT}."
        raise UsageError(msg) from None
    if not isinstance(key, Ed25519PublicKey):
        msg = f"Expected an Ed25519 public key in {where}, got another kind: {EXTRACT}."
        raise UsageError(msg)
    return key


def signed_by(sealed: Sealed, keys: Mapping[str, Ed25519PublicKey]) -> bool:
    """Whether the signature is that of the named key over the text, to the last character."""
    key = keys.get(sealed.key)
    if key is None:
        return False
    try:
        signature = base64.b64decode(sealed.signature, validate=True)
        key.verify(signature, sealed.payload.encode())
    except (InvalidSignature, ValueError):
        return False
    return base64.b64encode(signature).decode() == sealed.signature  # base64 has bits that decoding does not look at
