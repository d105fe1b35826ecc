"""Texts and pictures through a frozen, pretrained encoder: one vector each. Of texts: tokens, its layers, pooling.

Each is encoded once: vectors are kept by what the encoder is and what the text or file is, rounded to half precision, so
that scoring, pilots, rounds, control and evaluation, and runs after this one, see the same numbers.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32
from torch import Tensor

from abi.data.encoder_folder import TOKENIZER, expect_same
from abi.errors import DataError, UsageError
from abi.media.encoder import QUIET, PictureModel
from abi.media.torchvision import load_torchvision
from abi.problem import Feature, Pretrained

BATCH_TOKENS: Final = 4096
"""Tokens, with padding, that go through the layers together."""
PLACES: Final = "encoders.json"
"""In a model's folder: where each encoder lies, by its SHA-256."""
EMBEDDED: Final = "encoders"
"""In a model's folder: holds the encoders that were copied into it."""
_TOKENIZED: Final = 4096
_QUIET: Final = {**QUIET, "TOKENIZERS_PARALLELISM": "false"}

Vector = Float16[np.ndarray, " dimensions"]


@runtime_checkable
class VectorStore(Protocol):
    """Keeps vectors by encoder, under the hash of the text or file."""

    def read(self, encoder: Pretrained) -> Mapping[bytes, Vector]:
        """All that are kept."""
        ...

    def add(self, encoder: Pretrained, found: Mapping[bytes, Vector]) -> None:
        """Keep these too."""
        ...


class MemoryStore:
    """Keeps them while this process runs."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[bytes, Vector]] = {}

    def read(self, encoder: Pretrained) -> Mapping[bytes, Vector]:
        """All that are kept."""
        return self._kept.setdefault(encoder.id, {})

    def add(self, encoder: Pretrained, found: Mapping[bytes, Vector]) -> None:
        """Keep these too."""
        self._kept.setdefault(encoder.id, {}).update(found)


class Encoders:
    """Turns texts and pictures into vectors; `folders` is where each encoder lies, by its SHA-256.

    Without a `store` nothing is kept, as where a model predicts for rows that will not come again.
    """

    def __init__(self, folders: Mapping[str, Path], store: VectorStore | None = None) -> None:
        self.folders, self._store = dict(folders), store
        self._models: dict[str, TextModel | PictureModel] = {}

    def hold(self, encoder: Pretrained) -> None:
        """Load it now, from a folder that may be gone when it is needed."""
        self._models[encoder.id] = self._opened(encoder)

    def __call__(
        self, encoder: Pretrained, values: Sequence[str] | Sequence[bytes]
    ) -> Float32[np.ndarray, "values dimensions"]:
        """One vector per text or file; NaN of a picture that cannot be read.

        Raises:
            DataError: the encoder's folder is not known, gone or changed.
            UsageError: transformers or timm is not installed, or does not know such an encoder.
        """
        known = self._store.read(encoder) if self._store is not None else {}
        names = [key_of(value) for value in values]
        new = {name: value for name, value in zip(names, values, strict=True) if name not in known}
        if new:
            model: Any = self._opened(encoder)  # each takes its own kind of values
            found = dict(zip(new, model.encode(list(new.values())).astype(np.float16), strict=True))
            readable = {name: vector for name, vector in found.items() if not np.isnan(vector).any()}
            if self._store is not None and readable:
                self._store.add(encoder, readable)
            known = {**known, **found}
        result = np.zeros((len(values), encoder.dimensions), dtype=np.float32)
        for row, name in zip(result, names, strict=True):
            row[:] = known[name]
        return result

    def _opened(self, encoder: Pretrained) -> TextModel | PictureModel:
        if encoder.id in self._models:
            return self._models[encoder.id]
        folder = self.folders.get(encoder.sha256)
        if folder is None:
            msg = f"Expected the folder of the pretrained encoder {encoder.sha256[:12]}, got none: name it in data.encoders."
            raise DataError(msg)
        expect_same(encoder, folder)
        return _open(encoder.id, folder, _Held(encoder))


def embedded(sha256: str) -> str:
    """Where a model's folder holds the encoder, if it was copied into it."""
    return f"{EMBEDDED}/{sha256[:16]}"


def encoders_beside(model: Path, features: Sequence[Feature]) -> Encoders | None:
    """The encoders that a saved model refers to, those inside its folder loaded; None where it has none."""
    if not (model / PLACES).is_file():
        return None
    places = json.loads((model / PLACES).read_bytes())
    inner = {sha256: model / embedded(sha256) for sha256 in places if (model / embedded(sha256)).is_dir()}
    found = Encoders({sha256: inner.get(sha256, Path(places[sha256])) for sha256 in places})
    for feature in features:
        if feature.encoder is not None and feature.encoder.sha256 in inner:
            found.hold(feature.encoder)
    return found


