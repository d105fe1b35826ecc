"""The door to MLflow: one run with nested rounds, and one model version, for each operation.

An operation id names what is to be recorded. Whatever crashes, is retried or is asked twice: there is at most one model
version for it, registered after everything else has been stored.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from abi.audit.model_files import copy_files
from abi.data.scratch import scratch_folder
from abi.errors import ArtifactRefused, TrackingError, UsageError, clip, listed
from abi.operations import SigningConfig
from abi.sections import masked
from tasks.mlflow_answers import answering, environment
from tasks.mlflow_runs import BARE, LEDGER, MODEL, OPERATION, QUARANTINED, STATE, RunStore, may_be_of
from tasks.records import VALUE_LENGTH, Record, Recorded, RunRecord
from tasks.signing import TRUSTED, Signing
from tasks.workspace import Workspace, disk_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.pyfunc import PyFuncModel

    from abi.config import TrackingConfig

REASON = "abi.reason"
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
RETRIES, TIMEOUT_S = "2", "30"  # MLflow's own defaults wait for minutes when nobody answers
WORKSPACE_KEYS = SigningConfig()
LARGEST = 2**31 - 1  # what MLflow's databases hold
MISSING = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


@dataclass(frozen=True)
class Tracking:
    """MLflow, at `uri`; experiment and client are ready."""

    ws: Workspace
    uri: str
    client: MlflowClient
    experiment_id: str
    signing: Signing

    @classmethod
    def open(cls, ws: Workspace, config: TrackingConfig, signing: SigningConfig = WORKSPACE_KEYS) -> Tracking:
        """Connect: to `config.uri`, to ``MLFLOW_TRACKING_URI``, or to an SQLite file in the workspace.

        Raises:
            TrackingError: MLflow does not answer, or refuses.
        """
        embedded = f"sqlite:///{ws.mlflow_db}"
        uri = config.uri or os.environ.get("MLFLOW_TRACKING_URI") or embedded
        with answering(uri), ws.alone("mlflow"):  # two first uses of one SQLite file at a time break its schema
            prepare()
            import mlflow

            if uri == embedded and not ws.mlflow_db.exists():
                _create_database(ws)
            with environment(
                {"MLFLOW_TRACKING_URI": uri}
            ):  # MLflow leaves it there, where another workspace would find it
                mlflow.set_tracking_uri(uri)
            client = mlflow.MlflowClient(tracking_uri=uri)
            place = ws.mlartifacts.as_uri() if uri == embedded else None
            return cls(ws, uri, client, _experiment(client, config.experiment, place), Signing(ws, signing))

    @property
    def place(self) -> str:
        """The URI without its password."""
        return masked(self.uri)

    def find(self, operation_id: str, ledger: str | None = None) -> Recorded | None:
        """The record of that operation, or None where none was completed, or all are in quarantine.

        Args:
            operation_id: names the operation.
            ledger: passes over what other ledgers recorded; None takes any.
        """
        with answering(self.uri):
            versions = self._versions(operation_id, ledger)
        if not versions:
            return None
        first = versions[0]
        return Recorded(
            run_id=str(first.run_id),
            name=first.name,
            version=int(first.version),
            uri=f"models:/{first.name}/{first.version}",
        )

    def _versions(self, operation_id: str, ledger: str | None) -> list[ModelVersion]:
        """The versions of an operation that are not in quarantine, the lowest first."""
        found = self.client.search_model_versions(f"tags.`{OPERATION}` = '{operation_id}'")
        usable = [v for v in found if v.tags.get(STATE) != QUARANTINED and may_be_of(ledger, v.tags)]
        return sorted(usable, key=lambda version: int(version.version))

    def record(self, record: Record) -> Recorded:
        """Store everything, then register the model; an operation that has a version already is answered with that.

        Raises:
            TrackingError: MLflow does not answer, or refuses; nothing is registered then.
        """
        ledger = record.tags.get(LEDGER)
        found = self.find(record.operation_id, ledger)
        if found is not None:
            with answering(self.uri):
                run = self.client.get_run(found.run_id)
                if run.info.status != "FINISHED":  # it crashed after registering
                    self.client.set_terminated(found.run_id)
                if REASON in run.data.tags:
                    self.client.delete_tag(found.run_id, REASON)
            return found
        self.fail(record.operation_id, "replaced: it stopped before its model was registered", ledger)
        try:
            with answering(self.uri):
                store = RunStore(self.ws, self.client, self.experiment_id, self.signing)
                begun = self._without_model(record.operation_id, ledger)
                run_id = store.run(record) if begun is None else store.more(begun, record)
                model_id = store.model(record, run_id)
                recorded = self._register(record, run_id, model_id)
                self.client.set_terminated(run_id)
                if begun is not None:
                    self.client.delete_tag(begun, BARE)
            self.fail(record.operation_id, "replaced: the reply that named it was lost", ledger)
        except BaseException as error:
            with contextlib.suppress(Exception):
                self.fail(record.operation_id, clip(str(error) or type(error).__name__, VALUE_LENGTH), ledger)
            raise
        return recorded

    def _without_model(self, operation_id: str, ledger: str | None) -> str | None:
        """The finished run of an operation that was recorded without a model: the model is added to it."""
        query = f"tags.`{OPERATION}` = '{operation_id}' and tags.`{BARE}` = 'true' and attributes.status = 'FINISHED'"
        runs = self.client.search_runs([self.experiment_id], query)
        return next((str(run.info.run_id) for run in runs if may_be_of(ledger, run.data.tags)), None)

    def record_run(self, record: RunRecord) -> str:
        """Store a run without a model; an operation that has a finished one already is answered with that. Gives its id.

        Where `record` is asked for its model later, that becomes part of the same run.

        Raises:
            TrackingError: MLflow does not answer, or refuses.
        """
        query = f"tags.`{OPERATION}` = '{record.operation_id}' and attributes.status = 'FINISHED'"
        with answering(self.uri):
            for run in self.client.search_runs([self.experiment_id], query):
                if may_be_of(record.tags.get(LEDGER), run.data.tags):
                    return str(run.info.run_id)
        self.fail(record.operation_id, "replaced: it stopped before everything was stored", record.tags.get(LEDGER))
        bare = replace(record, tags={**record.tags, BARE: "true"})
        with answering(self.uri):
            run_id = RunStore(self.ws, self.client, self.experiment_id, self.signing).run(bare)
            self.client.set_terminated(run_id)
        return run_id

    def fail(self, operation_id: str, reason: str, ledger: str | None = None) -> None:
        """Mark the open runs of an operation, and the rounds in them, as failed; `ledger` passes over those of others."""
        with answering(self.uri):
            for run in self.client.search_runs([self.experiment_id], f"tags.`{OPERATION}` = '{operation_id}'"):
                if run.info.status == "RUNNING" and may_be_of(ledger, run.data.tags):
                    children = self.client.search_runs(
                        [self.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
                    )
                    for child in children:
                        if child.info.status == "RUNNING":
                            self.client.set_terminated(child.info.run_id, "FAILED")
                    self._fail_models(run.info.run_id)
                    self.client.set_tag(run.info.run_id, REASON, reason)
                    self.client.set_terminated(run.info.run_id, "FAILED")

    def _fail_models(self, run_id: str) -> None:
        """Say of models that a run had begun to log that they did not come whole."""
        from mlflow.entities import LoggedModelStatus

        for logged in self.client.search_logged_models([self.experiment_id], f"source_run_id = '{run_id}'"):
            if logged.status == LoggedModelStatus.PENDING:
                self.client.finalize_logged_model(logged.model_id, LoggedModelStatus.FAILED)

    def open_operations(self, model: str, ledger: str | None = None) -> list[str]:
        """Operations of a model whose run is neither finished nor failed; `ledger` passes over those of others."""
        with answering(self.uri):
            query = f"attributes.status = 'RUNNING' and tags.`{MODEL}` = '{model}'"
            found = every(functools.partial(self.client.search_runs, [self.experiment_id], query))
            return [run.data.tags[OPERATION] for run in found if may_be_of(ledger, run.data.tags)]

    def attach(self, run_id: str, path: Path) -> None:
        """Put a file beside what the run recorded, in place of one of that name."""
        with answering(self.uri):
            self.client.log_artifact(run_id, str(path))

    def document(self, run_id: str, name: str) -> Any:
        """A JSON file that a run recorded.

        Raises:
            TrackingError: there is none.
            ArtifactRefused: it is no JSON any more.
        """
        with answering(self.uri), tempfile.TemporaryDirectory() as folder:
            found = _plain(self._file(run_id, name, folder))
        if found is None:
            msg = f"Expected {name} of run {run_id} as it was recorded, got a damaged file: restore MLflow's artifacts, or train it again."
            raise ArtifactRefused(msg)
        return found

    def _file(self, run_id: str, name: str, folder: str) -> Path:
        """Download one file of a run. MLflow says of one that did not come whole that it is not there: so look."""
        from mlflow.exceptions import MlflowException

        try:
            return Path(self.client.download_artifacts(run_id, name, folder))
        except MlflowException as error:
            there = self.client.list_artifacts(run_id, str(Path(name).parent) if "/" in name else None)
            if name not in {file.path for file in there}:
                msg = f"Expected {name} among what run {run_id} recorded in MLflow at {self.place}, got none: restore MLflow's artifacts, or train again with `abi run`."
                raise TrackingError(msg) from error
            msg = f"Expected MLflow at {self.place} to send {name} of run {run_id} whole, got less: see that its artifact store answers, then run again."
            raise TrackingError(msg, transient=True) from error

    def run_of(self, name: str, version: int) -> str | None:
        """The run that a registered version came from; None where there is no such version."""
        from mlflow.exceptions import MlflowException

        with answering(self.uri):
            try:
                return str(self.client.get_model_version(name, str(version)).run_id)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise

    def recorded(self, beginning: str) -> list[Recorded]:
        """The registered versions whose run id begins so, one for each run."""
        with answering(self.uri):
            found = [v for v in every(self.client.search_model_versions) if str(v.run_id).startswith(beginning)]
        runs = {str(v.run_id): v for v in sorted(found, key=lambda v: -int(v.version))}
        return [
            Recorded(run_id=run_id, name=v.name, version=int(v.version), uri=f"models:/{v.name}/{v.version}")
            for run_id, v in runs.items()
        ]

    def documents(self, run_id: str) -> dict[str, object]:
        """The values that a run recorded, by name, as the JSON documents that they are."""
        with answering(self.uri), tempfile.TemporaryDirectory() as folder:
            paths = [f.path for f in self.client.list_artifacts(run_id, "values")]
            held = [self._file(run_id, path, folder) for path in paths]
            return {path.stem: _plain(path) for path in held}

    def load(self, uri: str) -> PyFuncModel:
        """The verified model at ``models:/NAME/VERSION``, ready to predict. The code of this process is used.

        Raises:
            ArtifactRefused: its files are not what was signed; none of them was deserialised then.
            TrackingError: MLflow does not answer, or knows no such model.
        """
        path = list(sys.path)
        try:
            with tempfile.TemporaryDirectory(prefix="abi-model-") as private, answering(self.uri):
                import mlflow

                folder, keys = self.fetch(uri, Path(private) / "model"), Path(private) / "trusted.pem"
                keys.write_bytes(b"".join(self.signing.trusted().values()))
                # where the weights' own signature is asked for too, ask with every trusted key
                with environment({TRUSTED: str(keys)} if TRUSTED in os.environ else {}):
                    return mlflow.pyfunc.load_model(str(folder))
        finally:
            sys.path[:] = path  # MLflow puts the stored code first, for good

    def fetch(self, uri: str, folder: Path, operation_id: str | None = None) -> Path:
        """Copy the model at ``models:/NAME/VERSION`` to a folder that is empty or not there yet, and verify the copy.

        Args:
            uri: also ``models:/NAME@ALIAS`` and ``models:/MODEL_ID``.
            folder: a private place: who else can write there could change files after they were verified.
            operation_id: the operation that the files must have been signed for; what the version's tag says where None.

        Raises:
            ArtifactRefused: its files are not what was signed; nothing is left in the folder then.
            TrackingError: MLflow does not answer, or knows no such model.
        """
        with answering(self.uri):
            location, tagged = self._source(uri)
            try:
                with disk_errors(folder):
                    self._download(location, folder)
                self.signing.verify(folder, operation_id or tagged)
            except ArtifactRefused as error:
                shutil.rmtree(folder, ignore_errors=True)
                msg = f"Expected {uri} as it was recorded, got files that are refused. {error}".replace(
                    f" in {folder}", ""
                )
                raise ArtifactRefused(msg, untrusted=error.untrusted) from None
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        return folder

    def version(self, name: str, *, version: int | None = None, alias: str = "champion") -> Recorded:
        """The registered version of that number, or the one that the alias stands for.

        Raises:
            TrackingError: MLflow does not answer.
            UsageError: there is none.
        """
        found = self._version(name, version, alias)
        if found is None:
            known = self.models()
            if name not in known:
                msg = f"Expected a registered model at {self.place}, got {name!r}: {f'choose among {listed(known)}, or ' if known else ''}train one with `abi run`."
                raise UsageError(msg)
            what = f"version {version}" if version is not None else f"alias {alias!r}"
            msg = f"Expected a registered model {name!r} with {what} at {self.place}, found none: `abi leaderboard` lists its versions, `abi promote` makes a champion."
            raise UsageError(msg)
        number = int(found.version)
        return Recorded(run_id=str(found.run_id), name=name, version=number, uri=f"models:/{name}/{number}")

    def _version(self, name: str, version: int | None, alias: str) -> ModelVersion | None:
        from mlflow.exceptions import MlflowException

        with answering(self.uri):
            try:
                if version is None:
                    return self.client.get_model_version_by_alias(name, alias)
                return None if version > LARGEST else self.client.get_model_version(name, str(version))
            except MlflowException as error:
                if error.error_code in MISSING:
                    return None
                raise

    def aliases(self, name: str) -> dict[str, str]:
        """What a registered model's aliases stand for in MLflow.

        Raises:
            TrackingError: there is no such model.
        """
        from mlflow.exceptions import MlflowException

        with answering(self.uri):
            try:
                return dict(self.client.get_registered_model(name).aliases)
            except MlflowException as error:
                if error.error_code not in MISSING:
                    raise
                msg = f"Expected the registered model {name!r}, whose versions the ledger records, at {self.place}, found none: restore MLflow's database from a backup, or name where it is with tracking.uri."
                raise TrackingError(msg) from None

    def models(self) -> list[str]:
        """Names of the registered models."""
        with answering(self.uri):
            return sorted(model.name for model in every(self.client.search_registered_models))

    def _source(self, uri: str) -> tuple[str, str | None]:
        """Where the files of a model lie, and the operation that they are tagged with."""
        from mlflow.store.artifact.utils.models import get_model_name_and_version

        found = get_model_name_and_version(self.client, uri)
        tagged = None
        if len(found) > 1:
            version = self.client.get_model_version(found[0], found[1])
            tagged = version.tags.get(OPERATION)
            location = str(self.client.get_model_version_download_uri(found[0], found[1]))
            if not location.startswith("models:/"):
                return location, tagged
            found = get_model_name_and_version(self.client, location)
        logged = self.client.get_logged_model(found[0])
        return str(logged.artifact_location), tagged or logged.tags.get(OPERATION)

    def _download(self, location: str, folder: Path) -> None:
        """Copy files from a store; of a folder on this machine regular files alone, by their own names."""
        if urlparse(location).scheme in {"", "file"}:
            from mlflow.utils.file_utils import local_file_uri_to_path

            copy_files(Path(local_file_uri_to_path(location)), folder)
        else:
            import mlflow

            folder.parent.mkdir(parents=True, exist_ok=True)
            with scratch_folder(folder.parent) as stage:
                place = str(stage)
                got = mlflow.artifacts.download_artifacts(artifact_uri=location, dst_path=place, tracking_uri=self.uri)
                Path(got).rename(folder)

    def _register(self, record: Record, run_id: str, model_id: str) -> Recorded:
        from mlflow.exceptions import MlflowException

        with contextlib.suppress(MlflowException):  # it is there already; if it is not, the next call says why
            self.client.create_registered_model(record.name)
        try:
            with environment({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}):  # a retried POST makes a second version
                self.client.create_model_version(
                    record.name,
                    source=f"models:/{model_id}",
                    run_id=run_id,
                    model_id=model_id,
                    tags={**record.tags, OPERATION: record.operation_id},
                    description=record.description or None,
                )
        except MlflowException:
            if self.find(record.operation_id, record.tags.get(LEDGER)) is None:  # else the reply alone was lost
                raise
        return self._only(record.operation_id, record.tags.get(LEDGER))

    def _only(self, operation_id: str, ledger: str | None) -> Recorded:
        """The lowest version of an operation; those of others that registered at the same moment go."""
        for late in self._versions(operation_id, ledger)[1:]:
            self.client.delete_model_version(late.name, late.version)
        found = self.find(operation_id, ledger)
        assert found is not None, operation_id
        return found


def every(search: Callable[..., Any]) -> Iterator[Any]:
    """All that a search of MLflow's finds, page by page."""
    token = None
    while True:
        page = search(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def prepare() -> None:
    """Import MLflow with its settings, and its log quiet."""
    os.environ.update(ENVIRONMENT)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", TIMEOUT_S)
    import mlflow.pyfunc

    assert mlflow.pyfunc
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they log as an error they raise as well


def _create_database(ws: Workspace) -> None:
    """Move MLflow's empty database in place in one step."""
    ws.write(ws.mlflow_db, empty_database())


@functools.cache
def empty_database() -> bytes:
    """What MLflow's hundred migrations make of nothing, run in memory, where syncing is free."""
    import mlflow

    memory = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        new = Path(folder) / "mlflow.db"
        mlflow.MlflowClient(tracking_uri=f"sqlite:///{new}").search_experiments(max_results=1)
        return new.read_bytes()


def _experiment(client: MlflowClient, name: str, place: str | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was first
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        msg = f"Expected an active MLflow experiment {name!r}, got a deleted one: restore it (`mlflow experiments restore -x {found.experiment_id}`) or set tracking.experiment."
        raise TrackingError(msg)
    return str(found.experiment_id)


def _plain(path: Path) -> object:
    """The JSON in a file; None where there is none."""
    try:
        plain: object = json.loads(path.read_bytes())
    except ValueError:
        return None
    return plain
