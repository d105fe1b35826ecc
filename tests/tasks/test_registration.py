"""Versions between MLflow and the ledger, both real: two ledgers in one MLflow, versions that are refused or were deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import abi
import tasks.mlflow_runs as module
from abi.audit.entry import Draft
from abi.config import load_config
from abi.documents import document
from abi.errors import ArtifactRefused, UsageError
from abi.outcomes import Evaluation
from abi.problem import Checks
from abi.types import Estimate
from tasks.decisions import open_ledger
from tasks.mlflow_runs import LEDGER, OPERATION, STATE
from tasks.model_registry import versions
from tasks.promotion import promote, promoted, rollback
from tasks.records import Dataset, Record
from tasks.registration import connect, enter, reconcile, register, registered
from tasks.stage import Call
from tasks.tracking import REASON
from tasks.workspace import Workspace
from tests.tasks.conftest import QUICK

MakeRecord = Callable[..., Record]


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    """What a registration reads of a run: its evaluation and checks, as documents."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.normal(size=90)})
    found = abi.AttentionBalancedClassifier(family="trees", rounds=1, n_jobs=1, settings=QUICK)
    trained = found.fit(frame, np.where(frame["size"] > 0, "yes", "no")).trained_
    evaluation = Evaluation(
        trained=trained, rows=40, primary="roc_auc", metrics={"roc_auc": Estimate(value=0.8, low=0.7, high=0.9)},
        controls=(), slices=(), calibration=None, latency_s=1e-3, trials=1,
    )  # fmt: skip
    checks = Checks(problem=trained.plan.attention.scores.problem, suite_sha256="", results=())
    return {"checks": checks, "evaluation": evaluation}


