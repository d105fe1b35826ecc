"""Texts through a pretrained encoder: the same vectors however they are batched, and each text once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abi.data.encoder_folder import describe
from abi.errors import DataError, UsageError
from abi.inputs import pretrained
from abi.inputs.pretrained import Encoders, MemoryStore, TextModel, batches, pooled
from abi.reading import EncoderConfig

TEXTS = ["good film", "the plot is very very bad", "good", "a film", "", "bad plot the film is good"]


@pytest.fixture
def encoder(tiny_bert: Path) -> Any:
    return describe(EncoderConfig(path=tiny_bert), "text")


def test_a_vector_is_the_mean_of_its_tokens_at_length_one(tiny_bert: Path, encoder: Any) -> None:
    import transformers

    vector = TextModel(encoder, tiny_bert).encode(["good film"])[0]
    model = transformers.AutoModel.from_pretrained(str(tiny_bert), local_files_only=True).eval()
    with torch.no_grad():  # [CLS] good film [SEP]
        hidden = model(input_ids=torch.tensor([[2, 4, 6, 3]])).last_hidden_state[0]
    expected = hidden.mean(0) / hidden.mean(0).norm()
    assert np.allclose(vector, expected.numpy(), atol=1e-5)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_a_vector_does_not_depend_on_the_texts_beside_it(tiny_bert: Path, encoder: Any) -> None:
    model = TextModel(encoder, tiny_bert)
    together = model.encode(TEXTS)
    alone = np.concatenate([model.encode([text]) for text in TEXTS])
    assert np.allclose(together, alone, atol=1e-5)


def test_tokens_beyond_the_limit_are_not_read(tiny_bert: Path) -> None:
    short = TextModel(describe(EncoderConfig(path=tiny_bert, max_tokens=4), "text"), tiny_bert)
    assert np.array_equal(*short.encode(["good film plot bad", "good film the the"]))


def test_pooling_by_hand() -> None:
    hidden = torch.tensor([[[1.0, 4.0], [3.0, 0.0], [99.0, 99.0]]])
    there = torch.tensor([[1, 1, 0]])
    assert pooled(hidden, there, "mean").tolist() == [[2.0, 2.0]]
    assert pooled(hidden, there, "max").tolist() == [[3.0, 4.0]]
    assert pooled(hidden, there, "cls").tolist() == [[1.0, 4.0]]


def test_rows_of_one_length_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "BATCH_TOKENS", 8)
    # 2, 2, 3 take 9 with padding, one too many; 20 goes alone
    assert list(batches([2, 20, 3, 2])) == [[0, 3], [2], [1]]
    assert list(batches([])) == []


def test_each_text_is_encoded_once(tiny_bert: Path, encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    encoders = Encoders({encoder.sha256: tiny_bert}, MemoryStore())
    first = encoders(encoder, ["good film", "bad", "bad"])
    assert np.array_equal(first[1], first[2])
    asked: list[str] = []
    whole = TextModel.encode

    def counted(self: TextModel, texts: Any) -> Any:
        asked.extend(texts)
        return whole(self, texts)

    monkeypatch.setattr(TextModel, "encode", counted)
    again = encoders(encoder, ["bad", "good film", "plot"])
    assert asked == ["plot"]
    assert np.array_equal(again[:2], first[[1, 0]])


def test_vectors_are_the_same_kept_or_fresh(tiny_bert: Path, encoder: Any) -> None:
    kept = Encoders({encoder.sha256: tiny_bert}, MemoryStore())
    fresh = Encoders({encoder.sha256: tiny_bert})
    kept(encoder, TEXTS)
    assert np.array_equal(kept(encoder, TEXTS), fresh(encoder, TEXTS))


def test_an_encoder_without_a_folder_is_told(encoder: Any) -> None:
    with pytest.raises(DataError, match=r"name it in data\.encoders"):
        Encoders({})(encoder, ["good"])


def test_without_transformers_there_is_a_remedy(tiny_bert: Path, encoder: Any, without_package: Any) -> None:
    without_package("transformers")
    with pytest.raises(UsageError, match=r"abi-instrument\[pretrained\]"):
        TextModel(encoder, tiny_bert)


def test_weights_that_lack_a_layer_are_refused(tiny_bert: Path, encoder: Any, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_bert, tmp_path / "copy"))
    tensors = load_file(folder / "model.safetensors")
    first = next(name for name in tensors if "layer.1" in name)
    save_file({k: v for k, v in tensors.items() if k != first}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UsageError, match="got none for 1 tensors"):
        TextModel(encoder, folder)


def test_minilm_knows_what_means_the_same(minilm: Path) -> None:
    encoder = describe(EncoderConfig(path=minilm), "text")
    assert (encoder.dimensions, encoder.pooling, encoder.normalise, encoder.max_tokens) == (384, "mean", True, 128)
    a, b, c = TextModel(encoder, minilm).encode(
        ["I lost my card.", "My bank card has gone missing.", "The weather in Lisbon is fine."]
    )
    assert a @ b > 0.6
    assert a @ c < 0.2
