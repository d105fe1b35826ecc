"""What `planner.py` predicts: networks of this project, and modules that are not, all with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from abi.execution.batch import parse_batch
from abi.execution.step import Training
from abi.families.network import Cells, Network
from abi.families.preparation import Lexicon, Preparation
from abi.inputs.kind import CellPart, TableRows
from abi.inputs.numeric import NumericCodes
from abi.inputs.text import BagCells
from abi.media.torchvision import load_torchvision
from abi.problem import Feature, Schema
from abi.types import Capacity, FeatureCapacity, LayerSplit

BINS: Final = 16
VALUES: Final = 40
TERMS: Final = 300
TERMS_PER_TEXT: Final = 12


@dataclass(frozen=True, kw_only=True)
class OwnNetwork:
    """A network of the project by its sizes; calling it builds one."""

    numeric: int = 8
    categorical: int = 0
    texts: int = 0
    width: int = 8
    members: int = 8
    blocks: int = 2
    hidden: int = 128
    low_precision: bool = False

    @property
    def name(self) -> str:
        """The sizes in one word."""
        kind = "bf16" if self.low_precision else "f32"
        return f"network {self.numeric}n{self.categorical}c{self.texts}t w{self.width} k{self.members} {self.blocks}x{self.hidden} {kind}"

    def __call__(self) -> Network:
        """Build it; features of one kind alternate between two widths."""
        kinds = ["numeric"] * self.numeric + ["categorical"] * self.categorical + ["text"] * self.texts
        features = tuple(
            Feature(name=f"x{i}", column=f"x{i}", kind=kind, distinct=VALUES, missing_share=0.0)  # type: ignore[arg-type]
            for i, kind in enumerate(kinds)
        )
        given = tuple(
            FeatureCapacity(
                feature=f.name, width=self.width * (1 + i % 2), bins=BINS, rows=TERMS, parameters=0, reason=""
            )
            for i, f in enumerate(features)
        )
        capacity = Capacity(
            features=given,
            members=self.members,
            blocks=self.blocks,
            block_width=self.hidden,
            layers=LayerSplit(feature_extraction=0, middle=0, output=0),
        )
        terms = Lexicon(terms=tuple(f"t{i}" for i in range(TERMS)), inverse=(1.0,) * TERMS)
        preparation = Preparation(
            edges=(tuple(np.linspace(0, 1, BINS + 1).tolist()),) * self.numeric,
            vocabularies=(tuple(map(str, range(VALUES))),) * (self.categorical + self.texts),
            lexicons={f.name: terms for f in features if f.kind == "text"},
        )
        some = {  # three of four cells of each text's table exist
            g.feature: np.arange(TERMS * g.width).reshape(TERMS, g.width) % 4 > 0
            for f, g in zip(features, given, strict=True)
            if f.kind == "text"
        }
        place = torch.get_default_device()
        with torch.device("cpu"):  # as training does: what is made of arrays lies there
            network = Network(
                Schema(target="y", task="regression", classes=(), features=features, set_aside=()),
                capacity,
                preparation,
                np.full(len(features), 1 / len(features)),
                dropout=0.1,
                low_precision=self.low_precision,
                masks=some,
            )
        return network.to(place)

    def make(self, rows: int, device: str = "cpu") -> dict[str, Any]:
        """Encoded rows; every cell is the first value of its feature."""
        text = BagCells(
            torch.zeros(rows, dtype=torch.int64, device=device),
            torch.zeros(TERMS_PER_TEXT, dtype=torch.int64, device=device),
            torch.ones(TERMS_PER_TEXT, device=device),
            torch.tensor([0, TERMS_PER_TEXT, TERMS_PER_TEXT], device=device),
            TERMS_PER_TEXT * rows,
        )
        parts: list[CellPart] = []
        if self.numeric:
            cells = torch.zeros(rows, self.numeric, dtype=torch.int32, device=device)
            parts.append(NumericCodes(cells, torch.rand(rows, self.numeric, device=device)))
        if self.categorical:
            parts.append(TableRows(torch.zeros(rows, self.categorical, dtype=torch.int32, device=device)))
        return {"cells": Cells((*parts, *(text,) * self.texts), rows)}


class Recurrent(nn.Module):
    """A recurrent layer read at its last step."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU], width: int, layers: int) -> None:
        super().__init__()
        self.body = kind(32, width, layers, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Sequences (rows, steps, 32)."""
        return torch.as_tensor(self.head(self.body(x)[0][:, -1]))


class Table(nn.Module):
    """Embeddings of several ids, and a small head."""

    def __init__(self, values: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(values, width)
        self.head = nn.Sequential(nn.Linear(8 * width, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (rows, 8)."""
        return torch.as_tensor(self.head(self.table(ids).flatten(1)))


def mlp(width: int, depth: int) -> nn.Module:
    """Linear layers with GELU and layer norms."""
    blocks = [nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width)) for _ in range(depth)]
    return nn.Sequential(*blocks, nn.Linear(width, 1))