@pytest.fixture
def record(tmp_path: Path, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> MakeRecord:
    """Makes a small record of an operation, with a small package in the place of abi."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    package, model = tmp_path / "code" / "abi", tmp_path / "model"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    model.mkdir()
    (model / "model.json").write_text(json.dumps({"factor": 2}))
    monkeypatch.setattr(module, "abi", SimpleNamespace(__file__=str(package / "__init__.py")))

    def make(operation: str) -> Record:
        return Record(
            operation_id=operation,
            name="shop",
            run_name="run",
            dataset=Dataset(snapshot=values["checks"].problem.snapshot, name="shop", target="y"),
            model_dir=model,
            example=pd.DataFrame({"size": [1.0, 2.0]}),
            output=pd.DataFrame({"prediction": ["yes", "no"]}),
            requirements=["pandas"],
            documents={f"values/{name}.json": document(value) for name, value in values.items()},
        )

    return make


@pytest.fixture
def call(tmp_path: Path) -> Call:
    return Call.of(Workspace.open(tmp_path / "one"), "shop", load_config(ambient=False))


@pytest.fixture
def other(tmp_path: Path, call: Call) -> Call:
    """Another workspace, with a ledger and keys of its own, on the same MLflow."""
    config = load_config(None, {"tracking.uri": connect(call).uri}, ambient=False)
    return Call.of(Workspace.open(tmp_path / "two"), "shop", config)


def make_champion(call: Call, version: int) -> None:
    draft = Draft(kind="promotion", model="shop", detail={"version": version, "reason": None})
    open_ledger(call).change(draft, lambda now: promoted(now, version))
    reconcile(call, connect(call), "shop")


def aliases(call: Call) -> dict[str, int]:
    return {name: int(number) for name, number in connect(call).aliases("shop").items()}


def states(call: Call) -> dict[int, str | None]:
    return {version.number: version.tags.get(STATE) for version in versions(connect(call), "shop")}


@pytest.mark.parametrize("tagged", [True, False])
def test_another_ledger_in_the_same_mlflow_leaves_versions_and_aliases_alone(
    call: Call, other: Call, record: MakeRecord, capsys: pytest.CaptureFixture[str], tagged: bool
) -> None:
    """Also those that an earlier release left without a ledger's tag."""
    register(call, record("a"))
    make_champion(call, 1)
    tracking = connect(call)
    if not tagged:
        tracking.client.delete_model_version_tag("shop", "1", LEDGER)
    register(other, record("b"))
    done = reconcile(other, connect(other), "shop")
    assert {verb for verb, numbers in done.items() if numbers} == (set() if tagged else {"left"})
    assert states(call) == {1: None, 2: None}
    assert aliases(call) == {"champion": 1}
    assert open_ledger(other).last("quarantine", "shop") is None
    told = " ".join(capsys.readouterr().err.split())
    assert "aliases of 'shop' in MLflow are another ledger's (champion on version 1) and stay as they are" in told
    for version in (None, 1):
        with pytest.raises(UsageError, match=r"got champion on version 1 of another one: promote with that ledger"):
            promote(other, version)
    register(other, record("c"))
    for version in (2, 3):  # so that there is one to go back to
        make_champion(other, version)
    assert aliases(call) == {"champion": 1}
    with pytest.raises(UsageError, match=r"this workspace's ledger, got champion on version 1 of another one"):
        rollback(other, "worse")
    reconcile(call, tracking, "shop")
    assert aliases(call) == {"champion": 1}
    assert [e.detail["version"] for e in open_ledger(call).entries(kinds=("registration",))] == [1]


def test_what_another_ledger_has_begun_is_not_ended(call: Call, other: Call, record: MakeRecord) -> None:
    tracking = connect(call)
    open_ledger(call)
    tags = {OPERATION: "a", module.MODEL: "shop"}
    begun = tracking.client.create_run(tracking.experiment_id, tags={**tags, LEDGER: open_ledger(call).id}).info.run_id
    register(other, record("a"))
    reconcile(other, connect(other), "shop")
    assert tracking.client.get_run(begun).info.status == "RUNNING"
    reconcile(call, tracking, "shop")
    ended = tracking.client.get_run(begun)
    assert (ended.info.status, ended.data.tags[REASON]) == ("FAILED", "it stopped before its model was registered")


def test_the_same_operation_of_two_ledgers_is_a_version_of_each(call: Call, other: Call, record: MakeRecord) -> None:
    first, second = register(call, record("same")), register(other, record("same"))
    assert (first.version, second.version) == (1, 2)
    assert register(call, record("same")) == first
    assert register(other, record("same")) == second
    assert [open_ledger(one).last("registration", "shop").detail["version"] for one in (call, other)] == [1, 2]  # type: ignore[union-attr]


def test_a_version_of_this_ledger_with_another_key_is_in_quarantine(call: Call, record: MakeRecord) -> None:
    connect(call).record(replace(record("a"), tags={LEDGER: open_ledger(call).id}))
    for key in ("model.pem", "model.pub.pem"):
        (call.ws.keys / key).unlink()
    connect(call).signing.rotate()
    with pytest.raises(ArtifactRefused, match="by a trusted key"):
        register(call, record("a"))
    assert states(call) == {1: "quarantined"}


def damage(call: Call, version: int) -> None:
    """Change a stored file of a version."""
    client = connect(call).client
    folder = Path(str(client.get_model_version_download_uri("shop", str(version))).removeprefix("file://"))
    (folder / "artifacts" / "model" / "model.json").write_text("{}")


def test_what_is_in_quarantine_is_trained_again_as_a_new_version(call: Call, record: MakeRecord) -> None:
    tracking, ledger = connect(call), open_ledger(call)
    tracking.record(replace(record("a"), tags={LEDGER: ledger.id}))
    damage(call, 1)
    with pytest.raises(ArtifactRefused, match="as signed, got other content"):
        register(call, record("a"))
    with pytest.raises(UsageError, match="which is in quarantine: train it again with `abi run`"):
        promote(call, 1)
    (refused,) = versions(tracking, "shop")
    with pytest.raises(ArtifactRefused, match="which is in quarantine"):
        enter(call, tracking, refused)
    assert ledger.aliases("shop").challenger is None
    assert register(call, record("a")).version == 2
    assert register(call, record("a")).version == 2
    assert (states(call), aliases(call)) == ({1: "quarantined", 2: None}, {"challenger": 2})
    reconcile(call, tracking, "shop")
    assert states(call) == {1: "quarantined", 2: None}


def test_a_version_that_was_deleted_in_mlflow_is_followed_by_one_that_can_be_promoted(
    call: Call, record: MakeRecord
) -> None:
    tracking, ledger = connect(call), open_ledger(call)
    register(call, record("a"))
    assert registered(call, "a") == ledger.last("registration", "shop")
    assert registered(call, "b") is None
    tracking.client.delete_model_version("shop", "1")
    assert registered(call, "a") is None
    assert register(call, record("a")).version == 2
    assert register(call, record("a")).version == 2
    entries = list(ledger.entries(kinds=("registration",), model="shop"))
    assert [entry.detail["version"] for entry in entries] == [1, 2]
    assert registered(call, "a") == entries[1]
    assert (ledger.aliases("shop").challenger, aliases(call)) == (2, {"challenger": 2})
    gates = ("champion", "signal", "uniform", "baseline", "slices", "calibration", "movement")
    off = {**dict.fromkeys(f"gates.{gate}" for gate in gates), "gates.signal": False, "gates.loads": False}
    made = promote(replace(call, config=load_config(None, off, ambient=False).model_dump_json()), 2)
    assert (made.entry is not None, aliases(call)) == (True, {"champion": 2})
    assert reconcile(call, tracking, "shop") == {"entered": [], "removed": [], "quarantined": [], "left": []}


def test_the_way_back_passes_over_champions_that_were_deleted_in_mlflow(
    call: Call, record: MakeRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    tracking = connect(call)
    for number, operation in enumerate("abcd", 1):
        register(call, record(operation))
        make_champion(call, number)
    for deleted in (2, 3):
        tracking.client.delete_model_version("shop", str(deleted))
    entry = rollback(call, "worse")
    assert (entry.detail["version"], entry.detail["rolled_back"], entry.detail["passed_over"]) == (1, 4, [3, 2])
    assert "version 3, 2 of 'shop', champion before, is not in MLflow any more" in " ".join(
        capsys.readouterr().err.split()
    )
    assert aliases(call) == {"champion": 1}
    assert open_ledger(call).aliases("shop").previous is None
    make_champion(call, 4)
    tracking.client.delete_model_version("shop", "1")
    with pytest.raises(UsageError, match=r"that MLflow still has, got only version 1, deleted there: promote another"):
        rollback(call, "worse")


def test_a_finished_run_is_believed_to_be_there_where_mlflow_does_not_answer(
    call: Call, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(call, record("a"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    gone = load_config(None, {"tracking.uri": "http://127.0.0.1:9"}, ambient=False)
    assert registered(replace(call, config=gone.model_dump_json()), "a") == open_ledger(call).find("registration:a")


def test_a_sound_version_beside_a_damaged_one_of_its_operation_stays(call: Call, record: MakeRecord) -> None:
    tracking, ledger = connect(call), open_ledger(call)
    for number in (1, 2):  # the second by somebody who did not see the first
        tracking.record(replace(record("a"), tags={LEDGER: ledger.id if number == 1 else "another"}))
    tracking.client.set_model_version_tag("shop", "2", LEDGER, ledger.id)
    damage(call, 1)
    assert reconcile(call, tracking, "shop") == {"entered": [2], "removed": [], "quarantined": [1], "left": []}
    assert aliases(call) == {"challenger": 2}
