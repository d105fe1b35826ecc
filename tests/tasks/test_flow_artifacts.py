from __future__ import annotations

import re

import pytest

from abi.config import load_config
from tasks import flow_artifacts
from tasks.stage import Call
from tasks.workspace import Workspace

RESULT = {
    "attention": {"size": 0.25, "colour": 0.75},
    "scores": {"size": 0.123456, "colour": 1.0},
    "plan": {"features": {"size": 4}, "trees": {"colour": {"bins": 7, "contribution": 1.0}}},
}


def test_one_row_per_feature_the_heaviest_first():
    assert flow_artifacts.attention_rows(RESULT) == [
        {"feature": "colour", "score": 1.0, "weight": 0.75, "width": 0, "bins of trees": 7},
        {"feature": "size", "score": 0.1235, "weight": 0.25, "width": 4, "bins of trees": 0},
    ]


@pytest.mark.parametrize("name", ["shop", "Shop_2 — north", "ümlaut", "a/b.c"])
def test_keys_are_as_prefect_takes_them(name):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", flow_artifacts.artifact_key(name, "verdict"))


def test_runs_are_linked_where_mlflow_is_a_server():
    assert flow_artifacts.run_link("http://mlflow:5000/", "abc") == "[abc](http://mlflow:5000/#/runs/abc)"
    assert flow_artifacts.run_link("/ws/mlflow.db", "abc") == "`abc` in `/ws/mlflow.db`"


def test_what_cannot_be_stored_is_a_warning(tmp_path, monkeypatch, capsys):
    call = Call.of(Workspace.open(tmp_path / "ws"), "shop", load_config(ambient=False))
    flow_artifacts.publish(call, tmp_path)  # no flow run is going on: there is nothing to show it on
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(flow_artifacts, "flow_run", lambda: "a run whose folder has gone")
    flow_artifacts.publish(call, tmp_path)
    assert capsys.readouterr().err.startswith("warning   the flow run's pages lack the verdict (FileNotFoundError")
