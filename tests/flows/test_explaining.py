"""`abi replay`, `explain` and `diff` on runs of every family, in other processes, and on records that were changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from abi.config import load_config
from flows.retrain import Request, retrain
from tasks.orchestration import in_process
from tasks.stage import Call, Clock
from tasks.workspace import Workspace

QUICK: dict[str, Any] = {
    "training.epochs": 2,
    "training.threads": 1,
    "training.trees.rounds": 10,
    "iterate.rounds": 2,
    "iterate.plan_change": 0,
    "iterate.tolerance": 0,
    "attention.temperatures": [0.4],
    "evaluation.resamples": 100,
    "evaluation.latency_calls": 5,
    "checks.data_docs": False,
}
RUNS: dict[str, dict[str, Any]] = {
    "auto": {"training.family": "auto"},
    "network": {"training.family": "network", "training.members": 2},
    "trees": {"training.family": "trees"},
    "text": {"training.family": "network", "training.members": 2, "envelope.parameters": "4k", "attention.caution": 0},
}


def _table(name: str) -> pd.DataFrame:
    random = np.random.default_rng(5)
    rows = 240
    table = pd.DataFrame(
        {
            "size": random.normal(size=rows),
            "weight": random.normal(size=rows),
            "colour": random.choice(["red", "green", "blue", None], rows),
        }
    )
    strength = 2 * table["size"] - table["weight"]
    table["label"] = np.where(strength + random.logistic(size=rows) > 0, "yes", "no")
    if name == "text":
        words = np.where(table["label"] == "yes", "fine good", "bad poor")
        table["said"] = [f"{w} word{random.integers(60)} and word{random.integers(60)} so on" for w in words]
    return table


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one run for each of `RUNS`."""
    folder = tmp_path_factory.mktemp("explaining")
    ws = Workspace.open(folder / "ws")
    for name, asked in RUNS.items():
        path = folder / f"{name}.csv"
        _table(name).to_csv(path, index=False)
        call = Call.of(ws, name, load_config(None, QUICK | asked))
        retrain(in_process(call, Clock()), Request(call, "label", str(path)))
    return ws.root


@pytest.fixture
def copied(recorded: Path, tmp_path: Path) -> Path:
    """A copy that a test may change; MLflow's artifacts stay where they are."""
    shutil.copytree(recorded, tmp_path / "copy", ignore=shutil.ignore_patterns("prefect", "gx", "dvc-remote"))
    return tmp_path / "copy"


def _run_json(workspace: Path, name: str) -> tuple[Path, dict[str, Any]]:
    for path in workspace.glob("runs/*/run.json"):
        plain = json.loads(path.read_bytes())
        if plain["model"]["name"] == name:
            return path, plain
    raise AssertionError(name)


