from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from abi.audit.entry import Head, Sealed
from abi.audit.keys import Signer, key_id, read_public, signed_by
from abi.errors import UsageError

# RFC 8032, section 7.1, test 1: the empty message
SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
SIGNATURE = bytes.fromhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
    "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.fixture
def signer() -> Signer:
    return Signer(Ed25519PrivateKey.from_private_bytes(SECRET))


def test_the_published_vector_holds(signer):
    assert signer.private.public_key().public_bytes_raw() == PUBLIC
    sealed = Sealed("", EMPTY_SHA256, signer.id, base64.b64encode(SIGNATURE).decode())
    assert sealed.intact
    assert signed_by(sealed, {signer.id: signer.private.public_key()})
    assert signer.id == "21fe31dfa154a261"  # `printf PUBLIC | xxd -r -p | sha256sum | cut -c1-16`


def test_a_seal_is_over_the_canonical_text(signer):
    sealed = signer.seal(Head(seq=3, hash="ab", checkpoint="cd"))
    assert sealed.payload == '{"checkpoint":"cd","hash":"ab","seq":3}'
    assert sealed.intact
    assert signed_by(sealed, {signer.id: signer.private.public_key()})


@pytest.mark.parametrize(
    "change",
    [
        {"payload": '{"checkpoint":"cd","hash":"ab","seq":4}'},
        {"key": "another"},
        {"signature": ""},
        {"signature": "no base64!"},
        {"signature": base64.b64encode(SIGNATURE).decode()},
        {"payload": "\ud800"},
    ],
)
def test_a_changed_seal_does_not_hold(signer, change):
    sealed = replace(signer.seal(Head(seq=3, hash="ab", checkpoint="cd")), **change)
    assert not (sealed.intact and signed_by(sealed, {signer.id: signer.private.public_key()}))


def test_the_signatures_text_is_held_to_its_last_bit(signer):
    sealed = signer.seal(Head(seq=3, hash="ab", checkpoint="cd"))
    last = sealed.signature[-3]  # four of its six bits do not matter to a decoder
    other = next(c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop" if c != last and _same(sealed.signature, c))
    changed = replace(sealed, signature=f"{sealed.signature[:-3]}{other}==")
    assert base64.b64decode(changed.signature) == base64.b64decode(sealed.signature)
    assert not signed_by(changed, {signer.id: signer.private.public_key()})


def _same(signature: str, last: str) -> bool:
    return base64.b64decode(f"{signature[:-3]}{last}==") == base64.b64decode(signature)


def test_keys_survive_their_files(signer):
    assert Signer.read(signer.pem(), "a file").id == signer.id
    assert key_id(read_public(signer.public_pem(), "a file")) == signer.id


@pytest.mark.parametrize("read", [Signer.read, read_public])
def test_other_keys_are_refused_in_one_sentence(read, signer):
    other = generate_private_key(SECP256R1())
    private = other.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = other.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    locked = signer.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    for pem in (b"", b"no key", private, public, locked):
        with pytest.raises(UsageError, match=r"^Expected an Ed25519 (private|public) key.* in a file, got") as caught:
            read(pem, "a file")
        assert "\n" not in str(caught.value)
        assert "`openssl " in str(caught.value)
