"""A registered model with what its run recorded, verified before anything is read from it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from abi.data.scratch import scratch_folder
from abi.documents import read_document
from abi.errors import UsageError, listed
from abi.families.family import MODEL, Model
from abi.families.stored import HISTORY, Predictor, load_predictor
from abi.outcomes import Conditions, Evaluation, Trained
from tasks import model_registry
from tasks.model_registry import ALIASES
from tasks.models import has_files, load_model

if TYPE_CHECKING:
    from tasks.records import Recorded
    from tasks.stage import Call
    from tasks.tracking import Tracking

SCHEME = "models:/"


@dataclass(frozen=True)
class Registered:
    """A version, its model with what it takes along, and the values that decisions about it rest on."""

    recorded: Recorded
    predictor: Predictor
    evaluation: Evaluation
    control: Trained | None
    conditions: Conditions | None

    @property
    def model(self) -> Model:
        """The model itself."""
        return self.predictor.model

    @property
    def beside(self) -> dict[str, bytes]:
        """Files that go with the model's own."""
        known = self.predictor.history
        return {} if known is None else {HISTORY: known.canonical()}

    def uniform(self, call: Call) -> Model | None:
        """The uniform control of its run, where this workspace keeps it."""
        if self.control is None or not has_files(call.ws, self.control.artifact):
            return None
        return load_model(call, self.control.artifact)


def read_registered(call: Call, reference: str) -> Registered:
    """The version that is meant by NAME, NAME/VERSION, NAME/ALIAS or ``models:/NAME@ALIAS``.

    Raises:
        UsageError: there is no such model or version.
        ArtifactRefused: its files are not what was signed; none of them was read then.
    """
    from tasks.registration import connect

    tracking = connect(call)
    recorded = resolve(call, tracking, reference)
    with scratch_folder(call.ws.root) as place:
        predictor = read_predictor(tracking.fetch(recorded.uri, place / "model"))
    found = {name: read_document(plain) for name, plain in tracking.documents(recorded.run_id).items()}
    evaluation, control, conditions = (found.get(name) for name in ("evaluation", "control", "conditions"))
    if not isinstance(evaluation, Evaluation):
        msg = f"Expected the evaluation of {recorded.uri} among what its run recorded, got {listed(sorted(found)) or 'nothing'}: train it again with `abi run`."
        raise UsageError(msg)
    return Registered(
        recorded,
        predictor,
        evaluation,
        control if isinstance(control, Trained) else None,
        conditions if isinstance(conditions, Conditions) else None,
    )


def resolve(call: Call, tracking: Tracking, reference: str) -> Recorded:
    """Which version a reference means; a bare name means the champion, or the newest version where there is none.

    Raises:
        UsageError: there is none.
    """
    from tasks.decisions import open_ledger

    models = tracking.models()
    name, which = parted(reference, models)
    if name not in models:
        msg = f"Expected a registered model, as NAME, NAME/VERSION or NAME/ALIAS, or a file that exists, got {reference!r}: `abi leaderboard` lists the models of this workspace."
        raise UsageError(msg)
    if which.isdecimal():
        return tracking.version(name, version=int(which))
    ledger = open_ledger(call)
    if ledger.begun() and name in ledger.models():
        known = {alias: number for alias in ALIASES if (number := getattr(ledger.aliases(name), alias)) is not None}
    else:  # another workspace's: its ledger's decisions are what MLflow says
        known = {alias: int(number) for alias, number in tracking.aliases(name).items()}
    if which:
        if which not in known:
            have = listed(sorted(known)) or "none"
            msg = f"Expected a version number or an alias that {name!r} has ({have}), got {which!r}: `abi leaderboard` lists the versions of this workspace's models."
            raise UsageError(msg)
        return tracking.version(name, version=known[which])
    there = [v.number for v in model_registry.versions(tracking, name) if not v.quarantined]
    if "champion" not in known and not there:
        msg = f"Expected a version of {name!r} that may be used, got none: train one with `abi run`."
        raise UsageError(msg)
    return tracking.version(name, version=known.get("champion") or there[-1])


def parted(reference: str, models: Collection[str]) -> tuple[str, str]:
    """The model's name, and the version or alias, empty where none is named, of a reference as `resolve` takes it.

    Args:
        reference: NAME, NAME/VERSION, NAME/ALIAS or NAME@ALIAS, also after ``models:/``.
        models: those that are there: a name may hold an @.
    """
    bare = reference.removeprefix(SCHEME)
    for mark in ("/", "@"):
        name, found, which = bare.rpartition(mark)
        if bare not in models and found and name and which:
            return name, which
    return bare, ""


def read_predictor(folder: Path) -> Predictor:
    """The model inside a verified MLflow model folder, read by the code of this process."""
    (description,) = (folder / "artifacts").glob(f"*/{MODEL}")
    return load_predictor(description.parent)
