"""Following a stream with the real ledger, MLflow and DVC, and going on after it was stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from abi.adapted import Adapted
from abi.adapting.run import Run
from abi.audit.entry import Entry
from abi.config import load_config
from abi.documents import find
from tasks import adapting, stream_recording
from tasks.decisions import open_ledger
from tasks.registration import connect
from tasks.stage import Call
from tasks.workspace import Workspace

QUICK: dict[str, object] = {
    "adapt.warmup": 100, "adapt.every": 50, "adapt.window": 100, "adapt.cooldown": 100, "adapt.rounds": 5,
    "adapt.epochs": 1, "adapt.halves": [0], "adapt.recent": [8], "adapt.lags": 1, "attention.temperatures": [0.4],
    "training.members": 2, "training.block_width": 16, "training.threads": 1, "training.device": "cpu",
}  # fmt: skip


@pytest.fixture
def call(tmp_path):
    return Call.of(Workspace.open(tmp_path / "ws"), "shop", load_config(None, QUICK, ambient=False))


@pytest.fixture
def file(tmp_path) -> Path:
    random = np.random.default_rng(0)
    table = pd.DataFrame({"a": random.normal(size=400), "b": random.normal(size=400)})
    table["y"] = np.where(np.where(np.arange(400) < 250, 1, -1) * table["a"] > 0, "yes", "no")
    path = tmp_path / "shop.csv"
    table.to_csv(path, index=False)
    return path


def entered_of(call: Call) -> list[Entry]:
    return list(open_ledger(call).entries(kinds=("adaptation",), model="shop"))


class Stopped(Exception):
    """As if the process had been killed."""


def test_a_stopped_stream_goes_on_and_each_decision_is_entered_once(call, file, monkeypatch):
    snapshot = adapting.take_stream(call, str(file), "")
    assert adapting.find_start(call, snapshot, "y") == "cold"
    monkeypatch.setattr(adapting, "KEEP_S", 0.0)
    saved = adapting._Blocks.save
    kept = []

    def save(blocks, data):
        if len(kept) == 4:
            raise Stopped
        kept.append(len(data))
        saved(blocks, data)

    monkeypatch.setattr(adapting._Blocks, "save", save)
    with pytest.raises(Stopped):
        adapting.adapt(call, snapshot, "y", "cold")
    assert entered_of(call)
    assert list(call.ws.checkpoints.glob("stream-*"))
    monkeypatch.setattr(adapting._Blocks, "save", saved)
    found = find(call.ws.get(adapting.adapt(call, snapshot, "y", "cold")), Adapted)
    assert not list(call.ws.checkpoints.glob("stream-*"))

    entries = entered_of(call)
    assert [e.detail["number"] for e in entries] == list(range(len(found.adaptations)))
    for entry, made in zip(entries, found.adaptations, strict=True):
        assert entry.values["snapshot"] == snapshot
        assert entry.values["attention"] == made.attention
        assert {k.removeprefix("plan:"): v for k, v in entry.values.items() if k.startswith("plan:")} == made.plans
        assert entry.detail["from_rows"] == [made.first, made.last]
        assert entry.detail["reasons"] == list(made.reasons)
        for name, value in entry.values.items():
            assert call.ws.has(value), name
    last = entries[-1]
    if last.detail["number"]:
        assert last.values["attention_before"] == entries[-2].values["attention"]

    again = Call.of(call.ws, "shop", call.settings.model_copy(update={"seed": 0}))
    whole = find(again.ws.get(adapting.adapt(again, snapshot, "y", "cold")), Adapted)
    same = {"seconds": 0.0, "row_s": 0.0}
    assert replace(whole, **same) == replace(found, **same)
    assert len(entered_of(call)) == len(entries)

    folder = Path(stream_recording.record_stream(call, "shop.csv", snapshot, found.id))
    result = json.loads((folder / "stream.json").read_bytes())
    assert result["adapted"] == found.contender("adapted").overall
    assert set(result["controls"]) == {"never adapted", "persistence", "majority"}
    tracking = connect(call)
    run = tracking.client.get_run(result["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["accuracy.adapted"] == pytest.approx(result["adapted"])
    assert tracking.document(result["run_id"], "values/adapted.json")["id"] == found.id
    once_more = Path(stream_recording.record_stream(call, "shop.csv", snapshot, found.id))
    assert json.loads((once_more / "stream.json").read_bytes())["run_id"] == result["run_id"]
    assert open_ledger(call).verify().entries >= len(entries)


def test_going_on_from_an_older_block_enters_nothing_twice_and_ends_the_same(call, file, monkeypatch):
    snapshot = adapting.take_stream(call, str(file), "")
    monkeypatch.setattr(adapting, "KEEP_S", 1e9)
    saves, steps, step = [], [], Run.step
    saved = adapting._Blocks.save
    monkeypatch.setattr(adapting._Blocks, "save", lambda blocks, data: (saves.append(data), saved(blocks, data)))

    def stopped(run):
        if len(steps) == 5:
            raise Stopped
        steps.append(run.row)
        step(run)

    monkeypatch.setattr(Run, "step", stopped)
    with pytest.raises(Stopped):
        adapting.adapt(call, snapshot, "y", "cold")
    assert len(saves) == 1  # after the first block
    before = entered_of(call)
    assert len(before) > 1
    rows = []
    monkeypatch.setattr(Run, "step", lambda run: (rows.append(run.row), step(run)))
    found = find(call.ws.get(adapting.adapt(call, snapshot, "y", "cold")), Adapted)
    assert rows[0] == steps[1]  # four blocks once more
    assert len(saves) == 2
    assert [e.detail["number"] for e in entered_of(call)] == list(range(len(found.adaptations)))
    assert [e.values for e in entered_of(call)][: len(before)] == [e.values for e in before]
    again = Call.of(call.ws, "shop", call.settings.model_copy(update={"seed": 0}))
    whole = find(again.ws.get(adapting.adapt(again, snapshot, "y", "cold")), Adapted)
    same = {"seconds": 0.0, "row_s": 0.0}
    assert replace(whole, **same) == replace(found, **same)
