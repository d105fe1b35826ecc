from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ABI = f"{shlex.quote(sys.executable)} -c 'from flows.cli import main; main()'"


@pytest.fixture
def flags(tmp_path, quick):
    return ["--workspace", tmp_path / "ws", "--json", *quick]


@pytest.fixture
def documents(abi, data, flags, tmp_path):
    """What each stage printed, one after the other through files."""
    printed = {"check": abi("check", data, "--target", "label", *flags)}
    for before, verb in (("check", "score"), ("score", "fit"), ("fit", "plan"), ("plan", "train"), ("train", "eval")):
        assert printed[before].code == 0, printed[before].err
        path = tmp_path / f"{before}.json"
        path.write_text(printed[before].out)
        printed[verb] = abi(verb, path, *flags)
    (tmp_path / "eval.json").write_text(printed["eval"].out)
    return printed


def test_each_stage_reads_what_the_one_before_printed(abi, documents, flags, tmp_path, monkeypatch):
    kinds = {
        "check": "Checks",
        "score": "Scores",
        "fit": "Attention",
        "plan": "Plan",
        "train": "Trained",
        "eval": "Evaluation",
    }
    assert {verb: answer.json["kind"] for verb, answer in documents.items()} == kinds
    assert {control["name"] for control in documents["eval"].json["value"]["controls"]} == {"uniform", "baseline"}

    monkeypatch.chdir(tmp_path)
    written = abi("report", "eval.json", *flags)
    assert written.json == {"report": "report.html"}
    assert Path("report.html").read_text().startswith("<!")
    elsewhere = abi("report", "eval.json", *flags, "--out", tmp_path / "new" / "page.html")
    assert elsewhere.code == 0
    assert (tmp_path / "new" / "page.html").is_file()

    # another order of stages, and values that are none, are refused by name
    for verb, source, wanted in (
        ("fit", "check.json", "Scores"),
        ("train", "fit.json", "Plan"),
        ("eval", "plan.json", "Trained"),
        ("report", "train.json", "Evaluation"),
    ):
        answer = abi(verb, source, *flags)
        assert answer.code == 2
        assert wanted in answer.sentence

    # a value that was changed is noticed
    changed = json.loads(Path("fit.json").read_text())
    changed["value"]["weights"][0]["weight"] += 0.1
    Path("changed.json").write_text(json.dumps(changed))
    answer = abi("plan", "changed.json", *flags)
    assert answer.code == 2
    assert "unchanged" in answer.sentence
    del changed["value"]["weights"]
    Path("changed.json").write_text(json.dumps(changed))
    answer = abi("plan", "changed.json", *flags)
    assert answer.code == 2
    assert answer.sentence

    # another machine, which has nothing but the remote
    def elsewhere_flags(name):
        return ["--workspace", tmp_path / name, *flags[2:]]

    remote = ["--set", f"tracking.remote={tmp_path / 'ws' / 'dvc-remote'}"]
    answer = abi("plan", "fit.json", *elsewhere_flags("other"), *remote, "--budget", "parameters=20k")
    assert answer.code == 0, answer.err
    assert answer.json["value"]["predicted"]["parameters"] <= 20_000
    bare = abi("plan", "fit.json", *elsewhere_flags("bare"))
    assert bare.code == 1
    assert "tracking.remote" in bare.sentence
    modelless = abi("eval", "train.json", *elsewhere_flags("other"), *remote)
    assert modelless.code == 1
    assert "Train the model again" in modelless.sentence

    # and for people, tables
    for verb, word in (
        ("score", "relevance"),
        ("fit", "entropy"),
        ("plan", "Predicted:"),
        ("train", "validation loss"),
    ):
        source = {"score": "check", "fit": "score", "plan": "fit", "train": "plan"}[verb]
        answer = abi(verb, f"{source}.json", *[flag for flag in flags if flag != "--json"])
        assert answer.code == 0, answer.err
        assert word in answer.out


def test_score_of_a_file(abi, data, flags):
    answer = abi("score", data, "--target", "label", *flags)
    assert answer.code == 0, answer.err
    assert {f["feature"] for f in answer.json["value"]["features"]} == {"size", "weight", "count", "colour", "new"}
    without = abi("score", data, *flags)
    assert without.code == 2
    assert "--target" in without.sentence


@pytest.mark.slow
def test_stages_compose_in_a_pipe(data, flags, tmp_path):
    words = shlex.join(map(str, flags))
    line = f"{ABI} score {data} --target label {words} | {ABI} fit - {words} | {ABI} plan - {words}"
    ran = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["kind"] == "Plan"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"kind": "Plan"}',
        '{"kind": "Spell", "value": {}}',
        "snapshot  240 rows",
        "\ufeff",
        '{"kind": ["Plan"], "value": 3}',
    ],
)
def test_what_is_no_value_is_refused(abi, flags, tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    for verb in ("fit", "report"):
        answer = abi(verb, tmp_path / "x.json", *flags)
        assert answer.code == 2
        assert answer.sentence


def test_a_run_that_is_not_there(abi, flags, tmp_path):
    (tmp_path / "ws").mkdir()
    answer = abi("report", "0123456789abcdef", *flags)
    assert answer.code == 2
    assert "run_id" in answer.sentence


def test_a_dry_run_shows_the_plan_and_registers_nothing(abi, data, flags, versions, tmp_path):
    answer = abi("run", data, "--target", "label", "--dry-run", *flags)
    assert answer.code == 0, answer.err
    assert answer.json["kind"] == "Plan"
    assert versions(tmp_path / "ws") == 0
    assert not list((tmp_path / "ws" / "models").iterdir())
