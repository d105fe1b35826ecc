"""The only door to model-signing: a model folder is signed with an elliptic key, offline, and verified before it is read.

The signature, ``model.sig`` in the folder, is a Sigstore bundle over an in-toto statement that lists every file with its
SHA-256, and names the folder. It lies in this package, and not beside the tasks, because a served model brings
this package alone.

model-signing leaves some things open that are closed here: by default it does not look at files named as git's are, it follows
names in the signature's list of ignored paths, it says nothing about pickles, and it reads whatever size it meets.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from abi.audit.model_files import expect_plain, list_files, open_regular
from abi.errors import SHOWN, ArtifactRefused, clip

if TYPE_CHECKING:
    from model_signing import hashing

SIGNATURE: Final = "model.sig"
LEFT_BY_MLFLOW: Final = "registered_model_meta"
"""Name and version of a registered model, which MLflow writes beside the model's files whenever it loads it from a folder."""
_MOST_NOTE_BYTES: Final = 4096
_MOST_BYTES: Final = 8 * 2**20
_WORKERS: Final = 2
_MEDIA: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD: Final = "application/vnd.in-toto+json"
_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_PREDICATE: Final = "https://model_signing/signature/v1.0"
_SERIALIZATION: Final = {
    "method": "files",
    "hash_type": "sha256",
    "allow_symlinks": False,
    "ignore_paths": [SIGNATURE],
}
_AGAIN: Final = "restore it from where it was signed, or remove it and run again"


@dataclass(frozen=True)
class Claim:
    """What a signature says, before anyone has verified it.

    Attributes:
        key: fingerprint of the public key that it names.
        name: of the folder that was signed.
        files: every file with its SHA-256.
    """

    key: str
    name: str
    files: Mapping[str, str]


def sign(folder: Path, private_key: Path, files: Collection[str] | None = None) -> None:
    """Sign every file of the folder; the signature becomes one of them and names the folder.

    Args:
        folder: holds the model; its last name is signed too.
        private_key: PEM, P-256.
        files: all that may lie in it; whatever does where None.

    Raises:
        ArtifactRefused: the folder holds what `verify` would refuse, or a file that is not among `files`.
    """
    from model_signing import signing  # noqa: PLC0415 - a quarter of a second

    found = set(list_files(folder)) - {SIGNATURE}
    if files is not None and found != set(files):
        msg = f"Expected only the files of the model in {folder}, got others: {_difference(set(files), found)}; remove the folder and train again."
        raise ArtifactRefused(msg)
    for name in sorted(found):
        expect_plain(folder, name)
    path = folder / SIGNATURE
    path.unlink(missing_ok=True)
    signing.Config().set_hashing_config(_hashing()).use_elliptic_key_signer(private_key=private_key).sign(folder, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def verify(folder: Path, trusted: Mapping[str, bytes], name: str | None = None) -> Claim:
    """See that a folder holds exactly what was signed by a trusted key; nothing in it is deserialised.

    A note that MLflow leaves there when it loads the model is passed over, where it is short and plain text.

    Args:
        folder: holds the model and its signature.
        trusted: public keys as PEM, by fingerprint (`abi.audit.model_keys.public_keys`).
        name: of the folder when it was signed; another model's signed folder in its place is refused.

    Raises:
        ArtifactRefused: unsigned, changed, incomplete, with files too many, signed by another key, or pickled.
    """
    found = list_files(folder)
    if SIGNATURE not in found:
        msg = f"Expected a signed model in {folder}, got no {SIGNATURE}: use a version that `abi run` recorded, or train the model again."
        raise ArtifactRefused(msg)
    data = _read(folder, found.pop(SIGNATURE))
    claim = _claim(folder, data)
    unsigned: tuple[str, ...] = ()
    if LEFT_BY_MLFLOW not in claim.files and found.get(LEFT_BY_MLFLOW, math.inf) <= _MOST_NOTE_BYTES:
        expect_plain(folder, LEFT_BY_MLFLOW)
        del found[LEFT_BY_MLFLOW]
        unsigned = (LEFT_BY_MLFLOW,)
    if claim.key not in trusted:
        have = ", ".join(key[:12] for key in trusted) or "none"
        msg = f"Expected {SIGNATURE} in {folder} by a trusted key ({have}), got key {claim.key[:12]}: name its public key in signing.public_key if you trust it, or remove the folder and run again."
        raise ArtifactRefused(msg, untrusted=True)
    if set(claim.files) != set(found):
        msg = f"Expected in {folder} the files that were signed, got others: {_difference(set(claim.files), set(found))}; {_AGAIN}."
        raise ArtifactRefused(msg)
    _check(folder, data, claim, trusted[claim.key], unsigned)
    if name is not None and claim.name != name:
        msg = f"Expected in {folder} the signed model {name[:40]!r}, got another signed one, {claim.name[:40]!r}: {_AGAIN}."
        raise ArtifactRefused(msg)
    for file in sorted(found):
        expect_plain(folder, file)
    return claim


def _check(folder: Path, signature: bytes, claim: Claim, public_pem: bytes, unsigned: tuple[str, ...]) -> None:
    """Signature and hashes, by model-signing; it reads the very bytes that were looked at before."""
    from model_signing import verifying  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="abi-verify-") as private:
        bundle, key = Path(private) / SIGNATURE, Path(private) / "public.pem"
        bundle.write_bytes(signature)
        key.write_bytes(public_pem)
        config = verifying.Config().set_hashing_config(_hashing(*unsigned)).use_elliptic_key_verifier(public_key=key)
        try:
            config.verify(folder, bundle)
        except Exception as error:
            changed = [name for name, digest in sorted(claim.files.items()) if _sha256(folder, name) != digest]
            if changed:
                msg = f"Expected {_listed(changed)} in {folder} as signed, got other content: {_AGAIN}."
                raise ArtifactRefused(msg) from None
            msg = f"Expected in {folder} a valid signature {SIGNATURE}, got a damaged or forged one ({type(error).__name__}): {_AGAIN}."
            raise ArtifactRefused(msg) from error


