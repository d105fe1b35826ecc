"""The folder of an image encoder, and the column that it is for."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from abi.config import Config, load_config
from abi.data.columns import encode, with_vectors, without_vectors
from abi.data.encoder_folder import describe, expect_same, files_of, fingerprint
from abi.data.memory import read_memory
from abi.data.picture_encoder import describe_pictures
from abi.data.reader import Reader
from abi.errors import DataError, UsageError
from abi.inputs.pretrained import Encoders, MemoryStore
from abi.media.encoder import PictureModel
from abi.reading import EncoderConfig


@pytest.fixture
def folder(tiny_resnet: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(tiny_resnet, tmp_path / "copy"))


def test_what_the_folder_says_of_itself(folder: Path) -> None:
    found = describe_pictures(EncoderConfig(path=folder), "photo")
    model = PictureModel(folder)
    assert (found.dimensions, found.parameters, found.sight) == (96, sum(model.sizes.values()), model.sight)
    assert found.macs == model.sight.macs
    assert files_of(folder) == ("config.json", "model.safetensors")
    assert found.sha256 == fingerprint(folder)


def test_a_folder_that_is_gone_or_another_is_told(folder: Path, tiny_bert: Path) -> None:
    encoder = describe_pictures(EncoderConfig(path=folder), "photo")
    expect_same(encoder, folder)
    with pytest.raises(DataError, match="got another one"):
        expect_same(encoder, tiny_bert)
    plain = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**plain, "architecture": 1}))
    with pytest.raises(DataError, match="got another one \\(of another kind\\)"):
        expect_same(encoder, folder)
    shutil.rmtree(folder)
    with pytest.raises(DataError, match=r"got no 'config\.json'.*embed: true"):
        expect_same(encoder, folder)


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_pickled, "may run code when it is read: convert it to safetensors"),
        (_no_config, "got no 'config.json': save the encoder there with timm's `save_for_hf"),
        (_no_json, "Expected JSON"),
        (shutil.rmtree, "nothing is downloaded"),
    ],
)
def test_what_is_refused(folder: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(folder)
    with pytest.raises(UsageError, match=r"^Expected ") as error:
        describe_pictures(EncoderConfig(path=folder), "photo")
    assert said in str(error.value)


def test_each_kind_of_encoder_is_for_its_kind_of_column(tiny_resnet: Path, tiny_bert: Path) -> None:
    with pytest.raises(UsageError, match="holds images, got a text encoder"):
        describe_pictures(EncoderConfig(path=tiny_bert), "photo")
    with pytest.raises(UsageError, match="holds text, got an image encoder"):
        describe(EncoderConfig(path=tiny_resnet), "text")
    with pytest.raises(UsageError, match="no `pooling`"):
        describe_pictures(EncoderConfig(path=tiny_resnet, pooling="cls"), "photo")


def _png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def reader(tiny_resnet: Path) -> Reader:
    """130 rows with 110 pictures; of every tenth row there is none."""
    files = [None if i % 10 == 4 else _png(i % 110) for i in range(130)]
    table = pa.table({"photo": pa.array(files, pa.binary()), "n": np.arange(130) % 7, "label": ["a", "b"] * 65})
    config = load_config(settings={"data.encoders.photo": str(tiny_resnet)}, ambient=False)
    assert isinstance(config, Config)
    vectors = Encoders({fingerprint(tiny_resnet): tiny_resnet}, MemoryStore())
    return read_memory(table, "label", config, vectors=vectors)


def test_vectors_stand_beside_the_regions_whichever_way_rows_are_read(reader: Reader, tiny_resnet: Path) -> None:
    schema = reader.problem.schema
    assert [f.name for f in schema.features] == ["photo[1,1]", "photo[1,2]", "photo[2,1]", "photo[2,2]", "photo:encoder", "n"]  # fmt: skip
    assert schema.features[4].kind == "embedding"
    assert schema.media == {"photo": "image"}
    whole = reader.load("train")
    codes = whole.categorical[-1]
    assert codes.vectors is not None
    rows = [i % 110 for i in whole.row_numbers.tolist()]
    asked = PictureModel(tiny_resnet).encode([_png(row) for row in rows]).astype(np.float16)
    there = codes.codes >= 0
    assert [i % 10 == 4 for i in whole.row_numbers.tolist()] == (~there).tolist()
    assert np.allclose(codes.vectors[codes.codes[there]], asked[there], atol=1e-2, rtol=1e-2)
    pieces = list(reader.chunks("train", 9))
    assert len(pieces) > 5
    parts = [piece.categorical[-1] for piece in pieces]
    found = np.concatenate([p.vectors[p.codes[p.codes >= 0]] for p in parts if p.vectors is not None])
    assert np.array_equal(found, codes.vectors[codes.codes[there]])


def test_files_of_a_few_pictures_stay_so_that_a_prediction_can_be_timed(reader: Reader) -> None:
    whole, schema = reader.load("train"), reader.problem.schema
    assert 0 < len(whole.categorical[-1].files) <= 64
    fresh = without_vectors(whole, schema)
    assert len(whole) // 2 < len(fresh) < len(whole)
    assert fresh.categorical[-1].vectors is None
    again = with_vectors(fresh.categorical, schema, reader.vectors)[-1]
    known = whole.categorical[-1]
    place = {value: i for i, value in enumerate(known.values)}
    assert again.vectors is not None
    assert known.vectors is not None
    assert np.array_equal(again.vectors, known.vectors[[place[value] for value in again.values]])


def test_rows_whose_picture_cannot_be_read_have_none(reader: Reader) -> None:
    schema = reader.problem.schema
    files = [b"no picture", _png(1), None, b"", _png(1)]
    rows = encode(pa.table({"photo": pa.array(files, pa.binary()), "n": [1.0] * 5}), schema, with_target=False)
    assert rows.categorical[-1].codes.tolist() == [0, 1, -1, -1, 1]
    found = with_vectors(rows.categorical, schema, reader.vectors)[-1]
    assert found.codes.tolist() == [-1, 0, -1, -1, 0]
    assert found.vectors is not None
    assert found.vectors.shape == (1, 96)
    assert np.isfinite(found.vectors).all()