def key_of(value: str | bytes) -> bytes:
    """The first half of the SHA-256 of a text or file."""
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).digest()[:16]


class _Held:
    """Carries the encoder past the cache, whose key is its id."""

    def __init__(self, encoder: Pretrained) -> None:
        self.encoder = encoder

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=2)
def _open(encoder_id: str, folder: Path, held: _Held) -> TextModel | PictureModel:  # noqa: ARG001 - encoder_id is the key
    return TextModel(held.encoder, folder) if held.encoder.sight is None else PictureModel(folder)


class TextModel:
    """One encoder, loaded: its tokenizer and layers, in evaluation mode and single precision."""

    def __init__(self, encoder: Pretrained, folder: Path) -> None:
        self.encoder = encoder
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._tokenizer, layers = _load(folder)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(encoder.max_tokens)
        self._layers = layers.to(self.device)
        self._pad = int(getattr(layers.config, "pad_token_id", None) or 0)

    def encode(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dimensions"]:
        """Vectors of the texts, in batches of about equal length."""
        return self.encode_tokens(self.tokens(texts))

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Their ids, of each text at most as many as are read."""
        tokens: list[list[int]] = []
        for start in range(0, len(texts), _TOKENIZED):
            tokens += [found.ids for found in self._tokenizer.encode_batch(list(texts[start : start + _TOKENIZED]))]
        return tokens

    def encode_tokens(self, tokens: Sequence[Sequence[int]]) -> Float32[np.ndarray, "texts dimensions"]:
        """Vectors of texts that are tokens already."""
        result = np.zeros((len(tokens), self.encoder.dimensions), dtype=np.float32)
        with torch.inference_mode():
            for rows in batches([len(ids) for ids in tokens]):
                result[rows] = self._forward([tokens[row] for row in rows]).cpu().numpy()
        return result

    def _forward(self, tokens: Sequence[Sequence[int]]) -> Float[Tensor, "texts dimensions"]:
        longest = max(1, *map(len, tokens))
        ids = torch.full((len(tokens), longest), self._pad)
        there = torch.zeros((len(tokens), longest), dtype=torch.int64)
        for row, one in enumerate(tokens):
            ids[row, : len(one)], there[row, : len(one)] = torch.tensor(one, dtype=torch.int64), 1
        there = there.to(self.device)
        hidden = self._layers(input_ids=ids.to(self.device), attention_mask=there).last_hidden_state
        vectors = pooled(hidden.float(), there, self.encoder.pooling)
        return torch.nn.functional.normalize(vectors) if self.encoder.normalise else vectors


def pooled(
    hidden: Float[Tensor, "texts tokens dimensions"], there: Tensor, pooling: str
) -> Float[Tensor, "texts dimensions"]:
    """One vector per text: the mean or largest of its tokens', or the first token's."""
    if pooling == "cls":
        return hidden[:, 0]
    mask = there.unsqueeze(-1).bool()
    if pooling == "max":
        return hidden.masked_fill(~mask, -torch.inf).amax(1).nan_to_num(neginf=0.0)
    return hidden.masked_fill(~mask, 0.0).sum(1) / mask.sum(1).clamp_min(1)


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows of about equal length together, the shortest first: at most `BATCH_TOKENS` with their padding, or one row."""
    rows: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if rows and (len(rows) + 1) * lengths[row] > BATCH_TOKENS:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def _load(folder: Path) -> tuple[Any, Any]:
    """(tokenizer, layers) from the files of that folder alone: no network, no pickle, no code of its own."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    load_torchvision()  # transformers imports it if it is there
    try:
        import transformers  # noqa: PLC0415 - an extra, and it takes seconds
        from tokenizers import Tokenizer  # noqa: PLC0415
    except ImportError:
        msg = "Expected the package transformers for data.encoders, found none: install abi-instrument[pretrained]."
        raise UsageError(msg) from None
    quiet: Any = transformers.utils.logging  # it does not annotate these
    quiet.disable_progress_bar()
    quiet.set_verbosity_error()
    try:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        layers, found = transformers.AutoModel.from_pretrained(
            str(folder),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            dtype=torch.float32,
            attn_implementation="eager",
        )
    except Exception as error:  # the libraries raise what they like
        reason = str(error).strip().splitlines()
        msg = f"Expected a text encoder that transformers {transformers.__version__} can load in {folder}, got: {reason[0][:200] if reason else type(error).__name__}"
        raise UsageError(msg) from None
    lacking = sorted(name for name in found["missing_keys"] if not name.startswith("pooler"))
    if lacking or found["mismatched_keys"]:
        msg = f"Expected weights for every layer in {folder}, got none for {len(lacking)} tensors such as {(lacking or ['one of another size'])[0]!r}: save the encoder again."
        raise UsageError(msg)
    return tokenizer, layers.eval().requires_grad_(False)
