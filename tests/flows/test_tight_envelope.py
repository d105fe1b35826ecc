"""Runs under an envelope that asks for a network smaller than the rows do, from the command line to a loaded model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from abi.families.stored import load


@pytest.fixture(name="wide")
def _wide(tmp_path):
    """Two features that tell the class, and 58 of noise."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(600, 60)), columns=[f"x{i}" for i in range(60)])
    table["label"] = np.where(table["x0"] * 2 + table["x1"] + 0.3 * random.normal(size=600) > 0, "yes", "no")
    path = tmp_path / "wide.csv"
    table.to_csv(path, index=False)
    return path


def _run(abi, wide, tmp_path, quick, limit):
    answer = abi(
        "run", wide, "--target", "label", "--budget", f"parameters={limit}", "--workspace", tmp_path / "ws",
        *quick, "--set", "training.family=network", "--set", "training.epochs=8", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    return answer


@pytest.mark.slow
def test_where_no_even_split_fits_the_control_is_the_smallest_there_is(
    abi, wide, quick, versions, tmp_path, without_prefect
):
    answer = _run(abi, wide, tmp_path, quick, 700)
    assert versions(tmp_path / "ws") == 1
    assert "the smallest even split there is, which the envelope does not hold" in answer.err
    assert answer.json["plan"]["measured"]["parameters"] <= 700


@pytest.mark.slow
def test_a_pruned_model_is_registered_small_and_predicts(abi, wide, quick, tmp_path, without_prefect, monkeypatch):
    from abi.training import pilots

    def pruned(trials, *limits):
        return next((place for place, trial in enumerate(trials) if trial.pruned), 0)

    monkeypatch.setattr(pilots, "flattest", pruned)  # which candidate is kept is for the rows to say
    answer = _run(abi, wide, tmp_path, quick, "4k")
    page = Path(answer.json["report"]).read_text()
    assert "what training left" in page
    (folder,) = [p.parent for p in (tmp_path / "ws").rglob("model.json") if "mlartifacts" in str(p)][:1]
    model = load(folder)
    blueprint = json.loads((folder / "model.json").read_bytes())
    assert model.parameters <= blueprint["capacity"]["pruning"]["parameters"] <= 4000
    assert model.parameters < sum(p.numel() for p in model.network.parameters())
    assert len(model.predict(pd.read_csv(wide).head(3))) == 3