def cnn(channels: int) -> nn.Module:
    """Two convolutions with batch norm and pooling."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        nn.BatchNorm2d(2 * channels),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * channels, 10),
    )


def encoder(width: int, layers: int) -> nn.Module:
    """Torch's own transformer encoder."""
    layer = nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


class Translator(nn.Module):
    """torch's own transformer with both halves."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Transformer(64, 4, 2, 2, 256, batch_first=True)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Sequences (rows, steps, 64)."""
        return torch.as_tensor(self.body(source, target))


def _transformers(model: str, config: str, **sizes: Any) -> nn.Module:
    load_torchvision()
    import transformers  # noqa: PLC0415 - two seconds

    found = getattr(transformers, model)(getattr(transformers, config)(**sizes))
    assert isinstance(found, nn.Module)
    return found


def bert(width: int = 128, layers: int = 3) -> nn.Module:
    """BERT with a classifier."""
    return _transformers(
        "BertForSequenceClassification",
        "BertConfig",
        vocab_size=5000,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=4 * width,
    )


def gpt2(width: int = 128, layers: int = 3) -> nn.Module:
    """GPT-2 with its language head."""
    return _transformers(
        "GPT2LMHeadModel",
        "GPT2Config",
        vocab_size=5000,
        n_positions=128,
        n_embd=width,
        n_layer=layers,
        n_head=4,
        use_cache=False,
    )


def t5(width: int = 128) -> nn.Module:
    """T5 with both halves."""
    return _transformers(
        "T5ForConditionalGeneration",
        "T5Config",
        vocab_size=5000,
        d_model=width,
        d_kv=32,
        d_ff=4 * width,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        use_cache=False,
    )


def vit(width: int = 128) -> nn.Module:
    """ViT with a classifier."""
    return _transformers(
        "ViTForImageClassification",
        "ViTConfig",
        image_size=64,
        patch_size=8,
        hidden_size=width,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=4 * width,
    )


def whisper(width: int = 64) -> nn.Module:
    """Whisper on 200 frames."""
    return _transformers(
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        vocab_size=2000,
        num_mel_bins=40,
        d_model=width,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        max_source_positions=100,
        max_target_positions=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        use_cache=False,
    )


_TOKENS: Final = "input_ids=i64[B,64]<5000"
_OTHERS: Final[tuple[tuple[str, Callable[[], nn.Module], str], ...]] = (
    ("mlp 256x4", partial(mlp, 256, 4), "input=f32[B,256]"),
    ("mlp 512x2", partial(mlp, 512, 2), "input=f32[B,512]"),
    ("cnn 16", partial(cnn, 16), "input=f32[B,3,32,32]"),
    ("cnn 32", partial(cnn, 32), "input=f32[B,3,48,48]"),
    ("lstm 64x2", partial(Recurrent, nn.LSTM, 64, 2), "x=f32[B,30,32]"),
    ("lstm 128x1", partial(Recurrent, nn.LSTM, 128, 1), "x=f32[B,20,32]"),
    ("gru 64x2", partial(Recurrent, nn.GRU, 64, 2), "x=f32[B,30,32]"),
    ("gru 128x1", partial(Recurrent, nn.GRU, 128, 1), "x=f32[B,20,32]"),
    ("embedding 20000x64", partial(Table, 20000, 64), "ids=i64[B,8]<20000"),
    ("embedding 2000x16", partial(Table, 2000, 16), "ids=i64[B,8]<2000"),
    ("torch encoder", partial(encoder, 128, 3), "src=f32[B,32,128]"),
    ("torch transformer", Translator, "source=f32[B,24,64],target=f32[B,16,64]"),
    ("bert", bert, f"{_TOKENS},labels=i64[B]<2"),
    ("bert wide", partial(bert, 256, 2), f"{_TOKENS},labels=i64[B]<2"),
    ("gpt2", gpt2, f"{_TOKENS},labels=i64[B,64]<5000"),
    ("gpt2 wide", partial(gpt2, 256, 2), f"{_TOKENS},labels=i64[B,64]<5000"),
    ("t5", t5, f"{_TOKENS},labels=i64[B,16]<5000"),
    ("vit", vit, "pixel_values=f32[B,3,64,64],labels=i64[B]<2"),
    ("whisper", whisper, "input_features=f32[B,40,200],labels=i64[B,16]<2000"),
)
_OPTIMIZERS: Final = ("adamw", "sgd", "adafactor")


def bert_base() -> nn.Module:
    """BERT-base with a classifier."""
    return _transformers("BertForSequenceClassification", "BertConfig")


def gpt2_small() -> nn.Module:
    """GPT-2 small."""
    return _transformers("GPT2LMHeadModel", "GPT2Config", use_cache=False)


def t5_small() -> nn.Module:
    """T5-small."""
    return _transformers("T5ForConditionalGeneration", "T5Config", decoder_start_token_id=0, use_cache=False)


