"""Ways in which a signed model folder is tampered with: each leaves what a verifier must refuse, and says what it will name."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import random
import shutil
import socket
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from abi.audit.model_files import SUFFIXES
from abi.audit.signing import SIGNATURE

NETWORK, TREES = "network/weights.safetensors", "trees/trees.txt"
FILES = ("model.json", "network/model.json", NETWORK, "trees/model.json", TREES)


@dataclass
class Scene:
    """One copy of the signed folder, and what an attacker may have at hand; `trusted` is who leaks the real key."""

    folder: Path
    random: random.Random
    other: Path
    trusted: Path
    foreign: Path
    marker: Path

    def pick(self) -> Path:
        return self.folder / self.random.choice(FILES)

    def add(self, name: str, data: bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return name

    def sign(self, key: Path, ignore: tuple[str, ...] = (SIGNATURE,), shards: bool = False) -> None:
        """By model-signing itself, which looks at hashes alone."""
        import model_signing

        hashing = model_signing.hashing.Config()
        hashing = hashing.use_shard_serialization() if shards else hashing.use_file_serialization()
        hashing.set_ignored_paths(paths=ignore, ignore_git_paths=False)
        (self.folder / SIGNATURE).unlink(missing_ok=True)
        config = model_signing.signing.Config().set_hashing_config(hashing)
        config.use_elliptic_key_signer(private_key=key).sign(self.folder, self.folder / SIGNATURE)

    @property
    def bundle(self) -> Any:
        return json.loads((self.folder / SIGNATURE).read_bytes())

    @bundle.setter
    def bundle(self, plain: Any) -> None:
        (self.folder / SIGNATURE).write_text(json.dumps(plain))

    def restate(self, change: Callable[[Any], None]) -> None:
        """Another statement under a signature of the real key that holds."""
        bundle = self.bundle
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        change(statement)
        payload, kind = json.dumps(statement).encode(), "application/vnd.in-toto+json"
        private = serialization.load_pem_private_key(self.trusted.read_bytes(), None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        sealed = private.sign(
            f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload, ec.ECDSA(hashes.SHA256())
        )
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(sealed).decode()
        self.bundle = bundle


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> Any:
        return open, (self.marker, "w")


def bit(s: Scene) -> str:
    path = s.folder / s.random.choice([*FILES, SIGNATURE])
    data = bytearray(path.read_bytes())
    data[s.random.randrange(len(data))] ^= 1 << s.random.randrange(8)
    path.write_bytes(data)
    return path.name


def truncated(s: Scene) -> str:
    path = s.folder / s.random.choice([*FILES, SIGNATURE])
    os.truncate(path, s.random.randrange(path.stat().st_size))
    return path.name


def longer(s: Scene) -> str:
    path = s.folder / s.random.choice([*FILES, SIGNATURE])
    path.write_bytes(path.read_bytes() + s.random.choice([b"\0", b"}", b"x" * 999]))
    return path.name


def extra(s: Scene) -> str:
    hidden = [".gitignore", ".gitattributes", ".git/config", ".github/x.py", "__pycache__/x.pyc", "network/.DS_Store"]
    others = ["sitecustomize.py", "network/model.json.bak", "Model.json", "trees/deep/er/x.txt", "model.sig.old"]
    return s.add(s.random.choice(hidden + others), b"x = 1\n")


def removed(s: Scene) -> str:
    path = s.pick()
    path.unlink()
    return str(path.parent.name if not any(path.parent.iterdir()) else path.name)


def renamed(s: Scene) -> str:
    path = s.pick()
    path.rename(path.with_name(s.random.choice(["Model.JSON", "weights.bin", "x"])))
    return path.name


def swapped(s: Scene) -> str:
    one, two = s.random.sample(FILES, 2)
    first, second = (s.folder / one).read_bytes(), (s.folder / two).read_bytes()
    (s.folder / one).write_bytes(second)
    (s.folder / two).write_bytes(first)
    return Path(one).name


def linked(s: Scene) -> str:
    path = s.folder / s.random.choice([*FILES, SIGNATURE, "network", "trees"])
    away = s.folder.parent / f"away{s.random.random()}"
    path.rename(away)
    path.symlink_to(away)
    return path.name


def linked_whole(s: Scene) -> str:
    away = s.folder.with_name("away")
    s.folder.rename(away)
    s.folder.symlink_to(away)
    return "a link"


def dangling(s: Scene) -> str:
    (s.folder / "x.txt").symlink_to(s.random.choice(["/etc/passwd", "/dev/zero", "nowhere", "..", "x.txt"]))
    return "a symbolic link"


def hard(s: Scene) -> str:
    path = s.pick()
    os.link(path, s.folder.parent / "second")
    return "2 hard links"


def pipe(s: Scene) -> str:
    path = s.random.choice([s.pick(), s.folder / SIGNATURE, s.folder / "extra.txt"])
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return "a pipe"


def sock(s: Scene) -> str:
    with tempfile.TemporaryDirectory(dir="/tmp") as short, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{short}/s")
        shutil.move(f"{short}/s", s.folder / "s")
    return "a socket"


def sparse(s: Scene) -> str:
    path = s.random.choice([s.pick(), s.folder / SIGNATURE, s.folder / "extra.txt"])
    path.touch()
    os.truncate(path, s.random.choice([2**34 + 1, 2**40, 2**42]))
    return "at most"


def empty_folder(s: Scene) -> str:
    (s.folder / s.random.choice(["code", "network/x", "trees/a"])).mkdir()
    return "an empty folder"


def deep(s: Scene) -> str:
    s.add("/".join("d" * 40) + "/x.txt", b"x")
    return "levels of folders"


def odd_name(s: Scene) -> str:
    s.add(s.random.choice(["a\nb", "a\\b", "\x1b[2J", "a\u202egpj"]), b"x")
    return "a printable name"


def folder_for_file(s: Scene) -> str:
    path = s.pick()
    data = path.read_bytes()
    path.unlink()
    path.mkdir()
    (path / "x").write_bytes(data)
    return path.name


def unsigned(s: Scene) -> str:
    (s.folder / SIGNATURE).unlink()
    return "got no model.sig"


def bad_signature(s: Scene) -> str:
    texts = [b"", b"{}", b"[]", b"null", b'"x"', b"\0" * 99, b"\xff\xfe", b"[" * 99_999, b"1e999", b"x" * 2**20]
    (s.folder / SIGNATURE).write_bytes(s.random.choice(texts))
    return SIGNATURE


def altered_signature(s: Scene) -> str:
    bundle = s.bundle
    envelope, material = bundle["dsseEnvelope"], bundle["verificationMaterial"]
    changes: list[Callable[[], Any]] = [
        lambda: envelope.update(signatures=[]),
        lambda: envelope.update(signatures=envelope["signatures"] * 2),
        lambda: envelope["signatures"][0].update(sig=""),
        lambda: envelope["signatures"][0].update(keyid="x"),
        lambda: envelope.update(payloadType="text/plain"),
        lambda: material.update(publicKey={"hint": None}),
        lambda: material.update(publicKey={}),
        lambda: material.update(tlogEntries=[{}]),
        lambda: bundle.update(mediaType="application/vnd.dev.sigstore.bundle.v0.2+json"),
        lambda: bundle.update(more=1),
        lambda: envelope.update(payload=envelope["payload"] + "\n"),
    ]
    s.random.choice(changes)()
    s.bundle = bundle
    return SIGNATURE


def foreign_key(s: Scene) -> str:
    s.sign(s.foreign)
    return "a trusted key"


def forged_hint(s: Scene) -> str:
    hint = s.bundle["verificationMaterial"]["publicKey"]["hint"]
    if s.random.random() < 0.5:
        s.add("x.txt", b"x")
    s.sign(s.foreign)
    bundle = s.bundle
    bundle["verificationMaterial"]["publicKey"]["hint"] = hint
    s.bundle = bundle
    return "a damaged or forged one"


def signature_of_another(s: Scene) -> str:
    shutil.copy(s.other / SIGNATURE, s.folder / SIGNATURE)
    return s.folder.name


def whole_other(s: Scene) -> str:
    shutil.rmtree(s.folder)
    shutil.copytree(s.other, s.folder)
    return "another signed one"


def traversal(s: Scene) -> str:
    names = ["../x", "/etc/passwd", "network/../../x", "./model.json", "network//model.json", "", "..", "a\\b", "a\0b"]
    bad = s.random.choice([*names, SIGNATURE, "model.json"])  # the last is there already

    def change(statement: Any) -> None:
        statement["predicate"]["resources"].append({"name": bad, "algorithm": "sha256", "digest": "0" * 64})

    s.restate(change)
    return "the file name"


def other_statement(s: Scene) -> str:
    def old(statement: Any) -> None:
        statement["predicateType"] = "https://model_signing/Digests/v0.1"

    def algorithm(statement: Any) -> None:
        statement["predicate"]["resources"][0]["algorithm"] = "blake2b"

    def links(statement: Any) -> None:
        statement["predicate"]["serialization"]["allow_symlinks"] = True

    def several(statement: Any) -> None:
        statement["subject"] *= 2

    def nothing(statement: Any) -> None:
        del statement["predicate"]["resources"]

    s.restate(s.random.choice([old, algorithm, links, several, nothing]))
    return SIGNATURE


def ignoring(s: Scene) -> str:
    s.add("evil.py", b"x = 1\n")
    s.sign(s.trusted, ignore=(SIGNATURE, "evil.py"))
    return "another form"


def sharded(s: Scene) -> str:
    s.sign(s.trusted, shards=True)
    return "another form"


def pickled(s: Scene) -> bytes:
    """One thing in all its wrappings."""
    bomb, buffer = Bomb(s.marker), io.BytesIO()
    kind = s.random.randrange(11)
    if kind < 6:
        return pickle.dumps(bomb, protocol=kind)
    if kind == 6:
        torch.save({"weights": bomb}, buffer)
    elif kind == 7:
        np.savez(buffer, weights=np.array([bomb], dtype=object))
    elif kind == 8:
        np.save(buffer, np.array([bomb], dtype=object))
    elif kind == 9:
        joblib.dump(bomb, buffer, compress=s.random.choice([0, ("zlib", 3), ("gzip", 3), ("xz", 3)]))
    else:
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("data.pkl", pickle.dumps(bomb))
    return buffer.getvalue()


def planted_pickle(s: Scene) -> str:
    return s.add(s.random.choice(["notes.json", "network/more.safetensors", "model.pkl"]), pickled(s))


def signed_pickle(s: Scene) -> str:
    honest = ["notes.json", "README.md", NETWORK, TREES, "model.json", "network/more.safetensors", "no_ending"]
    name = s.add(s.random.choice(honest), pickled(s))
    s.sign(s.trusted)
    return Path(name).name


def signed_name(s: Scene) -> str:
    name = s.add(f"x{s.random.choice(sorted(SUFFIXES))}{s.random.choice(['', '.txt'])}", b"harmless text")
    s.sign(s.trusted)
    return name


def signed_tail(s: Scene) -> str:
    """A file that starts as weights and ends as an archive of a pickle."""
    s.add(NETWORK, (s.folder / NETWORK).read_bytes() + pickled(s))
    s.sign(s.trusted)
    return NETWORK


ATTACKS = (
    bit, truncated, longer, extra, removed, renamed, swapped, linked, linked_whole, dangling, hard, pipe, sock, sparse,
    empty_folder, deep, odd_name, folder_for_file, unsigned, bad_signature, altered_signature, foreign_key, forged_hint,
    signature_of_another, whole_other, traversal, other_statement, ignoring, sharded, planted_pickle, signed_pickle,
    signed_name, signed_tail,
)  # fmt: skip
OFTEN = (bit, bit, signed_pickle, signed_pickle, altered_signature, extra, traversal)
