"""The folder of a pretrained encoder: its hash, what a text encoder says of itself, and what in it is refused.

An image encoder's folder, as timm's `save_for_hf` leaves it, is told by the `architecture` in its config.json. Only JSON and safetensors are read. Weights in formats that run code when they are read, and models that bring code of
their own (`auto_map`), are refused before anything is loaded.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from abi.errors import DataError, UsageError, clip, listed
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
_NUMBERED: Final = re.compile(r"(.*?)\.(\d+)\.")
"""A part of a model that stands in a list, as `encoder.layer.5.`."""
_MOST_TOKENS: Final = 8192
_BLOCK: Final = 2**20
_HEADER_BYTES: Final = 100_000_000


def describe(config: EncoderConfig, column: str) -> Pretrained:
    """What the folder of a text encoder holds, with the settings' pooling and length laid over what it says itself.

    Raises:
        UsageError: it is no encoder, or one that is refused.
    """
    folder = config.path.expanduser()
    if sees_pictures(folder):
        msg = f"Expected a text encoder for the column {clip(column)!r}, which holds text, got an image encoder in {folder}: name another folder in data.encoders."
        raise UsageError(msg)
    expect_files(folder, column, (CONFIG, WEIGHTS, TOKENIZER), "`save_pretrained`")
    plain = read_json(folder / CONFIG)
    lengths, tokens = (read_json(folder / n) if (folder / n).is_file() else {} for n in (LENGTHS, TOKENIZER_CONFIG))
    _expect_no_code(folder, plain, tokens)
    pooling, normalise = _pooling(folder)
    longest = [lengths.get("max_seq_length"), tokens.get("model_max_length"), plain.get("max_position_embeddings")]
    most = min([config.max_tokens, *(int(n) for n in longest if isinstance(n, int | float) and 0 < n <= _MOST_TOKENS)])
    shapes = _shapes(folder / WEIGHTS)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    expect_layers(config, column, sizes)
    return Pretrained(
        sha256=fingerprint(folder),
        dimensions=_dimensions(folder, plain),
        pooling=config.pooling or pooling or "mean",
        normalise=normalise,
        max_tokens=most,
        parameters=sum(sizes.values()),
        matrices=sum(sizes[name] for name, shape in shapes.items() if len(shape) > 1 and "embeddings" not in name),
    )


def expect_layers(config: EncoderConfig, column: str, sizes: Mapping[str, int]) -> None:
    """See that an encoder which is to be tuned has layers for it.

    Raises:
        UsageError: it has none.
    """
    if config.tune is not None and not blocks_of(sizes):
        msg = f"Expected layers to tune in the encoder of the column {clip(column)!r}, got none in {config.path}: leave `tune` out of data.encoders, or choose another encoder."
        raise UsageError(msg)


def blocks_of(sizes: Mapping[str, int]) -> dict[str, list[str]]:
    """Layer -> its weights, from the first layer on: of the parts that stand in a list, the one with the most weights.

    Args:
        sizes: numbers of a weight by its name, as `encoder.layer.5.output.dense.weight` of the layer `encoder.layer.5`.
    """
    stacks: dict[str, dict[int, list[str]]] = {}
    for name in sizes:
        if found := _NUMBERED.match(name):
            stacks.setdefault(found[1], {}).setdefault(int(found[2]), []).append(name)
    if not stacks:
        return {}
    held = {stack: sum(sizes[name] for names in layers.values() for name in names) for stack, layers in stacks.items()}
    largest = max(held, key=lambda stack: held[stack])
    return {f"{largest}.{i}": names for i, names in sorted(stacks[largest].items())}


def sees_pictures(folder: Path) -> bool:
    """Whether an image encoder lies there; nothing is said of a folder that holds none."""
    try:
        plain = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(plain, dict) and isinstance(plain.get("architecture"), str)


def is_whole(folder: Path) -> bool:
    """Whether the files that every encoder has are there."""
    return all((folder / name).is_file() for name in _needed(folder))


def files_of(folder: Path) -> tuple[str, ...]:
    """The files that the encoder is made of, by their paths in the folder."""
    names = list(_needed(folder))
    if TOKENIZER not in names:
        return tuple(sorted(names))
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
    needed = (CONFIG, WEIGHTS) if encoder.sight is not None else (CONFIG, WEIGHTS, TOKENIZER)
    gone = [name for name in needed if not (folder / name).is_file()]
    found = fingerprint(folder) if not gone and is_whole(folder) else ""
    if found == encoder.sha256:
        return
    got = f"no {listed(gone)}" if gone else f"another one ({found[:12] or 'of another kind'})"
    msg = f"Expected the pretrained encoder {encoder.sha256[:12]} that the model was trained with in {folder}, got {got}: restore the folder, or train with data.encoders' `embed: true`, which copies it into the model."
    raise DataError(msg)


@functools.lru_cache(maxsize=64)
def _hash(path: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001 - the last two are parts of the key
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _needed(folder: Path) -> tuple[str, ...]:
    return (CONFIG, WEIGHTS) if sees_pictures(folder) else (CONFIG, WEIGHTS, TOKENIZER)


def expect_files(folder: Path, column: str, needed: Sequence[str], saved: str) -> None:
    """See that the files are there.

    Args:
        folder: of the encoder.
        column: that the settings name it for.
        needed: names of its files.
        saved: what leaves such a folder, for the message.

    Raises:
        UsageError: one is lacking, or is there in a format that may run code.
    """
    if not folder.is_dir():
        msg = f"Expected a folder with a pretrained encoder for the column {column!r} at {folder}, found none: correct data.encoders; nothing is downloaded."
        raise UsageError(msg)
    lacking = [name for name in needed if not (folder / name).is_file()]
    if not lacking:
        return
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED)
    if WEIGHTS in lacking and pickled:
        msg = f"Expected weights as {WEIGHTS} in {folder}, got {listed(pickled)}, which may run code when it is read: convert it to safetensors."
        raise UsageError(msg)
    msg = f"Expected {', '.join(needed[:-1])} and {needed[-1]} in {folder}, got no {listed(lacking)}: save the encoder there with {saved}."
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
    plain = read_json(folder / MODULES)
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
        plain = read_json(folder / module["path"] / CONFIG)
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


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"Expected JSON in {path}, got: {getattr(error, 'strerror', None) or error}."
        raise UsageError(msg) from None
