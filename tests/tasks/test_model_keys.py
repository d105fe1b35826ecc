"""Keys of signed models: made, rotated, revoked, named in settings."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from abi.config import Config
from abi.errors import ArtifactRefused, UsageError
from abi.operations import SigningConfig
from tasks.signing import Signing
from tasks.workspace import Workspace


@pytest.fixture
def signing(tmp_path):
    return Signing(Workspace.open(tmp_path / "ws"), SigningConfig())


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.json").write_text("{}")
    return folder


def test_the_private_key_is_its_owners_alone(signing, model):
    signing.sign(model)
    assert signing.private_key.stat().st_mode & 0o777 == 0o600
    assert signing.public_key.stat().st_mode & 0o777 == 0o644
    assert list(signing.trusted()) == [hashlib.sha256(signing.public_key.read_bytes()).hexdigest()]


def test_after_a_rotation_older_models_verify_unless_their_key_was_revoked(signing, model):
    signing.sign(model)
    first, second = signing.rotate()
    assert list(signing.trusted()) == [second, first]
    assert signing.verify(model).key == first
    signing.sign(model)
    assert signing.verify(model).key == second
    assert signing.rotate(revoke=True)[0] == second
    with pytest.raises(ArtifactRefused, match="trusted key"):
        signing.verify(model)
    assert first in signing.trusted()


def test_a_rotation_that_was_killed_half_way_still_signs_what_verifies(signing, model, monkeypatch):
    signing.sign(model)
    stale = signing.public_key.read_bytes()
    first, second = signing.rotate()
    signing.public_key.write_bytes(stale)  # the private key was replaced, its public half not yet
    signing.sign(model)
    assert signing.verify(model).key == second
    assert signing.rotate()[0] == second
    assert set(signing.trusted()) > {first, second}


def test_a_machine_with_the_public_key_alone_verifies_and_does_not_sign(signing, model, tmp_path):
    with pytest.raises(ArtifactRefused, match=r"got no model\.sig"):
        signing.verify(model)
    signing.sign(model)
    public = tmp_path / "served.pem"
    shutil.copy(signing.public_key, public)
    elsewhere = Workspace.open(tmp_path / "elsewhere")
    with pytest.raises(ArtifactRefused, match=r"trusted key \(none\)"):
        Signing(elsewhere, SigningConfig()).verify(model)
    server = Signing(elsewhere, SigningConfig(public_key=public))
    server.verify(model)
    with pytest.raises(UsageError, match="found only the public one"):
        server.sign(model)
    shutil.copy(public, elsewhere.keys / "model.pub.pem")
    with pytest.raises(UsageError, match="found only the public one"):
        Signing(elsewhere, SigningConfig()).sign(model)


def test_keys_of_the_settings(signing, model, tmp_path):
    private, public = tmp_path / "own.pem", tmp_path / "own.pub.pem"
    make = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(private)]
    subprocess.run(make, check=True, capture_output=True)
    own = Signing(signing.ws, SigningConfig(private_key=private))
    own.sign(model)
    own.verify(model)
    assert not signing.private_key.exists()
    with pytest.raises(UsageError, match="settings name"):
        own.rotate()
    signing.rotate()
    shutil.copy(signing.public_key, public)
    with pytest.raises(UsageError, match="which is not among them"):
        Signing(signing.ws, SigningConfig(private_key=private, public_key=public)).sign(model)
    subprocess.run(
        ["openssl", "ec", "-in", str(private), "-pubout", "-out", str(tmp_path / "half.pem")],
        check=True,
        capture_output=True,
    )
    with public.open("ab") as several:
        several.write((tmp_path / "half.pem").read_bytes())
    both = Signing(signing.ws, SigningConfig(private_key=private, public_key=public))
    both.sign(model)
    assert len(both.trusted()) == 2
    both.verify(model)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (None, "no such file"),
        (b"", "Expected a public key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "a damaged one"),
        (ec.generate_private_key(ec.SECP384R1()).public_key(), "another kind"),
        (ec.generate_private_key(ec.SECP256R1()), "a private one"),
    ],
    ids=["missing", "empty", "damaged", "another curve", "private"],
)
def test_a_public_key_that_cannot_be_used_is_one_sentence(tmp_path, model, content, got):
    path = tmp_path / "key.pem"
    pem = serialization.Encoding.PEM
    if isinstance(content, ec.EllipticCurvePublicKey):
        content = content.public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    elif isinstance(content, ec.EllipticCurvePrivateKey):
        content = content.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"(?i){got}.*signing\.public_key"):
        Signing(Workspace.open(tmp_path / "ws"), SigningConfig(public_key=path)).trusted()


def test_two_first_uses_make_one_key(tmp_path):
    ws = Workspace.open(tmp_path / "ws")
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text("{}")
    code = (
        "import sys; from pathlib import Path; from abi.operations import SigningConfig;"
        "from tasks.signing import Signing; from tasks.workspace import Workspace;"
        "Signing(Workspace(Path(sys.argv[1])), SigningConfig()).sign(Path(sys.argv[2]))"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(ws.root), str(tmp_path / name)]) for name in "ab"]
    assert [process.wait() for process in started] == [0, 0]
    signing = Signing(ws, Config().signing)
    assert signing.verify(tmp_path / "a").key == signing.verify(tmp_path / "b").key