def _hashing(*unsigned: str) -> hashing.Config:
    from model_signing import hashing  # noqa: PLC0415

    config = hashing.Config().use_file_serialization(
        hashing_algorithm="sha256", max_workers=_WORKERS, allow_symlinks=False
    )
    return config.set_ignored_paths(paths=[SIGNATURE, *unsigned], ignore_git_paths=False)


def _read(folder: Path, size: int) -> bytes:
    if size > _MOST_BYTES:
        raise _damaged(folder, f"{size:,} bytes")
    with open_regular(folder, SIGNATURE) as file:
        return file.read(_MOST_BYTES)


def _sha256(folder: Path, name: str) -> str:
    with open_regular(folder, name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _claim(folder: Path, data: bytes) -> Claim:
    """Read a signature strictly: each field is what `sign` writes, so that no bit of it can be another one."""
    try:
        bundle = json.loads(data)
        envelope = bundle["dsseEnvelope"]
        key, one = bundle["verificationMaterial"]["publicKey"]["hint"], envelope["signatures"][0]
        payload = base64.b64decode(envelope["payload"], validate=True)
        written = {
            "mediaType": _MEDIA,
            "verificationMaterial": {"publicKey": {"hint": key}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": _PAYLOAD,
                "signatures": [
                    {"sig": base64.b64encode(base64.b64decode(one["sig"], validate=True)).decode(), "keyid": ""}
                ],
            },
        }
        if bundle != written or not re.fullmatch("[0-9a-f]{64}", key):
            raise _damaged(folder, "other fields or values")
        return _statement(folder, key, json.loads(payload))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise _damaged(folder, f"content that cannot be read ({type(error).__name__})") from None


def _statement(folder: Path, key: str, statement: Any) -> Claim:
    subject, predicate = statement["subject"], statement["predicate"]
    if (
        statement["_type"] != _STATEMENT
        or statement["predicateType"] != _PREDICATE
        or len(subject) != 1
        or predicate["serialization"] != _SERIALIZATION
    ):
        raise _damaged(folder, "a statement of another form")
    files: dict[str, str] = {}
    for resource in predicate["resources"]:
        name, digest = resource["name"], resource["digest"]
        parts = name.split("/")
        if not all(parts) or {".", ".."} & set(parts) or "\\" in name or "\0" in name or name in {*files, SIGNATURE}:
            raise _damaged(folder, f"the file name {name[:80]!a} in it")
        if resource["algorithm"] != "sha256" or not re.fullmatch("[0-9a-f]{64}", digest):
            raise _damaged(folder, f"another hash of {name[:80]!r}")
        files[name] = digest
    return Claim(key=key, name=str(subject[0]["name"]), files=files)


def _damaged(folder: Path, got: str) -> ArtifactRefused:
    return ArtifactRefused(f"Expected in {folder} a signature {SIGNATURE} of model-signing, got {got}: {_AGAIN}.")


def _listed(names: list[str]) -> str:
    """Some names, at such length that the file's own is among them."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(repr(clip(name, 160)) for name in names[:SHOWN]) + more


def _difference(expected: Collection[str], found: Collection[str]) -> str:
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    parts = [f"{what} {_listed(names)}" for what, names in (("missing", missing), ("not signed", extra)) if names]
    return ", ".join(parts)
