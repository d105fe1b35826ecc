"""`abi adapt` from the command line: cold, from a champion, and with data that cannot be followed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from abi.documents import read_document
from tasks.decisions import open_ledger
from tasks.models import load_model
from tasks.registration import connect
from tasks.stage import Call
from tasks.workspace import Workspace

FAST = (
    "adapt.warmup=80", "adapt.window=100", "adapt.cooldown=100", "adapt.rounds=5", "adapt.epochs=1", "adapt.halves=[0]",
    "adapt.recent=[8]", "adapt.lags=1", "training.members=2", "training.block_width=16",
)  # fmt: skip

LAX = ("gates.champion=1", "gates.signal=false", "gates.movement=null")


@pytest.fixture
def fast(quick):
    return [*quick, *(word for setting in FAST for word in ("--set", setting))]


@pytest.fixture
def follow(abi, without_prefect, tmp_path, fast):
    """`abi adapt` in a workspace of its own."""

    def run(path, *flags):
        return abi("adapt", path, "--target", "label", "--workspace", tmp_path / "ws", *fast, *flags)

    return run


def test_a_stream_is_followed_cold_and_answered_again_at_once(follow, data, tmp_path, versions):
    answer = follow(data, "--json", "--every", "40", "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    result = answer.json
    assert (result["start"], result["begin"], result["rows"], result["scored"]) == ("cold", 80, 240, 160)
    assert set(result["controls"]) == {"never adapted", "persistence", "majority"}
    assert result["adaptations"][0]["causes"] == ["start"]
    assert sum(result["attention"].values()) == pytest.approx(1.0)
    assert "cold: 'shop' has no champion" in answer.err
    assert json.loads((tmp_path / "out" / "stream.json").read_bytes())["run_id"] == result["run_id"]
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!doctype html>")
    assert result["version"] == {"name": "shop", "version": 1, "uri": "models:/shop/1"}
    again = follow(data, "--json", "--every", "40")
    assert (again.json["run_id"], again.json["adapted"]) == (result["run_id"], result["adapted"])
    assert again.json["version"] == result["version"]
    assert "already there: models:/shop/1" in again.err
    assert versions(tmp_path / "ws") == 1
    other = follow(data, "--every", "80", "--no-register")
    assert "prequential accuracy" in other.out
    assert "Not registered: --no-register." in other.out
    assert versions(tmp_path / "ws") == 1
    assert "160 rows scored from row 81 on, 1 decision," in other.out
    assert len(list((tmp_path / "ws" / "runs").glob("stream-*"))) == 2


@pytest.mark.parametrize(
    ("change", "target", "code", "said"),
    [
        (lambda t: t.head(60), "label", 3, "Expected a stream with at least 50 labelled rows in its warm-up"),
        (lambda t: t.assign(label=np.nan), "label", 3, "got 0 and 160 of 240"),
        (lambda t: t, "lable", 2, "did you mean 'label'?"),
    ],
)
def test_what_cannot_be_followed_is_one_sentence(
    abi, without_prefect, frame, fast, tmp_path, change, target, code, said
):
    change(frame()).to_csv(tmp_path / "bad.csv", index=False)
    answer = abi("adapt", tmp_path / "bad.csv", "--target", target, "--workspace", tmp_path / "ws", "-q", *fast)
    assert answer.code == code
    assert said in answer.sentence


def test_the_order_that_is_asked_for_is_the_stream_s(follow, frame, tmp_path):
    table = frame()
    table["when"] = range(len(table))
    shuffled = table.sample(frac=1, random_state=1)
    found = {}
    for name, rows, order in (("sorted", table, []), ("mixed", shuffled, ["--set", "data.order=when"])):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
        answer = follow(tmp_path / f"{name}.csv", "--json", "--no-register", *order)
        assert answer.code == 0, answer.err
        assert ("rows are followed by 'when'" in answer.err) == bool(order)
        found[name] = answer.json["adapted"], answer.json["controls"]
    assert found["mixed"] == found["sorted"]
    answer = follow(tmp_path / "mixed.csv", "--set", "data.order=whn", "-q")
    assert (answer.code, "Expected data.order as a column" in answer.sentence) == (2, True)


def test_a_stream_has_no_pretrained_encoders(follow, data):
    answer = follow(data, "--set", "data.encoders.note=folder", "-q")
    assert answer.code == 2
    assert "Expected no data.encoders where a stream is followed, got 'note'" in answer.sentence


@pytest.mark.parametrize("setting", ["adapt.label_delay=0", "adapt.experts=[forest]", "adapt.unknown=1"])
def test_settings_are_checked(follow, data, setting):
    assert follow(data, "--set", setting, "-q").code == 2


def test_a_champion_begins_and_its_weights_are_taken_over(command, plain, abi, without_prefect, frame, fast, tmp_path):
    train, later, ws = tmp_path / "shop.csv", tmp_path / "later.csv", tmp_path / "ws"
    frame(rows=300).to_csv(train, index=False)
    frame(rows=240, seed=1).to_csv(later, index=False)
    more = ["--workspace", ws, *fast]
    trained = command(
        "run", train, "--target", "label", "-q", "--set", "training.family=network", "--set", "iterate.rounds=1", *more,
        before=plain,
    )  # fmt: skip
    assert trained.code == 0, trained.err
    call = Call.of(Workspace.open(ws), "shop", _config())
    _crown(call)

    warm = abi("adapt", later, "--target", "label", "--model", "shop", "--json", *more)
    assert warm.code == 0, warm.err
    result = warm.json
    assert (result["start"], result["champion"], result["begin"], result["scored"]) == ("champion", 1, 0, 240)
    assert "champion" in result["experts"]
    assert result["experts"]["champion"] == result["controls"]["never adapted"]
    assert result["adaptations"][0]["row"] >= 80
    assert result["adaptations"][0]["carried"] > 0

    assert result["version"]["version"] == 2
    own = abi("adapt", train, "--target", "label", "--model", "shop", "--no-register", "--json", *more)
    assert own.json["start"] == "cold"
    assert "learned from this very file" in own.err

    both = abi(
        "adapt", train, "--test", later, "--target", "label", "--model", "shop", "--no-register", "--json", *more
    )
    assert (both.json["start"], both.json["begin"], both.json["scored"]) == ("champion", 300, 240)

    lacking = tmp_path / "lacking.csv"
    frame(rows=240, seed=2).drop(columns="size").to_csv(lacking, index=False)
    answer = abi("adapt", lacking, "--target", "label", "--model", "shop", "-q", *more)
    assert answer.code == 3
    assert "got no 'size'" in answer.sentence
    entry = next(iter(open_ledger(call).entries(kinds=("adaptation",), model="shop")))
    found = connect(call).document(result["run_id"], "values/adapted.json")
    assert read_document(found).adaptations[0].attention == entry.values["attention"]

    _promoted(abi, call, later, result, frame, more, tmp_path)


def _promoted(abi, call, later, followed, frame, more, tmp_path):
    """The adapted version takes the place of the champion it began from, predicts, and goes back."""
    lax = [word for name in LAX for word in ("--set", name)]
    promoted = abi("promote", "--model", "shop", "--json", *more, *lax)
    assert promoted.code == 0, promoted.err
    gates = {r["name"]: r for r in promoted.json["gates"]["results"]}
    never = followed["controls"]["never adapted"]
    assert gates["champion"]["got"].startswith(f"accuracy {followed['adapted'] - never:+.4f}")
    assert promoted.json["gates"]["rows"] == followed["scored"]
    assert gates["loads"]["status"] == "passed"
    assert gates["baseline"]["status"] == "passed"
    assert gates["baseline"]["expected"].endswith("of the last label's value")
    for name in ("uniform", "slices", "calibration", "memory", "checks"):
        assert (gates[name]["status"], gates[name]["got"][:10]) == ("off", "no figure:"), name

    entry = open_ledger(call).last("registration", "shop")
    assert (entry.detail["version"], entry.detail["along"]["champion"]) == (2, 1)
    ahead = frame(rows=20, seed=5).drop(columns="label")
    ahead.to_csv(tmp_path / "ahead.csv", index=False)
    told = abi("predict", tmp_path / "ahead.csv", "--model", "shop", "--json", *more[:2])
    assert told.code == 0, told.err
    kept = load_model(call, entry.detail["artifact"]).predict(ahead)
    assert [row["prediction"] for row in told.json["predictions"]] == kept["prediction"].tolist()

    again = abi("adapt", later, "--target", "label", "--model", "shop", "--json", *more)
    assert (again.json["version"]["version"], again.json["start"], again.json["champion"]) == (2, "champion", 1)
    assert "which has followed this very stream" in again.err
    assert abi("rollback", "--model", "shop", "--reason", "as it was", *more[:2]).code == 0
    assert open_ledger(call).aliases("shop").champion == 1
    assert open_ledger(call).verify().entries == open_ledger(call).size()


def _config():
    from abi.config import load_config

    return load_config(None, {}, ambient=False)


def _crown(call: Call) -> None:
    """Version 1 becomes champion, as a promotion leaves it."""
    from dataclasses import replace

    from abi.audit.entry import Draft

    draft = Draft(kind="promotion", model="shop", detail={"version": 1}, operation="promotion:test")
    open_ledger(call).change(draft, lambda now: replace(now, champion=1, challenger=None))
