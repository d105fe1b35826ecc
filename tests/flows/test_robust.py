"""Robustness from the command line: in a run, of a registered model, and as a gate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

Abi = Callable[..., Any]


@pytest.fixture
def on(abi: Abi, quick: list[str], tmp_path: Path) -> Abi:
    """A command in this test's workspace, with short trainings and without Prefect."""
    return lambda *words: abi(*words, "--workspace", tmp_path / "ws", *quick)


@pytest.mark.usefixtures("without_prefect")
def test_a_run_measures_it_and_a_registered_model_is_measured_the_same(on: Abi, data: Path, tmp_path: Path) -> None:
    short = ("--set", "iterate.rounds=1", "--set", "training.family=network")
    ran = on("run", data, "--target", "label", "--json", "--set", "evaluation.robust=true", *short)
    assert ran.code == 0, ran.err
    found = ran.json["robustness"]
    assert found["metric"] == "accuracy"
    assert {p["kind"] for p in found["perturbed"]} == {"noise", "missing", "adversarial"}
    assert {s["kind"] for s in found["stability"]} == {"resampled", "noise"}
    assert "robust    accuracy" in ran.err
    assert 'id="robustness"' in Path(ran.json["report"]).read_text()

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'ws' / 'mlflow.db'}")
    metrics = client.get_run(ran.json["run_id"]).data.metrics
    noisy = next(p for p in found["perturbed"] if (p["kind"], p.get("strength")) == ("noise", "middle"))
    assert metrics["robust/noise/middle/baseline"] == pytest.approx(noisy["contenders"][2]["value"]["value"])
    assert metrics["stability/resampled/moved"] == found["stability"][0]["moved"]

    again = on("eval", "shop", "--robust", "--json", *short)
    assert again.code == 0, again.err
    assert again.json["value"]["robustness"] == found  # model, control and baseline are the same ones

    told = on("eval", "shop/1", *short)  # what was recorded, measured already
    assert "attention fitted again to" in told.out

    lax = [f"gates.{name}=null" for name in ("uniform", "baseline", "calibration", "slices")]
    gated = on("promote", "--json", *(w for s in [*lax, "gates.robustness=0"] for w in ("--set", s)))
    judged = {r["name"]: r["status"] for r in gated.json["gates"]["results"]}
    assert judged["robustness"] in {"passed", "failed"}  # it was measured, whatever it says
    assert on("eval", "nothing", "--robust").sentence.startswith("abi: Expected a registered model")
    assert on("eval", "shop/champions").code == on("eval", "shop/9").code == 2


@pytest.mark.usefixtures("without_prefect")
def test_a_trained_value_is_measured_with_the_flag_alone(on: Abi, data: Path, tmp_path: Path) -> None:
    value = data
    for verb in ("check", "score", "fit", "plan", "train"):
        words = ("--target", "label") if verb == "check" else ()
        made = on(verb, value, *words, "--json", "--set", "training.family=trees")
        assert made.code == 0, made.err
        value = tmp_path / f"{verb}.json"
        value.write_text(made.out)
    plain = on("eval", value, "--json", "--set", "training.family=trees")
    assert "robustness" not in plain.json["value"]
    robust = on("eval", value, "--robust", "--json", "--set", "training.family=trees")
    assert {p["kind"] for p in robust.json["value"]["robustness"]["perturbed"]} == {"noise", "missing"}  # trees