@pytest.mark.slow
def test_another_process_replays_every_family(recorded: Path) -> None:
    names = ", ".join(repr(name) for name in RUNS)
    script = f"""
import sys
from flows.cli import execute
for name in ({names}):
    code = execute(["replay", f"models:/{{name}}/1", "--workspace", {str(recorded)!r}, "--json", "-q"])
    assert code == 0, (name, code)
    print("---")
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    documents = [json.loads(part) for part in out.split("---\n") if part.strip()]
    assert [d["model"] for d in documents] == [f"{name}/1" for name in RUNS]
    for plain in documents:
        assert len(plain["decisions"]) >= 8
        assert {d["same"] for d in plain["decisions"]} == {True}
        assert all(d["recorded"] == d["recomputed"] for d in plain["decisions"])
        assert plain["notes"] == [next(n for n in plain["notes"] if n.startswith("settings are others now: "))]


def test_a_run_is_found_by_its_id_too_and_each_decision_has_a_line(abi, recorded):
    _, plain = _run_json(recorded, "network")
    answer = abi("replay", plain["run_id"][:10], "--workspace", recorded)
    assert answer.code == 0, answer.err
    assert [line.split()[0] for line in answer.out.splitlines() if "identical" in line][:3] == [
        "schema", "scores", "attention",
    ]  # fmt: skip
    assert "identical, byte for byte" in answer.out
    newest = abi("diff", "network/1", "models:/network@challenger", "--workspace", recorded, "--json").json
    assert newest["settings"] == {}


def test_the_report_of_a_run_that_is_called_by_its_version(abi, recorded, tmp_path):
    _, plain = _run_json(recorded, "network")
    whole = Path(plain["report"]).read_text()
    for name in (plain["run_id"], plain["run_id"][:6], "network/1", "models:/network@challenger", "network/challenger"):
        answer = abi("report", name, "--workspace", recorded, "--out", tmp_path / "page.html")
        assert answer.code == 0, answer.err
        assert (tmp_path / "page.html").read_text() == whole
    answer = abi("report", "network/7", "--workspace", recorded)
    assert (answer.code, "Expected one run 'network/7' in" in answer.sentence) == (2, True)


def test_what_no_run_is_called(abi, recorded):
    for words, said in (
        (["replay", "auto/7"], "Expected one run 'auto/7' in"),
        (["replay", "ffffffffff"], "Expected one run 'ffffffffff' in"),
        (["replay", f"auto/{10**20}"], "Expected a run id of at least 4 digits, NAME/VERSION"),
        (
            ["replay", "auto/champion"],
            "Expected a version number or an alias that 'auto' has ('challenger'), got 'champion'",
        ),
        (["replay", "nobody/champion"], "Expected a registered model, as NAME, NAME/VERSION or NAME/ALIAS"),
        (["replay", "what is this"], "Expected a run id of at least 4 digits, NAME/VERSION"),
        (["explain", "auto/1", "sise"], "got 'sise': did you mean 'size'?"),
        (["explain", "auto/1", "zzz"], "the features are 'size', 'weight', 'colour'"),
        (["replay", "auto/1", "--what-if", "scoring.bins=8"], "Expected a setting that needs no data or training"),
        (["replay", "auto/1", "--what-if", "training.threads=8"], "Expected a setting that needs no data or training"),
        (["replay", "auto/1", "--what-if", "training.colour=8"], "Expected a known setting, got 'training.colour'"),
        (["replay", "auto/1", "--what-if", "attention.floor=7"], "Setting 'attention.floor': "),
        (["replay", "auto/1", "--what-if", "attention.temperature=0"], "Setting 'attention.temperatures"),
        (["replay", "auto/1", "--what-if", "memory"], "Expected --what-if as setting=value"),
    ):
        answer = abi(*words, "--workspace", recorded)
        assert answer.code == 2, words
        assert said in answer.sentence


def test_a_value_that_was_changed_on_disk_is_named(abi, copied):
    _, plain = _run_json(copied, "network")
    path = copied / "values" / f"{plain['values']['round-1']}.json"
    document = json.loads(path.read_bytes())
    document["value"]["attention"]["weights"][0]["weight"] = 0.123
    path.write_text(json.dumps(document))
    answer = abi("replay", "network/1", "--workspace", copied)
    assert answer.code == 6
    assert "Expected the value 'round-1' as it was recorded, got other content in" in answer.sentence


def test_a_damaged_record_of_a_run_is_named(abi, copied):
    record, _ = _run_json(copied, "auto")
    record.write_bytes(record.read_bytes()[:40])
    answer = abi("replay", "auto/1", "--workspace", copied)
    assert answer.code == 6
    assert f"got other content in {record}: the record was changed or damaged" in answer.sentence


def test_a_forged_value_with_a_fitting_id_comes_out_otherwise(abi, copied):
    """Who changes a value can give it its new id; what it was decided from still decides otherwise."""
    from abi.outcomes import Move

    ws = Workspace.open(copied)
    path, plain = _run_json(copied, "network")
    move = ws.get(plain["values"]["round-2"])
    assert isinstance(move, Move)
    from dataclasses import replace

    plain["values"]["round-2"] = ws.put(replace(move, reason="I say so"))
    path.write_text(json.dumps(plain))
    answer = abi("replay", "network/1", "--workspace", copied)
    assert answer.code == 6
    assert "Expected decision 'move 2' to come out as recorded" in answer.err
    assert '(reason: "I say so" -> ' in answer.err
    assert "the ledger has no entry of it" in answer.out


def test_without_the_snapshot_the_rest_is_replayed(abi, copied):
    for folder in ("tables", "snapshots"):
        shutil.rmtree(copied / folder)
    answer = abi("replay", "network/1", "--workspace", copied, "--json")
    assert answer.code == 1
    found = {d["name"]: d for d in answer.json["decisions"]}
    assert [name for name, d in found.items() if not d["same"]] == ["schema", "scores"]
    assert found["scores"]["why"].startswith("the snapshot is not there: Expected ")


def test_where_the_workspace_has_no_values_mlflow_has_them(abi, copied):
    shutil.rmtree(copied / "values")
    shutil.rmtree(copied / "runs")
    answer = abi("replay", "network/1", "--workspace", copied, "--json")
    assert answer.code == 0, answer.err
    assert {d["same"] for d in answer.json["decisions"]} == {True}
    assert abi("replay", answer.json["run_id"][:8], "--workspace", copied).code == 0


def test_the_story_of_a_feature(abi, recorded):
    _, plain = _run_json(recorded, "network")
    told = abi("explain", "network/1", "size", "--workspace", recorded, "--json").json
    assert told["feature"] == {
        "name": "size", "column": "size", "kind": "numeric", "part": None, "distinct": 240, "missing_share": 0.0,
    }  # fmt: skip
    assert (told["score"]["score"], told["score_rank"]) == (plain["scores"]["size"], 1)
    kept = next(r for r in told["rounds"] if r["kept"])
    assert kept["weight"]["value"] == plain["attention"]["size"]
    assert kept["capacity"]["width"] == plain["plan"]["features"]["size"]
    assert kept["ablation"]["low"] <= kept["ablation"]["value"] <= kept["ablation"]["high"]
    assert told["trials"][0]["temperature"] is None
    assert [(e["kind"], e["said"]["version"]) for e in told["approvals"]] == [("registration", 1)]
    assert told["drift"] == []
    text = abi("explain", "network/1", "colour", "--workspace", recorded).out
    for said in ("data       categorical, 3 distinct values", "score      ", "split      ", "round 1", "ablation"):
        assert said in text


def test_the_difference_of_two_runs(abi, recorded):
    found = abi("diff", "network/1", "text/1", "--workspace", recorded, "--json").json
    assert not found["same_data"]
    assert {f["feature"]: f["change"] for f in found["features"]} == {
        "said": "added", "size": "kept", "weight": "kept", "colour": "kept",
    }  # fmt: skip
    assert found["settings"] == {"attention.caution": [1.0, 0.0], "envelope.parameters": [250000, 4000]}
    assert 0 < found["total_variation"] <= 1
    same = abi("diff", "network/1", "network/1", "--workspace", recorded, "--json").json
    assert (same["same_data"], same["settings"], same["total_variation"], same["jensen_shannon"]) == (True, {}, 0, 0)
    text = abi("diff", "auto/1", "trees/1", "--workspace", recorded).out
    assert "settings   training.family auto -> trees" in text


def test_what_would_be_under_another_envelope(abi, recorded):
    words = ("replay", "network/1", "--workspace", recorded, "--what-if")
    found = abi(*words, "parameters=2k", "--json").json
    before, after = found["predicted"]
    assert after["parameters"] <= 2000 < before["parameters"]
    assert found["moved"] == 0
    flat = abi(*words, "attention.temperature=even", "--what-if", "attention.movement=0.001", "--json").json
    assert [f["attention"][1] for f in flat["features"]] == pytest.approx([1 / 3] * 3, abs=0.01)
    steep = abi(*words, "attention.temperature=0.1", "--json").json
    assert steep["moved"] > 0
    assert max(f["attention"][1] for f in steep["features"]) > max(f["attention"][1] for f in flat["features"])
    refused = abi(*words, "parameters=3")
    assert refused.code == 5
    assert "Expected an envelope that the smallest network for 3 features fits into" in refused.sentence
    assert "nothing was trained" in abi(*words, "latency=1s").out


def test_a_feature_alone_is_of_the_newest_run_or_of_the_one_that_is_named(abi, recorded):
    newest = abi("explain", "size", "--workspace", recorded, "--json").json
    assert newest["model"] == "text/1"  # the last of `RUNS`
    for words in (["size", "--run", "network/1"], ["network/1", "size"], ["network/1", "--feature", "size"]):
        told = abi("explain", *words, "--workspace", recorded, "--json").json
        assert (told["model"], told["feature"]["name"]) == ("network/1", "size")


@pytest.mark.parametrize("name", list(RUNS))
def test_a_feature_s_story_has_its_next_step_and_what_the_even_split_would_have_given(abi, recorded, name):
    told = abi("explain", f"{name}/1", "size", "--workspace", recorded, "--json").json
    parts = {"trees": {"trees"}, "network": {"network"}}.get(told["family"], {"network", "trees"})
    assert {step["part"] for step in told["next"]} == parts
    kept = next(r for r in told["rounds"] if r["kept"])
    for step in told["next"]:
        given = kept["trees"]["bins"] if step["part"] == "trees" else kept["capacity"]["width"]
        assert step["now"] == given
    if told["family"] == "trees":
        assert told["even_trees"]["contribution"] == 1
    else:
        assert told["even"]["width"] >= 1
    out = abi("explain", f"{name}/1", "size", "--workspace", recorded).out
    assert "next       " in out
    assert "even split would have given it " in out


def test_a_run_alone_is_about_its_plan(abi, recorded):
    _, plain = _run_json(recorded, "network")
    for reference in ("network/1", plain["run_id"][:12]):
        told = abi("explain", reference, "--workspace", recorded, "--json").json
        assert {s["feature"] for s in told["steps"]} == {"size", "weight", "colour"}
        assert told["bound"]
        assert (told["model"], told["notes"]) == ("network/1", [])
    out = abi("explain", "trees/1", "--workspace", recorded).out
    assert out.startswith("trees/1\n")
    assert "what lost" in out


def test_what_neither_a_run_nor_a_feature_is_called(abi, recorded, tmp_path):
    for words, said in (
        (["sise"], "Expected a run, or a feature of the newest run text/1, got 'sise': did you mean 'size', 'said'?"),
        (["nothing like it"], "the features are 'size', 'weight', 'colour', 'said'."),
        (["auto/9"], "Expected one run 'auto/9' in"),
        (["abcdef99"], "Expected one run 'abcdef99' in"),
        (["auto/1", "size", "--run", "trees/1"], "Expected one run, got 'auto/1' and --run 'trees/1'"),
        (["size", "--run", "what is this"], "Expected a run id of at least 4 digits"),
    ):
        answer = abi("explain", *words, "--workspace", recorded)
        assert answer.code == 2, words
        assert said in answer.sentence
    (tmp_path / "empty").mkdir()
    answer = abi("explain", "size", "--workspace", tmp_path / "empty")
    assert answer.code == 2
    assert "Expected a run in" in answer.sentence


def test_a_word_that_is_a_feature_and_a_run_has_to_be_told_apart(abi, copied):
    path, plain = _run_json(copied, "network")
    plain["run_id"] = "cafe" + plain["run_id"][4:]
    path.write_text(json.dumps(plain))
    from tasks import runs

    with pytest.MonkeyPatch.context() as patch:
        newest = runs.load_run(Workspace.open(copied), load_config(None, {}), "text/1")
        schema = newest.problem.schema
        renamed = replace(schema, features=(replace(schema.features[0], name="cafe"), *schema.features[1:]))
        checks = replace(newest.checks, problem=replace(newest.problem, schema=renamed))
        patch.setattr("flows.explained.newest_run", lambda ws, config: replace(newest, checks=checks))
        answer = abi("explain", "cafe", "--workspace", copied)
    assert answer.code == 2
    assert "Expected a feature or a run, got 'cafe', which is both" in answer.sentence


def test_diff_of_runs_has_layers_and_execution_and_takes_a_plan_in_a_file_beside_a_run(abi, recorded, tmp_path):
    found = abi("diff", "network/1", "auto/1", "--workspace", recorded, "--json").json
    assert set(found["plan"]["layers"]) == {"feature_extraction", "middle", "output"}
    assert found["plan"]["backbone"]["members"][0] == 2
    out = abi("diff", "network/1", "auto/1", "--workspace", recorded).out
    assert "\nlayers     feature extraction " in out
    _, plain = _run_json(recorded, "network")
    value = json.loads((recorded / "values" / f"{plain['values']['round-1']}.json").read_bytes())
    (tmp_path / "round.json").write_text(json.dumps(value))
    beside = abi("diff", tmp_path / "round.json", "network/1", "--workspace", recorded, "--json").json
    assert (beside["before"], beside["after"]) == ("round.json", "network/1")
    assert {f["feature"] for f in beside["features"]} == {"size", "weight", "colour"}
