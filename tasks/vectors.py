"""Vectors of pretrained encoders in the workspace: each text or picture is encoded once, whichever run asks for it."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from abi.data.encoder_folder import files_of, fingerprint, is_whole
from abi.data.scratch import scratch_folder
from tasks.workspace import disk_errors

if TYPE_CHECKING:
    from abi.config import Config
    from abi.inputs.pretrained import Encoders, Vector
    from abi.problem import Pretrained, Schema
    from tasks.workspace import Workspace

NAMES: Final = "texts"
VECTORS: Final = "vectors"
KEY_BYTES: Final = 16


class FileStore:
    """Vectors under ``vectors/<encoder>/``: files that are only ever added, each named by the SHA-256 of what it holds."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self._held: dict[str, dict[bytes, Vector]] = {}
        self._seen: set[Path] = set()

    def read(self, encoder: Pretrained) -> Mapping[bytes, Vector]:
        """All that are kept; a file that was damaged is removed, and what it was for is encoded again."""
        held = self._held.setdefault(encoder.id, {})
        folder = self._folder(encoder)
        for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
            if path not in self._seen:
                held.update(_read(path, encoder.dimensions))
                self._seen.add(path)
        return held

    def add(self, encoder: Pretrained, found: Mapping[bytes, Vector]) -> None:
        """Keep these too."""
        from safetensors.numpy import save

        names = np.frombuffer(b"".join(found), dtype=np.uint8).reshape(-1, KEY_BYTES)
        data = save({NAMES: names, VECTORS: np.stack(list(found.values()))})
        path = self._folder(encoder) / f"{hashlib.sha256(data).hexdigest()}.safetensors"
        self._ws.write(path, data, durable=False)
        self._held.setdefault(encoder.id, {}).update(found)
        self._seen.add(path)

    def _folder(self, encoder: Pretrained) -> Path:
        return self._ws.vectors / encoder.id


def encoders_of(ws: Workspace, config: Config) -> Encoders | None:
    """What turns texts and pictures into vectors with the encoders that the settings name or that were tuned here; None without any."""
    folders = _folders(ws, config)
    if not folders:
        return None
    from abi.inputs.pretrained import Encoders

    return Encoders(folders, _store(ws))


def _folders(ws: Workspace, config: Config) -> dict[str, Path]:
    """Where the encoders that the settings name lie, and those that were tuned here."""
    folders = [one.path.expanduser() for one in config.data.encoders.values()]
    tuned = [path for path in ws.encoders.glob("*") if is_whole(path)]
    return {path.name: path for path in tuned} | {fingerprint(folder): folder for folder in folders if is_whole(folder)}


def tuned_folder(ws: Workspace, sha256: str) -> Path | None:
    """Where the encoder lies that was tuned here; None where it does not, or not whole."""
    folder = ws.encoders / sha256
    return folder if is_whole(folder) and fingerprint(folder) == sha256 else None


def keep_tuned(ws: Workspace, files: Mapping[str, bytes]) -> str:
    """Keep an encoder's files in a folder that appears in one step; gives the SHA-256 that names it."""
    with disk_errors(ws.encoders):
        ws.encoders.mkdir(exist_ok=True)
        with scratch_folder(ws.encoders) as stage:
            made = stage / "encoder"
            for name, data in files.items():
                ws.write(made / name, data)
            sha256 = fingerprint(made)
            if tuned_folder(ws, sha256) is None:
                shutil.rmtree(ws.encoders / sha256, ignore_errors=True)
                made.rename(ws.encoders / sha256)
    return sha256


@functools.lru_cache(maxsize=2)
def _store(ws: Workspace) -> FileStore:
    """One for the process: what was read stays."""
    return FileStore(ws)


def bare_encoders(ws: Workspace, config: Config) -> Encoders | None:
    """The same without what the workspace keeps: what a prediction takes, where nothing is known of its text or picture."""
    if not config.data.encoders:
        return None
    from abi.inputs.pretrained import Encoders

    return Encoders(_folders(ws, config))


def encoder_files(ws: Workspace, config: Config, schema: Schema) -> dict[str, bytes]:
    """What a saved model keeps of its encoders: where each lies, and the whole of those that are to be embedded or were tuned.

    Encoders that the settings do not name, as of a model from another table, are left out.
    """
    from abi.inputs.pretrained import PLACES, embedded

    asked = _asked(ws, config, schema)
    places = {sha256: str(folder) for sha256, (folder, _) in asked.items()}
    files = {
        f"{embedded(sha256)}/{name}": (folder / name).read_bytes()
        for sha256, (folder, whole) in asked.items()
        if whole
        for name in files_of(folder)
    }
    return {PLACES: json.dumps(places, indent=1).encode(), **files} if asked else {}


def is_of_encoders(name: str) -> bool:
    """Whether that file of a saved model is one of `encoder_files`."""
    from abi.inputs.pretrained import EMBEDDED, PLACES

    return name == PLACES or name.startswith(f"{EMBEDDED}/")


def refers_as_asked(ws: Workspace, config: Config, schema: Schema, model: Path) -> bool:
    """Whether a saved model names its encoders where these settings do, and has those in it that they want to be embedded."""
    from abi.inputs.pretrained import PLACES, embedded

    asked = _asked(ws, config, schema)
    if not asked or not (model / PLACES).is_file():
        return True
    try:
        places = dict(json.loads((model / PLACES).read_bytes()))
    except (OSError, ValueError, TypeError):
        return False
    return all(
        places.get(sha256, str(folder)) == str(folder) and (model / embedded(sha256)).is_dir() == whole
        for sha256, (folder, whole) in asked.items()
    )


def _asked(ws: Workspace, config: Config, schema: Schema) -> dict[str, tuple[Path, bool]]:
    """SHA-256 of each encoder that the settings name -> (where it lies, whether a model takes it along)."""
    found: dict[str, tuple[Path, bool]] = {}
    for feature in schema.features:
        settings = config.data.encoders.get(feature.column)
        if feature.encoder is not None and settings is not None:
            sha256 = feature.encoder.sha256
            tuned = tuned_folder(ws, sha256)  # the workspace may be cleaned, so a model takes it along
            found[sha256] = (tuned or settings.path.expanduser().resolve(), settings.embed or tuned is not None)
    return found


def _read(path: Path, dimensions: int) -> dict[bytes, Vector]:
    from safetensors.numpy import load

    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != path.stem:
        path.unlink(missing_ok=True)
        return {}
    found = load(data)
    names, vectors = found[NAMES], found[VECTORS]
    if vectors.shape != (len(names), dimensions):
        path.unlink(missing_ok=True)
        return {}
    return {name.tobytes(): vector for name, vector in zip(names, vectors, strict=True)}
