"""The folder of a pretrained text encoder: what it says of itself, its hash, and what in it is refused.

Only JSON and safetensors are read. Weights in formats that run code when they are read, and models that bring code of
their own (`auto_map`), are refused before anything is loaded.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from abi.errors import DataError, UsageError, listed
from abi.problem import Pooling, Pretrained

if TYPE_CHECKING:
    from abi.reading import EncoderConfig

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
TOKENIZER: Final = "tokenizer.json"
MODULES: Final = "modules.json"
LENGTHS: Final = "sentence_bert_config.json"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
_PICKLED: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_PARTS: Final = ("Transformer", "Pooling", "Normalize")
"""Modules of sentence-transformers that are known; what a `Dense` would add is not."""
_POOLINGS: Final[Mapping[str, Pooling]] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}
_MOST_TOKENS: Final = 8192
_BLOCK: Final = 2**20
_HEADER_BYTES: Final = 100_000_000


def describe(config: EncoderConfig, column: str) -> Pretrained:
    """What the folder holds, with the settings' pooling and length laid over what it says itself.

    Raises:
        UsageError: it is no encoder, or one that is refused.
    """
    folder = config.path.expanduser()
    _expect_files(folder, column)
    plain = _read(folder / CONFIG)
    lengths, tokens = (_read(folder / n) if (folder / n).is_file() else {} for n in (LENGTHS, TOKENIZER_CONFIG))
    _expect_no_code(folder, plain, tokens)
    pooling, normalise = _pooling(folder)
    longest = [lengths.get("max_seq_length"), tokens.get("model_max_length"), plain.get("max_position_embeddings")]
    most = min([config.max_tokens, *(int(n) for n in longest if isinstance(n, int | float) and 0 < n <= _MOST_TOKENS)])
    shapes = _shapes(folder / WEIGHTS)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    return Pretrained(
        sha256=fingerprint(folder),
        dimensions=_dimensions(folder, plain),
        pooling=config.pooling or pooling or "mean",
        normalise=normalise,
        max_tokens=most,
        parameters=sum(sizes.values()),
        matrices=sum(sizes[name] for name, shape in shapes.items() if len(shape) > 1 and "embeddings" not in name),
    )


def is_whole(folder: Path) -> bool:
    """Whether the files that every encoder has are there."""
    return all((folder / name).is_file() for name in (CONFIG, WEIGHTS, TOKENIZER))


def files_of(folder: Path) -> tuple[str, ...]:
    """The files that the encoder is made of, by their paths in the folder."""
    names = [CONFIG, WEIGHTS, TOKENIZER]
    names += [name for name in (MODULES, LENGTHS, TOKENIZER_CONFIG) if (folder / name).is_file()]
    for module in _modules(folder):
        inner = f"{module['path']}/{CONFIG}" if module["path"] else CONFIG
        if inner not in names and (folder / inner).is_file():
            names.append(inner)
    return tuple(sorted(names))


def fingerprint(folder: Path) -> str:
    """SHA-256 over the names and hashes of those files."""
    digest = hashlib.sha256()
    for name in files_of(folder):
        found = (folder / name).stat()
        digest.update(f"{name}\0{_hash(folder / name, found.st_size, found.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def expect_same(encoder: Pretrained, folder: Path) -> None:
    """See that the folder still holds what the model was trained with.

    Raises:
        DataError: it is gone or was changed.
    """
    gone = [name for name in (CONFIG, WEIGHTS, TOKENIZER) if not (folder / name).is_file()]
    found = None if gone else fingerprint(folder)
    if found == encoder.sha256:
        return
    got = f"no {listed(gone)}" if found is None else f"another one ({found[:12]})"
    msg = f"Expected the pretrained encoder {encoder.sha256[:12]} that the model was trained with in {folder}, got {got}: restore the folder, or train with data.encoders' `embed: true`, which copies it into the model."
    raise DataError(msg)


@functools.lru_cache(maxsize=64)
def _hash(path: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001 - the last two are parts of the key
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _expect_files(folder: Path, column: str) -> None:
    if not folder.is_dir():
        msg = f"Expected a folder with a pretrained encoder for the column {column!r} at {folder}, found none: correct data.encoders; nothing is downloaded."
        raise UsageError(msg)
    lacking = [name for name in (CONFIG, WEIGHTS, TOKENIZER) if not (folder / name).is_file()]
    if not lacking:
        return
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED)
    if WEIGHTS in lacking and pickled:
        msg = f"Expected weights as {WEIGHTS} in {folder}, got {listed(pickled)}, which may run code when it is read: convert it to safetensors."
        raise UsageError(msg)
    msg = f"Expected {CONFIG}, {WEIGHTS} and {TOKENIZER} in {folder}, got no {listed(lacking)}: save the encoder there with `save_pretrained`."
    raise UsageError(msg)


def _expect_no_code(folder: Path, plain: Mapping[str, Any], tokens: Mapping[str, Any]) -> None:
    if any("auto_map" in one or one.get("trust_remote_code") for one in (plain, tokens)):
        msg = f"Expected an encoder of a kind that transformers knows in {folder}, got one with code of its own (auto_map): choose another."
        raise UsageError(msg)
    if (folder / "adapter_config.json").exists() or plain.get("quantization_config"):
        msg = f"Expected an encoder's own weights in {folder}, got an adapter or quantised weights: merge them and save it again."
        raise UsageError(msg)


def _modules(folder: Path) -> list[dict[str, Any]]:
    """The modules of sentence-transformers with kind and path; none where there is no such file.

    Raises:
        UsageError: a module is not known, or lies outside the folder.
    """
    if not (folder / MODULES).is_file():
        return []
    plain = _read(folder / MODULES)
    modules = [dict(m) for m in plain] if isinstance(plain, list) else []
    for module in modules:
        module["kind"] = str(module.get("type", "")).rpartition(".")[2]
        path = Path(str(module.setdefault("path", "")))
        if module["kind"] not in _PARTS or path.is_absolute() or ".." in path.parts:
            msg = f"Expected modules {', '.join(_PARTS)} in {folder / MODULES}, got {str(module.get('type'))[:80]!r} at {str(path)[:80]!r}: choose another encoder."
            raise UsageError(msg)
        if module["kind"] == "Transformer" and str(path) not in ("", "."):
            msg = f"Expected the encoder itself in {folder}, got it in {folder / path}: name that folder in data.encoders."
            raise UsageError(msg)
    return modules


def _pooling(folder: Path) -> tuple[Pooling | None, bool]:
    """(what the folder pools by, None where it does not say; whether it normalises)."""
    modules = _modules(folder)
    pooling: Pooling | None = None
    for module in modules:
        if module["kind"] != "Pooling":
            continue
        plain = _read(folder / module["path"] / CONFIG)
        chosen = [name for name, value in plain.items() if name.startswith("pooling_mode") and value is True]
        if len(chosen) != 1 or chosen[0] not in _POOLINGS:
            msg = f"Expected one pooling of {', '.join(_POOLINGS.values())} in {folder / module['path']}, got {listed(chosen) or 'none'}: set `pooling` in data.encoders."
            raise UsageError(msg)
        pooling = _POOLINGS[chosen[0]]
    return pooling, any(module["kind"] == "Normalize" for module in modules)


def _dimensions(folder: Path, plain: Mapping[str, Any]) -> int:
    for name in ("hidden_size", "dim", "d_model"):
        if isinstance(plain.get(name), int):
            return int(plain[name])
    msg = f"Expected hidden_size in {folder / CONFIG}, got none: choose an encoder such as BERT's."
    raise UsageError(msg)


def _shapes(path: Path) -> dict[str, list[int]]:
    """Tensor -> shape, from the header of a safetensors file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 0 < length <= _HEADER_BYTES else None
        assert isinstance(header, dict)
        return {name: list(t["shape"]) for name, t in header.items() if name != "__metadata__"}
    except (OSError, ValueError, AssertionError, KeyError, TypeError):
        msg = f"Expected safetensors in {path}, got something else: save the encoder again."
        raise UsageError(msg) from None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"Expected JSON in {path}, got: {getattr(error, 'strerror', None) or error}."
        raise UsageError(msg) from None
