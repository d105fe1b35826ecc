"""`abi monitor` from the command line, against one real run."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

from abi.audit.entry import Draft
from abi.documents import read_document
from abi.monitored import Drift
from abi.operations import AuditConfig
from tasks.ledger import Ledger
from tasks.workspace import Workspace

FEATURES = ["size", "weight", "count", "colour", "new"]


@pytest.fixture(scope="module")
def place(tmp_path_factory, command, plain, frame, quick):
    """A folder with a workspace in which `shop` was trained, and tables to look at."""
    folder = tmp_path_factory.mktemp("monitor")
    frame(rows=1200).to_csv(folder / "shop.csv", index=False)
    frame(rows=300, seed=1).to_csv(folder / "fresh.csv", index=False)
    moved = frame(rows=300, seed=2)
    moved["size"] += 2
    moved["colour"] = moved["colour"].fillna("pink")
    moved.to_csv(folder / "moved.csv", index=False)
    moved.head(5).to_csv(folder / "few.csv", index=False)
    moved.assign(size="big").to_csv(folder / "words.csv", index=False)
    flags = [*quick, "--set", "iterate.rounds=1", "--set", "training.family=network"]
    answer = command(
        "run", folder / "shop.csv", "--target", "label", "--workspace", folder / "ws", "-q", *flags, before=plain
    )
    assert answer.code == 0, answer.err
    return folder


@pytest.fixture
def look(place, abi):
    """Monitor a file of the place."""

    def run(name, *flags):
        return abi("monitor", place / name, "--workspace", place / "ws", *flags)

    return run


@pytest.fixture
def ledger(place):
    return Ledger.open(Workspace.open(place / "ws"), AuditConfig())


@pytest.fixture(autouse=True)
def quiet_before(place):
    """Each test begins without an alarm, whatever was found before it."""
    ledger = Ledger.open(Workspace.open(place / "ws"), AuditConfig())
    last = ledger.last("drift", "shop")
    if last is not None and last.detail["alarm"]:
        detail = {**last.detail, "alarm": False, "since": None, "level": 0.0}
        ledger.append(Draft(kind="drift", model="shop", values=last.values, detail=detail))


def test_the_rows_that_it_was_trained_on_and_others_like_them_are_no_drift(look, ledger):
    for name in ("shop.csv", "fresh.csv"):
        answer = look(name, "--json")
        assert answer.code == 0, answer.err
        drift = read_document(answer.json)
        assert isinstance(drift, Drift)
        assert [f.feature for f in drift.features] == FEATURES
        assert not drift.alarm
        assert drift.reasons == ()
        assert drift.prediction is not None
        assert drift.attention is not None
        assert drift.psi < 0.1
    entry = ledger.last("drift", "shop")
    assert entry.values["drift"] == drift.id
    assert entry.values["reference"] == drift.reference
    assert (entry.detail["alarm"], entry.detail["version"], entry.detail["rows"]) == (False, 1, 300)
    assert drift.attention.distance == entry.detail["attention_distance"]


def test_rows_that_moved_are_drift_with_a_table_for_each_feature(look, ledger, tmp_path):
    (tmp_path / "file").touch()
    closed = look("moved.csv", "--out", tmp_path / "file" / "out")
    assert (closed.code, "another place with --out." in closed.sentence) == (1, True)
    answer = look("moved.csv", "--out", tmp_path / "out", "--json")
    assert answer.code == 4
    assert "drift: 2 features with" in answer.err
    drift = read_document(answer.json)
    assert [f.feature for f in drift.features if f.drifted] == ["size", "colour"]
    assert drift.prediction.drifted
    colour = next(f for f in drift.features if f.feature == "colour")
    assert colour.missing_now == 0.0 < colour.missing_before
    assert colour.unseen == pytest.approx(0.25, abs=0.08)  # pink
    assert (drift.alarm, drift.due, drift.level > 1) == (True, True, True)
    assert json.loads((tmp_path / "out" / "drift.json").read_text()) == answer.json
    names = sorted(path.name for path in (tmp_path / "out").glob("*.csv"))
    assert names == [
        "001-size.csv",
        "002-weight.csv",
        "003-count.csv",
        "004-colour.csv",
        "005-new.csv",
        "006-prediction.csv",
    ]
    for name in names:
        rows = list(csv.DictReader((tmp_path / "out" / name).read_text().splitlines()))
        assert sum(int(row["rows_now"]) for row in rows) == 300
        assert sum(float(row["share_now"]) for row in rows) == pytest.approx(1, abs=1e-4)
    entry = ledger.last("drift", "shop")
    assert entry.detail["alarm"]
    assert entry.detail["drifted"] == ["size", "colour"]
    assert entry.detail["psi_max"] == drift.psi > 0.25


def test_a_person_reads_a_table_and_why(look):
    answer = look("moved.csv")
    assert answer.code == 4
    assert "no version of 'shop' was promoted yet: held against the newest, 1" in answer.out
    assert "alarm on since" in answer.out
    table = [line.split() for line in answer.out.splitlines()[:8]]
    assert [(row[0], row[-1]) for row in table if row[0] in {"size", "weight", "predictions"}] == [
        ("size", "yes"),
        ("weight", "no"),
        ("predictions", "yes"),
    ]


def test_the_limits_are_settings_and_an_alarm_stays_on_within_the_hysteresis(look):
    level = read_document(look("moved.csv", "--json").json).level
    limits = ["--set", "monitor.psi=0.999e3", "--set", "monitor.attention=1"]
    assert look("moved.csv", *limits).code == 0
    # the limit just above what was found: no alarm by itself, but one that was on stays on
    near = ["--set", f"monitor.psi={0.25 * level * 1.1}", "--set", "monitor.attention=1"]
    assert look("moved.csv", *near).code == 0
    assert look("moved.csv").code == 4
    answer = look("moved.csv", *near)
    assert answer.code == 4
    assert "stays on" in answer.err
    answer = look("few.csv")
    assert answer.code == 4
    assert "stays on: these rows are too few to end it: look at more rows." in answer.err
    assert look("fresh.csv").code == 0
    answer = look("words.csv")
    assert answer.code == 3
    assert "Expected numbers in column 'size', got 'big' and the like in all" in answer.err


def test_a_target_is_not_needed_and_other_columns_are_ignored(look, place, frame):
    bare = frame(rows=200, seed=4).drop(columns="label").assign(extra=1)
    bare[["extra", "new", "colour", "count", "weight", "size"]].to_parquet(place / "bare.parquet")
    answer = look("bare.parquet", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["value"]["attention"] is None
    assert any("the rows have no 'label'" in note for note in answer.json["value"]["notes"])
    strange = frame(rows=200, seed=4)
    strange["label"] = "perhaps"
    strange.to_csv(place / "strange.csv", index=False)
    answer = look("strange.csv", "--json")
    assert answer.code == 0, answer.err
    assert any("perhaps" in note for note in answer.json["value"]["notes"])


def test_few_rows_are_not_judged(look, place, frame):
    few = frame(rows=10, seed=4)
    few["size"] += 50
    few.to_csv(place / "few.csv", index=False)
    answer = look("few.csv", "--json")
    assert answer.code == 0, answer.err
    assert not answer.json["value"]["judged"]
    assert look("few.csv", "--set", "monitor.rows=5").code == 4


def test_what_cannot_be_read_is_said(look, place, frame, abi, tmp_path):
    frame(rows=50).drop(columns=["size", "new"]).to_csv(place / "lacking.csv", index=False)
    answer = look("lacking.csv")
    assert answer.code == 3
    assert "got no 'size', 'new': add them to the file" in answer.sentence
    assert look("nothing.csv").code == 2
    (place / "empty.csv").write_text("")
    assert look("empty.csv").code == 3
    assert look("fresh.csv", "--model", "other").code == 2
    answer = abi("monitor", place / "fresh.csv", "--workspace", tmp_path / "bare")
    assert answer.code == 2
    assert "found none: `abi run` makes one" in answer.sentence
    assert not (tmp_path / "bare").exists()


def test_a_workspace_without_the_models_files_takes_them_from_the_registry(look, place):
    models = place / "ws" / "models"
    shutil.move(models, place / "models")
    try:
        answer = look("moved.csv", "--json")
    finally:
        shutil.rmtree(models)
        shutil.move(place / "models", models)
    assert answer.code == 4
    assert answer.json["value"]["prediction"]["drifted"]


def test_a_version_of_before_there_were_references_is_named(look, place, tmp_path):
    (kept,) = (place / "ws" / "mlartifacts").glob("*/artifacts/values/reference.json")
    kept.rename(tmp_path / "reference.json")
    try:
        answer = look("fresh.csv")
    finally:
        (tmp_path / "reference.json").rename(kept)
    assert answer.code == 2
    assert "train again with `abi run`" in answer.sentence
