"""Vectors of pretrained encoders in the workspace."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from abi.config import Config, load_config
from abi.data.encoder_folder import describe
from abi.data.picture_encoder import describe_pictures
from abi.inputs.pretrained import PLACES, encoders_beside, key_of
from abi.problem import Feature, Schema
from abi.reading import EncoderConfig
from tasks.vectors import FileStore, encoder_files, encoders_of, refers_as_asked
from tasks.workspace import Workspace


def test_vectors_outlive_the_process_that_made_them(ws: Workspace, tiny_bert: Path) -> None:
    encoder = describe(EncoderConfig(path=tiny_bert), "text")
    first = FileStore(ws)
    first.add(encoder, {key_of("good"): np.arange(8, dtype=np.float16)})
    other = FileStore(ws)
    assert np.array_equal(other.read(encoder)[key_of("good")], np.arange(8))
    first.add(encoder, {key_of("bad"): np.ones(8, dtype=np.float16)})
    assert set(other.read(encoder)) == {key_of("good"), key_of("bad")}  # what came since


def test_another_pooling_has_other_vectors(ws: Workspace, tiny_bert: Path) -> None:
    mean, first = (describe(EncoderConfig(path=tiny_bert, pooling=p), "text") for p in ("mean", "cls"))
    store = FileStore(ws)
    store.add(mean, {key_of("good"): np.zeros(8, dtype=np.float16)})
    assert not store.read(first)


def test_a_damaged_file_is_made_again(ws: Workspace, tiny_bert: Path) -> None:
    encoder = describe(EncoderConfig(path=tiny_bert), "text")
    config = load_config(settings={"data.encoders.text": str(tiny_bert)}, ambient=False)
    made = encoders_of(ws, config)
    assert made is not None
    whole = made(encoder, ["good film"])
    (path,) = (ws.vectors / encoder.id).glob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x40
    path.write_bytes(data)
    assert not FileStore(ws).read(encoder)
    assert not path.exists()
    assert np.array_equal(made(encoder, ["good film"]), whole)


def test_without_encoders_nothing_is_opened(ws: Workspace) -> None:
    assert encoders_of(ws, load_config(ambient=False)) is None


def test_a_model_names_its_encoders_or_carries_them(ws: Workspace, tiny_bert: Path, tmp_path: Path) -> None:
    encoder = describe(EncoderConfig(path=tiny_bert), "text")
    feature = Feature(
        name="text:encoder", column="text", kind="embedding", distinct=5, missing_share=0.0, encoder=encoder
    )
    schema = Schema(target="label", task="binary", classes=("a", "b"), features=(feature,), set_aside=())
    for embed in (False, True):
        settings = {"data.encoders.text.path": str(tiny_bert), "data.encoders.text.embed": embed}
        files = encoder_files(ws, load_config(settings=settings, ambient=False), schema)
        assert json.loads(files[PLACES]) == {encoder.sha256: str(tiny_bert)}
        for name, data in files.items():
            (tmp_path / str(embed) / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / str(embed) / name).write_bytes(data)
        found = encoders_beside(tmp_path / str(embed), schema.features)
        assert found is not None
        inside = found.folders[encoder.sha256].is_relative_to(tmp_path / str(embed))
        assert inside is embed
        assert found(encoder, ["good film"]).shape == (1, 8)
    assert encoder_files(ws, load_config(ambient=False), Schema(**{**vars(schema), "features": ()})) == {}


@pytest.mark.parametrize("embed", [False, True])
def test_a_model_is_as_asked_until_the_settings_name_another_folder_or_want_it_embedded(
    ws: Workspace, tiny_bert: Path, tmp_path: Path, embed: bool
) -> None:
    feature = Feature(
        name="text:encoder", column="text", kind="embedding", distinct=5, missing_share=0.0,
        encoder=describe(EncoderConfig(path=tiny_bert), "text"),
    )  # fmt: skip
    schema = Schema(target="label", task="binary", classes=("a", "b"), features=(feature,), set_aside=())
    other = shutil.copytree(tiny_bert, tmp_path / "other")

    def config(path: Path, embed: bool) -> Config:
        return load_config(settings={"data.encoders.text": {"path": str(path), "embed": embed}}, ambient=False)

    model = tmp_path / "model"
    for name, data in encoder_files(ws, config(tiny_bert, embed), schema).items():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(data)
    assert refers_as_asked(ws, config(tiny_bert, embed), schema, model)
    assert refers_as_asked(ws, load_config(ambient=False), schema, model)  # which name no encoder
    assert not refers_as_asked(ws, config(other, embed), schema, model)
    assert not refers_as_asked(ws, config(tiny_bert, not embed), schema, model)


def test_an_image_encoder_is_named_or_carried_alike(ws: Workspace, tiny_resnet: Path, tmp_path: Path) -> None:
    encoder = describe_pictures(EncoderConfig(path=tiny_resnet), "photo")
    feature = Feature(
        name="photo:encoder", column="photo", kind="embedding", distinct=5, missing_share=0.0, encoder=encoder
    )
    schema = Schema(target="label", task="binary", classes=("a", "b"), features=(feature,), set_aside=())
    settings = {"data.encoders.photo.path": str(tiny_resnet), "data.encoders.photo.embed": True}
    config = load_config(settings=settings, ambient=False)
    for name, data in encoder_files(ws, config, schema).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    found, kept = encoders_beside(tmp_path, schema.features), encoders_of(ws, config)
    assert found is not None
    assert kept is not None
    assert found.folders[encoder.sha256].is_relative_to(tmp_path)
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(buffer, "PNG")
    files = [buffer.getvalue(), b"no picture"]
    vectors = found(encoder, files)
    assert np.isfinite(vectors[0]).all()
    assert np.isnan(vectors[1]).all()
    np.testing.assert_array_equal(kept(encoder, files), vectors)
    assert set(FileStore(ws).read(encoder)) == {key_of(files[0])}  # nothing is kept of what cannot be read
