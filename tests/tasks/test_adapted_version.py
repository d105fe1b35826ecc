"""A stream's learner as a registered version, with the real ledger, MLflow and signatures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from abi.adapted import Adapted
from abi.audit.entry import Entry
from abi.config import load_config
from abi.documents import find
from abi.errors import DataError
from abi.outcomes import Evaluation
from tasks import adapted_version, adapting
from tasks.decisions import open_ledger
from tasks.ledger import Ledger
from tasks.mlflow_runs import BARE
from tasks.model_registry import versions
from tasks.registration import connect
from tasks.stage import Call
from tasks.stream_recording import record_stream
from tasks.tracking import Tracking
from tasks.workspace import Workspace

QUICK: dict[str, object] = {
    "adapt.warmup": 80, "adapt.every": 50, "adapt.window": 100, "adapt.cooldown": 100, "adapt.rounds": 3,
    "adapt.epochs": 1, "adapt.halves": [0], "adapt.recent": [8], "adapt.lags": 1, "attention.temperatures": [0.4],
    "training.members": 2, "training.block_width": 16, "training.threads": 1, "training.device": "cpu",
    "evaluation.resamples": 100, "evaluation.latency_calls": 5, "scoring.shuffles": 8,
}  # fmt: skip


class Stopped(BaseException):
    """As if the process had been killed."""


def stream_file(folder: Path, rows: int = 180) -> Path:
    random = np.random.default_rng(0)
    table = pd.DataFrame({"a": random.normal(size=rows), "b": random.normal(size=rows)})
    table["y"] = np.where(table["a"] > 0, "yes", "no")
    table.to_csv(folder / "shop.csv", index=False)
    return folder / "shop.csv"


def call_of(folder: Path) -> Call:
    return Call.of(Workspace.open(folder), "shop", load_config(None, QUICK, ambient=False))


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, str, str]:
    """A workspace in which a stream was followed and not recorded, and ids of its snapshot and of what came of it."""
    place = tmp_path_factory.mktemp("stream")
    call = call_of(place / "ws")
    snapshot = adapting.take_stream(call, str(stream_file(place)), "")
    return place / "ws", snapshot, adapting.adapt(call, snapshot, "y", "cold")


@pytest.fixture
def call(done, tmp_path) -> Call:
    shutil.copytree(done[0], tmp_path / "ws", symlinks=True)
    return call_of(tmp_path / "ws")


@pytest.fixture
def followed(done) -> tuple[str, str]:
    return done[1:]


def registered(call: Call) -> list[Entry]:
    return list(open_ledger(call).entries(kinds=("registration",), model="shop"))


def test_killed_between_registering_and_recording_there_is_one_version(call, followed, monkeypatch):
    snapshot, adapted = followed
    change = Ledger.change

    def killed(ledger, draft, decide, **more):
        if draft.kind == "registration":
            raise Stopped
        return change(ledger, draft, decide, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "change", killed)
        with pytest.raises(Stopped):
            record_stream(call, "shop.csv", snapshot, adapted)
    tracking = connect(call)
    assert [v.number for v in versions(tracking, "shop")] == [1]
    assert not registered(call)

    folder = Path(record_stream(call, "shop.csv", snapshot, adapted))
    result = json.loads((folder / "stream.json").read_bytes())
    assert result["version"] == {"name": "shop", "version": 1, "uri": "models:/shop/1"}
    assert [v.number for v in versions(tracking, "shop")] == [1]
    (entry,) = registered(call)
    assert entry.mlflow_run == result["run_id"]
    assert open_ledger(call).aliases("shop").challenger == 1

    with monkeypatch.context() as patch:  # asked once more, nothing is composed again
        patch.setattr(adapted_version, "_record", None)
        record_stream(call, "shop.csv", snapshot, adapted)
    assert [v.number for v in versions(tracking, "shop")] == [1]
    assert len(registered(call)) == 1


def test_the_entry_and_the_version_say_what_they_came_from(call, followed):
    snapshot, adapted = followed
    record_stream(call, "shop.csv", snapshot, adapted)
    (entry,), found = registered(call), find(call.ws.get(adapted), Adapted)
    assert entry.values["adapted"] == adapted
    assert entry.values["snapshot"] == snapshot
    assert entry.detail["along"]["champion"] is None
    assert [m["attention"] for m in entry.detail["along"]["made"]] == [a.attention for a in found.adaptations]
    entered = open_ledger(call).entries(kinds=("adaptation",), model="shop")
    assert [e.values["attention"] for e in entered] == [m["attention"] for m in entry.detail["along"]["made"]]
    evaluation: Evaluation = find(call.ws.get(entry.values["evaluation"]), Evaluation)
    assert entry.detail["family"] == "mixture"
    assert entry.detail["metrics"] == {"accuracy": pytest.approx(found.contender("adapted").overall)}
    assert evaluation.latency_s > 0
    client = connect(call).client
    version = client.get_model_version("shop", "1")
    assert "mixture of its experts as it stood after the last row" in version.description
    assert "It learns no more" in version.description
    assert (version.tags["abi.figures"], version.tags["abi.started_from"]) == ("prequential", "cold")
    assert open_ledger(call).verify().entries == open_ledger(call).size()


def test_nothing_is_registered_where_that_is_not_wanted(call, followed):
    snapshot, adapted = followed
    folder = Path(record_stream(call, "shop.csv", snapshot, adapted, "--no-register"))
    result = json.loads((folder / "stream.json").read_bytes())
    assert (result["version"], result["unregistered"]) == (None, "--no-register")
    assert not registered(call)
    assert "shop" not in connect(call).models()
    again = json.loads((Path(record_stream(call, "shop.csv", snapshot, adapted)) / "stream.json").read_bytes())
    assert again["version"]["version"] == 1


def test_a_stream_that_is_registered_later_has_one_run(call, followed):
    snapshot, adapted = followed

    def recorded(*leave: str) -> tuple[dict[str, object], str]:
        folder = Path(record_stream(call, "shop.csv", snapshot, adapted, *leave))
        return json.loads((folder / "stream.json").read_bytes()), (folder / "report.html").read_text()

    (bare, _), (full, page) = recorded("--no-register"), recorded()
    tracking = connect(call)
    named = f"tags.`abi.operation_id` = '{Path(str(bare['report'])).parent.name}'"
    (run,) = tracking.client.search_runs([tracking.experiment_id], named)
    assert bare["run_id"] == full["run_id"] == run.info.run_id
    assert (run.info.status, BARE in run.data.tags) == ("FINISHED", False)
    assert {"adapted", "evaluation", "reference"} <= set(tracking.documents(run.info.run_id))
    assert "models:/shop/1" in page

    told, page = recorded("--no-register")  # what is registered stays so, and the answer says it
    assert (told["run_id"], told["version"], told["unregistered"]) == (full["run_id"], full["version"], None)
    assert "models:/shop/1" in page


def test_a_registration_that_failed_leaves_the_run_without_a_model_as_it_was(call, followed, monkeypatch):
    snapshot, adapted = followed
    record_stream(call, "shop.csv", snapshot, adapted, "--no-register")
    with monkeypatch.context() as patch:
        patch.setattr(Tracking, "_register", mock.Mock(side_effect=Stopped))
        with pytest.raises(Stopped):
            record_stream(call, "shop.csv", snapshot, adapted)
    tracking = connect(call)
    query = "tags.`abi.kind` = 'stream'"
    (run,) = tracking.client.search_runs([tracking.experiment_id], query)
    assert (run.info.status, run.data.tags[BARE]) == ("FINISHED", "true")
    folder = Path(record_stream(call, "shop.csv", snapshot, adapted))
    assert json.loads((folder / "stream.json").read_bytes())["run_id"] == run.info.run_id
    assert [v.number for v in versions(tracking, "shop")] == [1]


def test_where_nothing_could_be_learned_nothing_is_registered(call, tmp_path, monkeypatch):
    """With a champion, labels may come too late to begin own models."""
    monkeypatch.setattr(adapting.Run, "start", lambda run: setattr(run, "row", run.stream.rows))
    snapshot = adapting.take_stream(call, str(stream_file(tmp_path)), "")
    with pytest.raises(DataError, match="nothing was learned, so nothing is registered"):
        adapting.adapt(call, snapshot, "y", "cold")
