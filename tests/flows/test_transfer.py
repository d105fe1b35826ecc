"""`abi run --from`: another domain's model as a start, from the command line to the ledger."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from abi.config import load_config
from abi.errors import UsageError
from tasks.ledger import Ledger
from tasks.registered import resolve
from tasks.registration import connect
from tasks.stage import Call
from tasks.workspace import Workspace

Abi = Callable[..., Any]
SHORT = ("--set", "iterate.rounds=1", "--set", "training.family=network")


@pytest.fixture
def on(abi: Abi, quick: list[str], tmp_path: Path) -> Abi:
    """A command in this test's workspace, with short trainings and without Prefect."""
    return lambda *words: abi(*words, "--workspace", tmp_path / "ws", *quick, *SHORT)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another shop: two of the features are the same, with other rows and another target."""
    random = np.random.default_rng(5)
    table = pd.DataFrame({name: random.normal(size=240) for name in ("size", "weight", "depth")})
    table["bought"] = np.where(2 * table["size"] - table["weight"] + random.logistic(size=240) > 0, "yes", "no")
    path = tmp_path / "other.csv"
    table.to_csv(path, index=False)
    return path


@pytest.mark.usefixtures("without_prefect")
def test_a_run_starts_from_another_domains_model(on: Abi, data: Path, other: Path, tmp_path: Path) -> None:
    assert on("run", data, "--target", "label", "--json").code == 0
    ran = on("run", other, "--target", "bought", "--from", "shop", "--json")
    assert ran.code == 0, ran.err
    found = ran.json["transfer"]
    assert (found["source"], found["layers"], found["outputs"]) == ("models:/shop/1", 2, 1)
    assert "size" in found["features"]
    assert set(found["features"]) <= {"size", "weight"}  # those that have a width in both
    assert found["prior"]["matched"] == ["size", "weight"]
    assert found["prior"]["share"] in found["prior"]["shares"]
    assert found["gain"]["low"] <= found["gain"]["value"] <= found["gain"]["high"]
    assert found["kept"] == ("warm" if found["gain"]["value"] > 0 else "cold")
    held = found["held_out"]["difference"]
    assert held["low"] <= held["value"] <= held["high"]
    assert "Against starting cold" in Path(ran.json["report"]).read_text()

    ws = Workspace(tmp_path / "ws")
    config = load_config(ambient=False)
    with_source = [e.detail for e in Ledger.look(ws, config.audit).entries(kinds=("training",), model="other")]
    assert [d["transfer"]["source"] for d in with_source] == ["models:/shop/1"]
    replayed = on("replay", "--run", ran.json["run_id"], "--json")
    assert replayed.code == 0, replayed.err

    # from another workspace, whose ledger does not know the model, aliases are MLflow's
    first = Call.of(ws, "shop", config)
    tracking = connect(first)
    assert resolve(first, tracking, "shop").version == 1
    tracking.client.set_registered_model_alias("shop", "tried", "1")
    settings = {"tracking.uri": f"sqlite:///{tmp_path / 'ws' / 'mlflow.db'}"}
    away = Call.of(Workspace(tmp_path / "away"), "other", load_config(settings=settings, ambient=False))
    for name in ("shop", "shop/tried", "shop/challenger", "models:/shop@tried", "shop/1"):
        assert resolve(away, connect(away), name).version == 1, name
    with pytest.raises(UsageError, match=r"an alias that 'shop' has .'challenger', 'tried'., got 'previous'"):
        resolve(away, connect(away), "shop/previous")

    unknown = on("run", other, "--target", "bought", "--from", "nobody")
    assert unknown.code == 2
    assert "got 'nobody'" in unknown.sentence

    stranger = tmp_path / "stranger.csv"
    pd.read_csv(other).rename(columns={"size": "a", "weight": "b", "depth": "c"}).to_csv(stranger, index=False)
    alone = on("run", stranger, "--target", "bought", "--from", "shop")
    assert alone.code == 2
    assert "shares a feature of this table by name and kind" in alone.sentence

    for folder in ws.models.iterdir():  # the registry's copy is another one
        shutil.rmtree(folder)
    weights = next((tmp_path / "ws" / "mlartifacts").rglob("weights.safetensors"))
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    refused = on("run", other, "--target", "bought", "--from", "shop/1", "--seed", 1)
    tampered = on("run", other, "--target", "bought", "--from", "other/1", "--seed", 1)
    assert 6 in {refused.code, tampered.code}  # whichever of the two was tampered with
