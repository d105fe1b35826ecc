"""Two hundred tampered or hostile model folders, each refused before anything in it is deserialised."""

from __future__ import annotations

import hashlib
import pickle
import random
import shutil

import joblib
import numpy as np
import pytest
import torch
from hostile_folders import ATTACKS, OFTEN, Scene

import abi.families.artifact
import abi.families.trees
import tasks.models
from abi.audit.signing import SIGNATURE
from abi.config import load_config
from abi.errors import ArtifactRefused
from abi.operations import SigningConfig
from tasks.models import keep_model, load_model
from tasks.signing import Signing
from tasks.stage import Call
from tasks.workspace import Workspace

CASES, SEED = 200, 20261125


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    ws = Workspace.open(tmp_path_factory.mktemp("signing") / "ws")
    return Call.of(ws, "shop", load_config(None, {}))


@pytest.fixture(scope="module")
def kept(call, blend):
    """The honest folder, and that of another model which the same key signed."""
    keep_model(call, blend, blend.artifact)
    keep_model(call, blend.network, blend.network.artifact)
    foreign = Signing(Workspace.open(call.ws.root.parent / "foreign"), SigningConfig())
    foreign.rotate()
    return call.ws.models / blend.artifact, call.ws.models / blend.network.artifact, foreign.private_key


@pytest.fixture
def nothing_is_read(monkeypatch):
    """Every way in which the content of a model could be deserialised fails the test."""

    def read(*_: object, **__: object) -> None:
        pytest.fail("it was deserialised")

    places: list[tuple[object, str]] = [
        (tasks.models, "load"), (abi.families.artifact, "load_tensors"), (abi.families.trees, "made"),
        (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load"), (np, "load"), (joblib, "load"),
    ]  # fmt: skip
    for owner, name in places:
        monkeypatch.setattr(owner, name, read)


@pytest.mark.parametrize("number", range(CASES))
def test_hostile_folders_are_refused_before_anything_is_deserialised(call, kept, tmp_path, nothing_is_read, number):
    honest, other, foreign = kept
    attack = (*ATTACKS, *OFTEN)[number % (len(ATTACKS) + len(OFTEN))]
    ws = Workspace(tmp_path / "ws")
    shutil.copytree(honest, ws.models / honest.name)
    shutil.copytree(call.ws.keys, ws.keys)
    scene = Scene(
        folder=ws.models / honest.name,
        random=random.Random(f"{SEED} {number}"),
        other=other,
        trusted=ws.keys / "model.pem",
        foreign=foreign,
        marker=tmp_path / "unpickled",
    )
    named = attack(scene)
    (ws.keys / "model.pem").unlink()  # the machine that verifies has the public key alone
    with pytest.raises(ArtifactRefused) as refused:
        load_model(Call.of(ws, "shop", call.settings), honest.name)
    sentence = str(refused.value)
    assert sentence.startswith("Expected ")
    assert ", got " in sentence
    assert ": " in sentence.partition(", got ")[2]
    assert "\n" not in sentence
    assert named in sentence
    assert not scene.marker.exists()


def test_an_honest_folder_predicts_the_same_bytes(call, kept, blend, rows):
    again = load_model(call, blend.artifact)
    expected = blend.predict(rows)
    assert again.predict(rows).to_csv() == expected.to_csv()
    assert np.array_equal(again.predict(rows).iloc[:, 1:].to_numpy(), expected.iloc[:, 1:].to_numpy())


def test_the_signature_says_which_files_and_which_model(call, kept, blend):
    claim = Signing(call.ws, SigningConfig()).verify(kept[0], blend.artifact)
    assert claim.name == blend.artifact
    assert claim.files == {name: hashlib.sha256(data).hexdigest() for name, data in blend.files().items()}
    assert claim.key == hashlib.sha256((call.ws.keys / "model.pub.pem").read_bytes()).hexdigest()
    with pytest.raises(ArtifactRefused, match="another signed one"):
        Signing(call.ws, SigningConfig()).verify(kept[0], "x")


def test_what_mlflow_leaves_there_is_passed_over_where_it_is_a_short_note(call, kept, blend, tmp_path):
    from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME

    ws = Workspace(tmp_path / "ws")
    shutil.copytree(kept[0], folder := ws.models / kept[0].name)
    shutil.copytree(call.ws.keys, ws.keys)
    there = Call.of(ws, "shop", call.settings)
    note = folder / REGISTERED_MODEL_META_FILE_NAME
    note.write_text("model_name: shop\nmodel_version: '1'\n")
    assert load_model(there, blend.artifact).artifact == blend.artifact
    for other in (b"x" * 5000, pickle.dumps({"model_name": "shop"})):
        note.write_bytes(other)
        with pytest.raises(ArtifactRefused, match=note.name):
            load_model(there, blend.artifact)
    note.unlink()
    note.symlink_to(folder / "model.json")
    with pytest.raises(ArtifactRefused, match=note.name):
        load_model(there, blend.artifact)


def test_a_changed_folder_is_replaced_when_the_model_is_trained_again(call, kept, blend, tmp_path):
    folder = kept[0]
    (folder / "planted.py").write_text("x = 1\n")
    (folder / ".left.tmp").touch()
    with pytest.raises(ArtifactRefused, match=r"not signed '\.left\.tmp', 'planted\.py'"):
        load_model(call, blend.artifact)
    keep_model(call, blend, blend.artifact)
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.sig", "network", "trees"]
    before = (folder / SIGNATURE).stat()
    keep_model(call, blend, blend.artifact)
    assert (folder / SIGNATURE).stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in call.ws.models.iterdir() if path.name.startswith(".")] == []


def test_what_would_be_refused_is_not_signed(tmp_path):
    signing = Signing(Workspace.open(tmp_path / "ws"), SigningConfig())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.json").write_text("{}")
    (folder / "weights.txt").write_bytes(pickle.dumps([1], protocol=0))
    with pytest.raises(ArtifactRefused, match=r"weights\.txt.*got a pickle"):
        signing.sign(folder)
    with pytest.raises(ArtifactRefused, match=r"not signed 'weights\.txt'"):
        signing.sign(folder, ["model.json"])
    assert not (folder / SIGNATURE).exists()
