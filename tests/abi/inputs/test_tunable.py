"""An encoder's last layers, and the folder that they are written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abi.data.encoder_folder import blocks_of, describe, files_of
from abi.errors import UsageError
from abi.inputs.pretrained import TextModel
from abi.inputs.tunable import TunableText, tuned_files
from abi.reading import EncoderConfig, TuneConfig

TEXTS = ["good film", "the plot is very very bad", "good", "a film"]


@pytest.fixture
def encoder(tiny_bert: Path) -> Any:
    return describe(EncoderConfig(path=tiny_bert), "text")


def test_layers_are_told_by_the_names_of_weights() -> None:
    names = ["embeddings.word.weight", "h.10.a", "h.2.a", "h.2.norm.0.b", "head.0.a"]
    assert blocks_of(dict.fromkeys(names, 5)) == {"h.2": ["h.2.a", "h.2.norm.0.b"], "h.10": ["h.10.a"]}
    assert blocks_of({"embeddings.weight": 3}) == {}


def test_only_the_last_layers_have_gradients(tiny_bert: Path, encoder: Any) -> None:
    model = TunableText(encoder, tiny_bert, 1, TEXTS)
    model.vectors(np.arange(4)).sum().backward()
    assert {name.rpartition("layer.")[2][0] for name in model.last.named()} == {"1"}
    assert all(p.grad is not None for p in model.last.named().values())
    assert sum(p.requires_grad for p in model._layers.parameters()) == len(model.last.named())
    assert TunableText(encoder, tiny_bert, 99, TEXTS).last.count == 2


def test_dropout_is_of_the_trained_layers_alone(tiny_bert: Path, encoder: Any) -> None:
    model = TunableText(encoder, tiny_bert, 1, TEXTS)
    model.last.train(True)
    assert [layer.training for layer in model._layers.encoder.layer] == [False, True]
    model.last.train(False)
    assert np.allclose(model.encoded(np.arange(4)), TextModel(encoder, tiny_bert).encode(TEXTS), atol=1e-6)


def test_every_row_is_in_one_batch_beside_rows_of_its_length(tiny_bert: Path, encoder: Any) -> None:
    model = TunableText(encoder, tiny_bert, 1, TEXTS)
    numbers = np.array([1, 0, 1, 0, 1, 0])
    batches = model.batches(numbers, 3, torch.Generator().manual_seed(0))
    assert sorted(np.concatenate(batches).tolist()) == list(range(6))
    assert sorted(set(numbers[batch].tolist()) == {one} for one in (0, 1) for batch in batches) == [
        False,
        False,
        True,
        True,
    ]


def test_the_folder_holds_the_new_weights_and_all_else_as_it_was(tiny_bert: Path, encoder: Any, tmp_path: Path) -> None:
    model = TunableText(encoder, tiny_bert, 2, TEXTS)
    with torch.no_grad():
        for parameter in model.last.named().values():
            parameter.add_(0.1 * torch.sin(torch.arange(parameter.numel()).reshape(parameter.shape)))
    files = tuned_files(tiny_bert, model.last.named())
    assert sorted(files) == list(files_of(tiny_bert))
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
        assert (data == (tiny_bert / name).read_bytes()) == (name != "model.safetensors")
    found = describe(EncoderConfig(path=tmp_path), "text")
    assert {**vars(found), "sha256": ""} == {**vars(encoder), "sha256": ""}
    assert found.sha256 != encoder.sha256
    assert np.array_equal(TextModel(found, tmp_path).encode(TEXTS), model.encode(TEXTS))


def test_an_encoder_without_layers_is_not_tuned(tiny_bert: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for name in files_of(tiny_bert):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((tiny_bert / name).read_bytes())
    kept = {k: v for k, v in load_file(tiny_bert / "model.safetensors").items() if "layer" not in k}
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    assert describe(EncoderConfig(path=tmp_path), "text").dimensions == 8
    with pytest.raises(UsageError, match="Expected layers to tune in the encoder of the column 'text', got none"):
        describe(EncoderConfig(path=tmp_path, tune=TuneConfig()), "text")