def vit_base() -> nn.Module:
    """ViT-base on images of 224 x 224."""
    return _transformers("ViTForImageClassification", "ViTConfig")


def resnet() -> nn.Module:
    """ResNet-50 on images of 224 x 224."""
    return _transformers("ResNetForImageClassification", "ResNetConfig")


def whisper_base() -> nn.Module:
    """Whisper-base on 30 seconds."""
    sizes = {f"{half}_{what}": n for half in ("encoder", "decoder") for what, n in (("layers", 6), ("attention_heads", 8), ("ffn_dim", 2048))}  # fmt: skip
    return _transformers("WhisperForConditionalGeneration", "WhisperConfig", d_model=512, use_cache=False, **sizes)


_LARGE: Final[tuple[tuple[str, Callable[[], nn.Module], str, int], ...]] = (
    ("bert base", bert_base, "input_ids=i64[B,128]<30522,labels=i64[B]<2", 64),
    ("gpt2 small", gpt2_small, "input_ids=i64[B,256]<50257,labels=i64[B,256]<50257", 16),
    ("t5 small", t5_small, "input_ids=i64[B,128]<32128,labels=i64[B,64]<32128", 64),
    ("vit base", vit_base, "pixel_values=f32[B,3,224,224],labels=i64[B]<2", 64),
    ("resnet 50", resnet, "pixel_values=f32[B,3,224,224],labels=i64[B]<2", 64),
    ("whisper base", whisper_base, "input_features=f32[B,80,3000],labels=i64[B,64]<51865", 8),
    ("mlp 4096x8", partial(mlp, 4096, 8), "input=f32[B,4096]", 4096),
    ("lstm 512x2", partial(Recurrent, nn.LSTM, 512, 2), "x=f32[B,128,32]", 256),
    ("embedding 1000000x64", partial(Table, 1_000_000, 64), "ids=i64[B,8]<1000000", 16384),
)


def large() -> list[tuple[str, Training, int]]:
    """Modules of the sizes that GPUs are for, each with the rows of a step: in float32, bfloat16, and checkpointed."""
    network = OwnNetwork(numeric=200, width=16, members=32, blocks=3, hidden=384)
    found = [("network large", Training(build=network, batch=network), 4096)]
    for name, build, batch, rows in _LARGE:
        plain = Training(build=build, batch=parse_batch(batch))
        found.append((name, plain, rows))
        found.append((f"{name} bf16", plain.changed(arithmetic="bfloat16"), rows))
        if name in ("bert base", "gpt2 small", "vit base", "mlp 4096x8"):
            found.append((f"{name} tf32", plain.changed(arithmetic="tf32"), rows))
            found.append((f"{name} bf16 checkpointed", plain.changed(arithmetic="bfloat16", checkpointing=True), rows))
    return found


def own() -> list[tuple[str, Training]]:
    """Networks of the project: both precisions, widths, members, blocks, categories, texts; every optimizer in turn."""
    sizes: list[dict[str, int]] = [
        {},
        {"width": 2, "hidden": 64},
        {"width": 24},
        {"numeric": 40, "width": 4},
        {"members": 2, "hidden": 256},
        {"members": 16},
        {"members": 32, "hidden": 64, "blocks": 1},
        {"blocks": 1},
        {"blocks": 4},
        {"blocks": 0},
        {"numeric": 4, "categorical": 12},
        {"numeric": 0, "categorical": 20, "width": 16},
        {"hidden": 384, "blocks": 3},
        {"numeric": 100, "categorical": 20, "width": 3, "members": 4},
        {"numeric": 4, "texts": 1},
        {"numeric": 0, "texts": 2, "width": 4},
    ]
    networks = [OwnNetwork(**s, low_precision=low) for s in sizes for low in (False, True)]
    return [
        (f"{n.name} {optimizer}", Training(build=n, batch=n, optimizer=optimizer))
        for n, optimizer in zip(networks, _OPTIMIZERS * len(networks), strict=False)
    ]


def others() -> list[tuple[str, Training]]:
    """Modules that are not the project's: optimizers in turn, then some in bfloat16, then some with checkpointing."""
    found = []
    for i, (name, build, batch) in enumerate(_OTHERS):
        optimizer = _OPTIMIZERS[i % len(_OPTIMIZERS)]
        plain = Training(build=build, batch=parse_batch(batch), optimizer=optimizer)
        found.append((f"{name} {optimizer}", plain))
        if name in ("mlp 256x4", "gru 64x2", "bert", "gpt2", "vit", "torch encoder"):
            found.append((f"{name} {optimizer} bf16", plain.changed(arithmetic="bfloat16")))
        if name in ("mlp 256x4", "bert", "gpt2", "t5", "vit", "whisper", "torch encoder"):
            found.append((f"{name} {optimizer} checkpointed", plain.changed(checkpointing=True)))
    return found
