"""Where attention chose the even split, the model is its own control: nothing is trained twice, and the record holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import yaml

from abi.config import load_config
from abi.documents import find
from abi.outcomes import Move, Trained
from tasks.stage import Call
from tasks.training import train_control
from tasks.workspace import Workspace

EVEN = (
    "iterate.rounds=1",
    "training.family=network",
    "attention.temperatures=[]",
    "attention.blend=false",
    "training.refit=true",
)


def test_the_even_split_is_its_own_control(abi, quick, tmp_path, without_prefect):
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(260, 3)), columns=list("abc"))
    table["label"] = np.where(table["a"] + table["b"] - table["c"] > 0, "in", "out")
    data, ws = tmp_path / "shop.parquet", tmp_path / "ws"
    table.to_parquet(data)
    settings = [word for setting in EVEN for word in ("--set", setting)]
    run = abi(
        "run", data, "--target", "label", "--workspace", ws, *quick, *settings, "--budget", "run_time=10min", "--json"
    )
    assert run.code == 0, run.err
    assert "of the whole run" in run.err
    assert "time      the run took" in run.err
    assert "the model is the even split itself" in run.err
    assert run.err.count("refit ") == 1
    assert run.json["gain"]["uniform"] == {"difference": 0, "low": 0, "high": 0, "relative": 0}
    replayed = abi("replay", "shop/1", "--workspace", ws, "--json")
    assert replayed.code == 0, replayed.err

    # a later round that is not kept changes nothing of that
    spelled = dict(word.split("=", 1) for word in [*quick, *EVEN] if word != "--set")
    call = Call.of(Workspace.open(ws), "shop", load_config(None, {k: yaml.safe_load(v) for k, v in spelled.items()}))
    trained = find(call.ws.get(run.json["values"]["round-1"]), Move).trained
    attention = trained.plan.attention
    worse = replace(trained, seed=trained.seed + 1, loss=trained.loss + 1)
    moves = [
        call.ws.put(Move(trained=one, attention=replace(attention, round=n), continues=False, reason="as asked"))
        for n, one in ((1, trained), (2, worse))
    ]
    control = find(call.ws.get(train_control(call, *moves)), Trained)
    assert (control.artifact, control.loss) == (trained.artifact, trained.loss)
