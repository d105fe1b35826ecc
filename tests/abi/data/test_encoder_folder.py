"""The folder of a pretrained encoder: what it says of itself, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from abi.data.encoder_folder import describe, expect_same, files_of, fingerprint
from abi.errors import DataError, UsageError
from abi.reading import EncoderConfig


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "copy"))


def _change(path: Path, **fields: object) -> None:
    plain = json.loads(path.read_text())
    path.write_text(json.dumps({**plain, **fields}))


def test_what_the_folder_says_of_itself(folder: Path) -> None:
    found = describe(EncoderConfig(path=folder), "text")
    assert (found.dimensions, found.pooling, found.normalise) == (8, "mean", True)
    assert found.max_tokens == 32  # its positions, fewer than the settings' 128
    tensors = load_file(folder / "model.safetensors")
    assert found.parameters == sum(t.size for t in tensors.values())
    # two layers of 4 x 8 x 8 (attention) and 2 x 8 x 16 (the rest), and the pooler's 8 x 8
    assert found.matrices == 2 * (4 * 64 + 2 * 128) + 64


def test_settings_go_before_what_the_folder_says(folder: Path) -> None:
    found = describe(EncoderConfig(path=folder, pooling="cls", max_tokens=7), "text")
    assert (found.pooling, found.max_tokens) == ("cls", 7)


def test_without_modules_tokens_are_averaged_and_nothing_is_normalised(folder: Path) -> None:
    (folder / "modules.json").unlink()
    found = describe(EncoderConfig(path=folder), "text")
    assert (found.pooling, found.normalise) == ("mean", False)


def test_the_hash_is_of_the_content_and_of_nothing_else(folder: Path, tiny_bert: Path) -> None:
    assert fingerprint(folder) == fingerprint(tiny_bert)
    (folder / "README.md").write_text("not a part of it")
    assert fingerprint(folder) == fingerprint(tiny_bert)
    assert "1_Pooling/config.json" in files_of(folder)
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    assert fingerprint(folder) != fingerprint(tiny_bert)


def test_a_folder_that_is_gone_or_another_is_told(folder: Path) -> None:
    encoder = describe(EncoderConfig(path=folder), "text")
    expect_same(encoder, folder)
    _change(folder / "config.json", hidden_act="relu")
    with pytest.raises(DataError, match="got another one"):
        expect_same(encoder, folder)
    shutil.rmtree(folder)
    with pytest.raises(DataError, match=r"got no 'config\.json'.*embed: true"):
        expect_same(encoder, folder)


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _own_code(folder: Path) -> None:
    _change(folder / "config.json", auto_map={"AutoModel": "modeling.Mine"})


def _adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def _dense(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    added = {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}
    (folder / "modules.json").write_text(json.dumps([*modules, added]))


def _outside(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = "../elsewhere"
    (folder / "modules.json").write_text(json.dumps(modules))


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x80\x04K\x01.")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_pickled, "may run code when it is read"),
        (_own_code, "code of its own"),
        (_adapter, "adapter or quantised"),
        (_dense, "models.Dense"),
        (_outside, "elsewhere"),
        (_no_tokenizer, "tokenizer.json"),
        (_no_json, "Expected JSON"),
        (_no_weights, "Expected safetensors"),
    ],
)
def test_what_is_refused(folder: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(folder)
    with pytest.raises(UsageError, match=r"^Expected .*got") as error:
        describe(EncoderConfig(path=folder), "text")
    assert said in str(error.value)


def test_no_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing is downloaded"):
        describe(EncoderConfig(path=tmp_path / "sentence-transformers/all-MiniLM-L6-v2"), "text")
