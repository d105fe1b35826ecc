"""Trained models in the workspace: kept with a signature, verified before they are read."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from abi.audit.signing import SIGNATURE
from abi.data.scratch import scratch_folder
from abi.errors import ArtifactRefused, WorkspaceError
from abi.families.family import MODEL, Model
from abi.families.stored import Predictor, load, load_history
from tasks.signing import Signing
from tasks.vectors import encoder_files, is_of_encoders
from tasks.workspace import disk_errors

if TYPE_CHECKING:
    from abi.audit.signing import Claim
    from tasks.stage import Call
    from tasks.workspace import Workspace


def keep_model(
    call: Call, model: Model, artifact: str, beside: Mapping[str, bytes] | None = None, *, adopted: bool = False
) -> None:
    """Keep a model's files under its artifact's hash, signed; a folder that is there is replaced unless it verifies.

    It is replaced, too, where it refers to its encoders otherwise than the settings do, unless the model was `adopted` and not
    trained by them. The folder appears in one step, with its signature. `beside` are files that go with the model's own.
    """
    ws = call.ws
    signing, target = Signing(ws, call.settings.signing), ws.models / artifact
    encoders = encoder_files(ws, call.settings, model.schema)
    files = {**model.files(), **encoders, **(beside or {})}
    claim = _verified(signing, target)
    if claim is not None and (adopted or not encoders or _holds(claim, encoders)):
        return
    with disk_errors(target), scratch_folder(ws.models) as stage:
        folder = stage / artifact
        for name, data in files.items():
            ws.write(folder / name, data)
        signing.sign(folder, files)
        _move_away(target, stage / "before")
        try:
            folder.rename(target)
        except OSError:  # another process may have put the same model there at the same moment
            if _verified(signing, target) is None:
                raise


def load_model(call: Call, artifact: str) -> Model:
    """The model of that artifact's hash, verified first.

    Raises:
        ArtifactRefused: its folder is not what was signed.
        WorkspaceError: its files do not belong together.
    """
    folder = call.ws.models / artifact
    if not folder.is_dir():
        msg = (
            f"Expected the model {artifact[:12]} in {folder}, found none. Train the model again or restore the folder."
        )
        raise WorkspaceError(msg)
    Signing(call.ws, call.settings.signing).verify(folder, artifact)
    return load(folder)


def load_predictor_of(call: Call, artifact: str) -> Predictor:
    """The same with what it takes along, to predict for raw rows."""
    model = load_model(call, artifact)
    return Predictor(model, load_history(call.ws.models / artifact))


def has_files(ws: Workspace, artifact: str) -> bool:
    """Whether the model is kept here, with its signature (which is verified when it is read)."""
    folder = ws.models / artifact
    return (folder / MODEL).is_file() and (folder / SIGNATURE).is_file()


def _verified(signing: Signing, folder: Path) -> Claim | None:
    try:
        return signing.verify(folder, folder.name)
    except ArtifactRefused:
        return None


def _holds(claim: Claim, encoders: Mapping[str, bytes]) -> bool:
    """Whether just these files of encoders are among those that were signed."""
    signed = {name: sha256 for name, sha256 in claim.files.items() if is_of_encoders(name)}
    return signed == {name: hashlib.sha256(data).hexdigest() for name, data in encoders.items()}


def _move_away(path: Path, to: Path) -> None:
    """In one step, so that who reads it meanwhile misses it for a moment only."""
    with contextlib.suppress(FileNotFoundError):
        path.rename(to)
