"""Every family from the command line, in process: run, the model that was registered, and stage by stage."""

from __future__ import annotations

import json

import numpy as np
import pytest


@pytest.fixture
def flags(tmp_path, quick):
    return [*quick, "--workspace", tmp_path / "ws", "--json", "--set", "training.trees.rounds=20"]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["trees", "blend", "auto", "network"])
def test_a_run_of_each_family(abi, data, frame, flags, without_prefect, tmp_path, family):
    import mlflow

    answer = abi("run", data, "--target", "label", *flags, "--set", f"training.family={family}")
    assert answer.code == 0, answer.err
    found = answer.json
    assert found["family"] in ({"network", "trees", "blend"} if family == "auto" else {family})
    assert (found["choice"] is not None) == (family in {"auto", "blend"})
    assert bool(found["plan"]["trees"]) == (found["family"] != "network")
    assert bool(found["plan"]["features"]) == (found["family"] != "trees")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/ws/mlflow.db")
    model = mlflow.pyfunc.load_model(found["model"]["uri"])
    predicted = model.predict(frame().drop(columns="label"))
    np.testing.assert_allclose(predicted[["probability_no", "probability_yes"]].sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("family", ["trees", "auto"])
def test_stages_of_each_family(abi, data, flags, tmp_path, family):
    flags = [*flags, "--set", f"training.family={family}"]
    path = tmp_path / "value.json"
    path.write_text(abi("score", data, "--target", "label", *flags).out)
    for verb in ("fit", "plan", "train", "eval"):
        answer = abi(verb, path, *flags)
        assert answer.code == 0, answer.err
        path.write_text(json.dumps(answer.json))
        kind, value = answer.json["kind"], answer.json["value"]
        if verb == "plan":
            assert value["family"] == family
        shown = abi(verb, path, *[word for word in flags if word != "--json"]) if verb == "plan" else answer
        assert shown.code == 0, shown.err
    assert kind == "Evaluation"
    assert value["trained"]["family"] in {"network", "trees", "blend"}
    assert abi("report", path, *flags, "--out", tmp_path / "page.html").code == 0
