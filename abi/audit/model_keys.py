"""Public keys that models are verified with, as PEM blocks by their fingerprint."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from abi.errors import UsageError

_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\s*", re.DOTALL)
_MOST_BYTES: Final = 2**20
_CURVE: Final = "secp256r1"
MAKE: Final = "openssl ecparam -name prime256v1 -genkey -noout"


def make_private_key() -> bytes:
    """A new P-256 private key as PEM, not encrypted."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 - only where models are signed
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
    )


def public_key_of(private_pem: bytes, source: Path) -> bytes:
    """The public half of a private key, as PEM.

    Raises:
        UsageError: it is no private key on the curve P-256, or it is encrypted.
    """
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415

    try:
        private = form.load_pem_private_key(private_pem, None)
    except (ValueError, TypeError):  # TypeError: it is encrypted
        raise _unusable(source, "private", "something else, or an encrypted one") from None
    return _pem(private.public_key(), source, "private")


def public_keys(path: Path) -> dict[str, bytes]:
    """The public keys in a file, one PEM block after another: SHA-256 of the PEM -> PEM.

    A file with one key that this project wrote has that fingerprint as its own SHA-256.

    Raises:
        UsageError: the file cannot be read, or a block is no public key on the curve P-256.
    """
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415

    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES)
    except OSError as error:
        raise _unusable(path, "public", error.strerror) from None
    keys = {}
    for block in _BLOCK.finditer(data):
        if b"PRIVATE" in block[1]:
            raise _unusable(path, "public", "a private one")
        try:
            pem = _pem(form.load_pem_public_key(block[0]), path, "public")
        except ValueError as error:
            raise error if isinstance(error, UsageError) else _unusable(path, "public", "a damaged one") from None
        keys[fingerprint(pem)] = pem
    if not keys:
        raise _unusable(path, "public", "none")
    return keys


def fingerprint(public_pem: bytes) -> str:
    """SHA-256 of the PEM, which is also how signatures name their key."""
    return hashlib.sha256(public_pem).hexdigest()


def _pem(public: object, source: Path, half: str) -> bytes:
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != _CURVE:
        raise _unusable(source, half, "another kind")
    return public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)


def _unusable(path: Path, half: str, got: object) -> UsageError:
    how = MAKE if half == "private" else "openssl ec -in PRIVATE -pubout"
    msg = f"Expected a {half} key (PEM, P-256) in {path}, got {got}: make one with `{how}`, or correct signing.{half}_key."
    return UsageError(msg)
