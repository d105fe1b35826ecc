"""What the deployed flows decide and leave in the ledger; their stages run as plain functions, without a server."""

from __future__ import annotations

import datetime
import json
from datetime import UTC, timedelta

import pytest

import flows.deployed as module
from abi.audit.entry import Draft
from abi.config import load_config
from abi.errors import PlanInfeasible, WorkspaceError
from abi.monitoring.triggers import FAILURES
from flows.retrain import retrain
from tasks import deployed_run
from tasks.decisions import open_ledger
from tasks.orchestration import in_process
from tasks.preflight import pose_problem
from tasks.promotion import promoted
from tasks.scheduling import Operation, Start, next_and_missed
from tasks.stage import Call, Clock
from tasks.workspace import Workspace

pytestmark = pytest.mark.slow

NOW = (datetime.datetime.now(UTC) + timedelta(days=1)).replace(hour=12, minute=0, second=20)
"""Tomorrow, so that what the tests enter lies before it."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """One for all tests, whose models have names of their own: a training of the same data is made once."""
    return tmp_path_factory.mktemp("deployed") / "ws"


@pytest.fixture
def model(request):
    return request.node.name


@pytest.fixture
def parameters(data, workspace, model, quick):
    """Those of a deployment, with settings that keep a training short."""
    settings = {key: json.loads(text) for key, text in (word.split("=") for word in quick[1::2])}
    short = {"iterate.rounds": 1, "training.family": "network", "schedule.promote": "never"}
    return {
        "data": str(data),
        "target": "label",
        "name": model,
        "workspace": str(workspace),
        "settings": settings | short,
    }


@pytest.mark.parametrize(("file", "expected"), [("train.csv", "shop"), ("sales.csv.gz", "sales")])
def test_a_model_without_a_name_has_the_one_that_abi_run_gives_it(tmp_path, file, expected):
    job = module.Job(
        data=str(tmp_path / "shop" / file), target="label", test=None, name=None,
        workspace=str(tmp_path / "ws"), config=None, settings=None,
    )  # fmt: skip
    assert job.call().name == expected


def test_without_a_folder_the_workspace_is_the_environment_s(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = module.Job(data="shop.csv", target="label", test=None, name=None, workspace=None, config=None, settings=None)
    monkeypatch.setenv("ABI_WORKSPACE", str(tmp_path / "elsewhere"))
    assert job.call().ws.root == tmp_path / "elsewhere"
    monkeypatch.delenv("ABI_WORKSPACE")
    assert job.call().ws.root == tmp_path / ".abi"


@pytest.fixture(autouse=True)
def plain_stages(monkeypatch):
    def stages(call, request):
        return retrain(in_process(call, Clock(), reuse=True), request)

    monkeypatch.setattr(module, "_train_stages", stages)


@pytest.fixture
def look(parameters, monkeypatch):
    """Look at a time, as a flow run that was due then; gives what the run says."""

    def run(now=NOW, flow=module.watch, changes=(), **more):
        settings = parameters["settings"] | dict(changes)
        start = {
            "since": more.pop("since", None),
            "request": more.pop("request", None),
            "force": more.get("force", False),
        }
        monkeypatch.setattr(deployed_run, "start", lambda **_: Start(now=now, expected=now, **start))
        state = flow.fn(**{**parameters, "settings": settings, **more})
        assert state.is_completed()
        return state.message

    return run


@pytest.fixture
def call(parameters, model):
    config = load_config(None, parameters["settings"])
    return Call.of(Workspace.open(parameters["workspace"]), model, config)


@pytest.fixture
def entries(call):
    def read(*kinds):
        return list(open_ledger(call).entries(kinds=kinds, model=call.name))

    return read


def change(data, frame, seed=1):
    frame(seed=seed).to_csv(data, index=False)


def test_trained_once_until_the_data_change(look, entries, frame, data, call):
    said = look()
    assert said.startswith("No run has been made yet; the data are snapshot ")
    assert "Trained version 1." in said
    assert look(now=NOW + timedelta(minutes=15)) == "nothing due"
    assert look(flow=module.retrain_table, request="asked.").startswith(
        "asked. The same data, settings and code gave version 1"
    )
    change(data, frame)
    assert "Trained version 2." in look(now=NOW + timedelta(minutes=30))
    assert look() == "nothing due"
    frame().to_csv(data, index=False)  # the first data are back: their model is there
    assert "gave version 1: nothing to train." in look()
    assert len(entries("registration")) == 2
    fired = [entry for entry in entries("trigger") if "training" in entry.detail]
    assert [entry.detail["triggers"] for entry in fired] == [["new data"], ["new data"]]
    assert [entry.detail["attempt"] for entry in fired] == [1, 1]
    led = [entry.detail["version"] for entry in entries("trigger") if "trained" in entry.detail]
    assert led == [1, 2]
    assert len(entries("trigger")) == 4


def test_a_run_by_hand_counts_as_trained(look, call, parameters, entries):
    from flows.retrain import Request

    retrain(in_process(call, Clock()), Request(call, "label", parameters["data"]))
    assert look() == "nothing due"
    assert look(changes={"seed": 5}, request="asked.").endswith("Trained version 2. Nothing was promoted (schedule.promote is never).")  # fmt: skip
    assert len(entries("registration")) == 2


def test_what_fails_is_tried_again_and_then_left(look, monkeypatch, entries, frame, data):
    def fail(*_):
        raise PlanInfeasible("Expected a smaller network.")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_train_stages", fail)
        for attempt in range(1, FAILURES + 1):
            with pytest.raises(PlanInfeasible):
                look()
            assert entries("trigger")[-1].detail["attempt"] == attempt
        said = look()
        assert f"Training failed {FAILURES} times" in said
        assert "abi schedule --force" in said
        assert len(entries("trigger")) == FAILURES  # a look that leaves it is no news
        with pytest.raises(PlanInfeasible):
            look(force=True)
        assert entries("trigger")[-1].detail["attempt"] == FAILURES + 1
        change(data, frame)
        with pytest.raises(PlanInfeasible):  # other data are another training
            look()
        assert entries("trigger")[-1].detail["attempt"] == 1
    assert "Trained version 1." in look()
    assert look() == "nothing due"


def test_cron_is_answered_once_and_missed_times_are_named_once(look, entries, call):
    hourly = {"schedule.cron": "0 * * * *", "schedule.grace": "90min", "schedule.new_data": False}
    # nothing was looked at before: the only due time since the schedule was made is 12:00
    assert f"Cron was due at {NOW:%Y-%m-%d} 12:00Z. Trained version 1." in look(changes=hourly, since=NOW - timedelta(hours=1))  # fmt: skip
    assert look(changes=hourly) == "nothing due"
    # five hours without a worker: 17:00 is answered now, 16:00 was within the grace, the others nobody kept
    later = NOW + timedelta(hours=5)
    said = look(now=later, changes=hourly)
    assert (
        said
        == f"Cron was due at {NOW:%Y-%m-%d} 17:00Z. The same data, settings and code gave version 1: nothing to train."
    )
    assert look(now=later, changes=hourly) == "nothing due"
    assert [entry.detail["due"] for entry in entries("missed")] == [
        f"{NOW:%Y-%m-%d}T{h}:00:00+00:00" for h in (13, 14, 15)
    ]
    assert [entry.detail.get("due") for entry in entries("trigger")] == [f"{NOW:%Y-%m-%d}T12:00:00+00:00", None, f"{NOW:%Y-%m-%d}T17:00:00+00:00"]  # fmt: skip
    config = load_config(None, {"schedule.cron": "0 * * * *"})
    shown = next_and_missed(call.ws.root, call.name, config)
    assert shown["missed"] == [f"{NOW:%Y-%m-%d}T{h}:00:00+00:00" for h in (15, 14, 13)]
    assert datetime.datetime.fromisoformat(shown["due"]) > datetime.datetime.now(UTC)


def test_one_of_two_at_the_same_moment_trains(look, call, parameters, entries):
    operation = Operation(call, open_ledger(call), pose_problem(call, parameters["data"], None, "label"))
    with open_ledger(call).lease(f"retrain:{operation.id}") as held:
        assert held
        assert look() == "Another run trains these data, settings and code now: nothing to do."
    assert entries("registration") == []
    assert entries("trigger") == []
    assert "Trained version 1." in look()


def test_a_busy_workspace_is_no_failed_training(look, call, entries):
    with call.ws.lock(), pytest.raises(WorkspaceError, match="to be free"):
        look()
    assert entries("trigger") == []


def test_what_was_trained_and_not_judged_is_judged_by_the_next_look(look, entries, monkeypatch):
    gates = {"schedule.promote": "gates", "gates.uniform": None, "gates.baseline": None, "gates.calibration": None, "gates.slices": None, "gates.loads": False}  # fmt: skip

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "promote_with_gates", killed)
        with pytest.raises(KeyboardInterrupt):
            look(changes=gates)
    assert entries("gates") == []
    assert look(changes=gates) == "nothing due; Version 1 is champion."
    assert look(changes=gates) == "nothing due"
    assert len(entries("gates")) == len(entries("promotion")) == 1


def test_failed_gates_are_an_answer(look, entries, call):
    said = look(changes={"schedule.promote": "gates", "gates.latency": "1us"})
    assert "Not promoted: Expected version 1 of " in said
    assert "latency" in said
    assert look(changes={"schedule.promote": "gates", "gates.latency": "1us"}) == "nothing due"
    assert len(entries("gates")) == 1
    assert open_ledger(call).aliases(call.name).champion is None


def test_an_old_model_is_due_only_where_training_would_change_it(look, frame, data):
    aged = {"schedule.age": "7d", "schedule.new_data": False}
    assert "Trained version 1." in look(request="asked.")
    later = datetime.datetime.now(UTC) + timedelta(days=8)
    assert look(now=later, changes=aged) == "The model is 8 d old, past 7 d. The same data, settings and code gave version 1: nothing to train."  # fmt: skip
    change(data, frame)
    assert "The model is 8 d old, past 7 d. Trained version 2." in look(now=later, changes=aged)


def test_data_that_drifted_make_a_training_due_by_themselves(look, call, entries, frame, data):
    """Nobody runs ``abi monitor``, and new data alone count for nothing."""
    only_drift = {"schedule.new_data": False}
    look()
    open_ledger(call).change(
        Draft(kind="promotion", model=call.name, detail={"version": 1}), lambda now: promoted(now, 1)
    )
    again = frame(seed=7)
    again.to_csv(data, index=False)  # other rows of the same kind
    assert look(now=NOW + timedelta(minutes=15), changes=only_drift) == "nothing due"
    assert [entry.detail["alarm"] for entry in entries("drift")] == [False]
    again["size"] += 3
    again.to_csv(data, index=False)
    said = look(now=NOW + timedelta(minutes=30), changes=only_drift)
    assert "drift" in said.lower()
    assert "Trained version 2." in said
    assert entries("trigger")[-2].detail["triggers"] == ["drift"]
    assert [entry.detail["alarm"] for entry in entries("drift")] == [False, True]


def test_due_times_that_fell_into_a_training_are_named(call, parameters):
    config = load_config(None, parameters["settings"] | {"schedule.cron": "0 * * * *"})
    hourly = Call.of(Workspace.open(parameters["workspace"]), call.name, config)
    ledger = open_ledger(hourly)
    operation = Operation(hourly, ledger, pose_problem(hourly, parameters["data"], None, "label"))
    hour = datetime.datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    begun = Start(now=hour - timedelta(hours=2) + timedelta(seconds=5), expected=hour - timedelta(hours=2))
    operation.trained({"model": {"version": 1}, "run_id": "1" * 32}, begun)
    missed = list(ledger.entries(kinds=("missed",), model=call.name))
    assert [entry.detail["due"] for entry in missed] == [(hour - timedelta(hours=n)).isoformat() for n in (1, 0)]
    assert missed[0].detail["reason"].endswith(": a training was at work.")
    assert not operation.known(Start(now=datetime.datetime.now(UTC))).due_times
