"""A pretrained encoder from `abi run` to predictions of another process."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from abi.config import load_config
from abi.documents import find
from abi.errors import UsageError
from abi.problem import Checks
from tasks.checks import validate
from tasks.orchestration import finished
from tasks.preflight import pose_problem
from tasks.stage import Call
from tasks.tuning import TUNE
from tasks.workspace import Workspace

QUICK = ("training.epochs=6", "training.threads=1", "iterate.rounds=1", "attention.temperatures=[0.4]")
QUICK_TOO = ("evaluation.resamples=100", "evaluation.latency_calls=5", "checks.data_docs=false")


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Short reviews, good or bad, some of them missing."""
    random = np.random.default_rng(0)
    said = random.choice(["good", "bad"], 240)
    texts = [f"the {' '.join(random.choice(['film', 'plot', 'very', 'a', 'is'], 5))} {word}" for word in said]
    table = pd.DataFrame({"review": texts, "label": np.where(said == "good", "yes", "no")})
    table.loc[:9, "review"] = None
    table.to_csv(tmp_path / "reviews.csv", index=False)
    return tmp_path / "reviews.csv"


@pytest.fixture
def ordered(tmp_path: Path) -> Path:
    """Reviews that both praise and blame; what comes last counts. To an encoder with random weights order tells little."""
    random = np.random.default_rng(0)
    last = random.choice(["good", "bad"], 240)
    first = np.where(last == "good", "bad", "good")
    between = [" ".join(random.choice(["film", "plot", "very", "a", "is"], 3)) for _ in last]
    texts = [f"the {a} {words} {b}" for a, words, b in zip(first, between, last, strict=True)]
    table = pd.DataFrame({"review": texts, "label": np.where(last == "good", "yes", "no")})
    table.loc[:9, "review"] = None
    table.to_csv(tmp_path / "reviews.csv", index=False)
    return tmp_path / "reviews.csv"


def _run(abi, data, ws, encoder, *more):
    flags = [word for setting in (*QUICK, *QUICK_TOO, *more) for word in ("--set", setting)]
    named = ["--set", "data.columns.review=text", "--set", f"data.encoders.review.path={encoder}"]
    return abi("run", data, "--target", "label", "--workspace", ws, *named, *flags, "--json")


def test_a_run_with_an_encoder_is_planned_kept_and_predicted_from(
    abi, command, without_prefect, reviews, tiny_bert, tmp_path
):
    encoder = shutil.copytree(tiny_bert, tmp_path / "encoder")
    ws = tmp_path / "ws"
    answer = _run(abi, reviews, ws, encoder)
    assert answer.code == 0, answer.err
    assert set(answer.json["attention"]) == {"review", "review:encoder"}
    assert len(list((ws / "vectors").iterdir())) == 1
    told = abi("predict", reviews, "--workspace", ws, "--version", 1)
    assert told.code == 0, told.err
    assert command("predict", reviews, "--workspace", ws, "--version", 1).out == told.out
    shutil.rmtree(encoder)
    gone = abi("predict", reviews, "--workspace", ws, "--version", 1)
    assert gone.code == 3
    assert "embed: true" in gone.sentence


def test_an_embedded_encoder_needs_no_folder(abi, without_prefect, reviews, tiny_bert, tmp_path):
    encoder = shutil.copytree(tiny_bert, tmp_path / "encoder")
    answer = _run(abi, reviews, tmp_path / "ws", encoder, "data.encoders.review.embed=true")
    assert answer.code == 0, answer.err
    shutil.rmtree(encoder)
    told = abi("predict", reviews, "--workspace", tmp_path / "ws", "--version", 1)
    assert told.code == 0, told.err


def test_other_settings_of_an_encoder_reach_the_model_that_was_trained_before(
    abi, without_prefect, reviews, tiny_bert, tmp_path
):
    first, second = (shutil.copytree(tiny_bert, tmp_path / name) for name in ("first", "second"))
    ws = tmp_path / "ws"
    assert _run(abi, reviews, ws, first).code == 0
    told = abi("predict", reviews, "--workspace", ws, "--version", 1)
    assert _run(abi, reviews, ws, second, "data.encoders.review.embed=true").code == 0
    shutil.rmtree(first)
    shutil.rmtree(second)
    assert abi("predict", reviews, "--workspace", ws, "--version", 2).out == told.out  # it carries it


TUNED = ('data.encoders.review.tune={"epochs": 8, "learning_rate": 0.01}', "data.validation=0.25")


def test_a_tuned_encoder_is_used_kept_and_replayed(abi, command, without_prefect, ordered, tiny_bert, tmp_path):
    encoder = shutil.copytree(tiny_bert, tmp_path / "encoder")
    ws = tmp_path / "ws"
    answer = _run(abi, ordered, ws, encoder, *TUNED)
    assert answer.code == 0, answer.err
    (tuned,) = answer.json["tuned"]
    table = pd.read_csv(ordered)
    assert tuned["kept"]
    assert tuned["loss_after"] < tuned["loss_before"]
    assert (
        tuned["rows"] == tuned["rows_there"] < 0.75 * table["review"].notna().sum()
    )  # neither validation nor test rows
    assert tuned["base"] != tuned["sha256"]
    assert [path.name for path in (ws / "encoders").iterdir()] == [tuned["sha256"]]
    assert "Encoders tuned for the target" in Path(answer.json["report"]).read_text()
    entries = abi("audit", "ls", "--workspace", ws, "--json").json["entries"]
    assert [entry["detail"]["tuned"][0]["sha256"] for entry in entries if "tuned" in entry["detail"]] == [
        tuned["sha256"]
    ]
    replayed = abi("replay", "reviews/1", "--workspace", ws)
    assert replayed.code == 0, replayed.err
    told = abi("predict", ordered, "--workspace", ws, "--version", 1)
    robust = abi("eval", "--robust", "reviews/1", "--workspace", ws, "--json")  # by the settings of then
    assert robust.code == 0, robust.err
    assert robust.json["value"]["robustness"]["perturbed"]
    shutil.rmtree(ws / "encoders")
    shutil.rmtree(encoder)
    assert command("predict", ordered, "--workspace", ws, "--version", 1).out == told.out  # the model carries it
    gone = abi("replay", "reviews/1", "--workspace", ws)
    assert gone.code == 1, gone.err
    assert "is not there" in gone.out


def test_an_encoder_that_tuning_does_not_help_stays(abi, without_prefect, reviews, tiny_bert, tmp_path):
    table = pd.read_csv(reviews)
    table["label"] = np.random.default_rng(1).choice(["yes", "no"], len(table))
    table.to_csv(reviews, index=False)
    answer = _run(abi, reviews, tmp_path / "ws", tiny_bert, *TUNED)
    assert answer.code == 0, answer.err
    (tuned,) = answer.json["tuned"]
    assert not tuned["kept"]
    assert tuned["sha256"] == tuned["base"]
    assert "which stays" in answer.err
    assert not (tmp_path / "ws" / "encoders").exists()


def test_what_was_tuned_is_not_tuned_again(ordered, tiny_bert, tmp_path, monkeypatch):
    encoder = {"path": str(tiny_bert), "tune": {"epochs": 8, "learning_rate": 0.01}}
    settings = {"data.columns": {"review": "text"}, "data.encoders.review": encoder, "data.validation": 0.25}
    call = Call.of(Workspace.open(tmp_path / "ws"), "reviews", load_config(settings=settings, ambient=False))
    checks = validate(call, pose_problem(call, str(ordered), None, "label"))
    first = finished(call, TUNE, (checks,))
    with monkeypatch.context() as patch:
        patch.setattr("tasks.tuning.tune_encoder", lambda *_, **__: pytest.fail("it was tuned again"))
        assert finished(call, TUNE, (checks,)) == first
    (folder,) = (call.ws.encoders).iterdir()
    shutil.rmtree(folder)
    finished(call, TUNE, (checks,))  # without it, it is made again: the same
    assert [path.name for path in call.ws.encoders.iterdir()] == [folder.name]
    assert not list(call.ws.checkpoints.iterdir())


@pytest.mark.parametrize("task", ["regression", "multiclass", "multilabel"])
def test_every_task_is_tuned_for(task, reviews, tiny_bert, tmp_path):
    table = pd.read_csv(reviews)
    said = table["review"].fillna("").str
    target = {
        "regression": 5.0 + 20 * said.count("film") - 10 * said.startswith("the film"),
        "multiclass": said.split().str[1].where(table["review"].notna(), "none"),
        "multilabel": np.where(said.contains("film"), "f|", "") + np.where(said.contains("good"), "g", "b"),
    }
    table.assign(label=target[task]).to_csv(reviews, index=False)
    encoder = {"path": str(tiny_bert), "tune": {"epochs": 4, "learning_rate": 0.02, "layers": 1}}
    settings = {"data.columns": {"review": "text"}, "data.encoders.review": encoder, "data.task": task}
    settings |= {"data.separator": "|"} if task == "multilabel" else {}
    call = Call.of(Workspace.open(tmp_path / "ws"), "reviews", load_config(settings=settings, ambient=False))
    checks = validate(call, pose_problem(call, str(reviews), None, "label"))
    found = find(call.ws.get(finished(call, TUNE, (checks,))), Checks)
    (tuned,) = found.tuned
    assert found.problem.schema.task == task
    assert tuned.layers == 1
    assert tuned.train_loss < (1.5 if task == "regression" else 2.0)  # regression's is of the standardised target
    assert [f.encoder.sha256 for f in found.problem.schema.features if f.encoder is not None] == [tuned.sha256]
    assert Checks.from_json(found.to_json()) == found


def test_few_rows_are_not_tuned_on(abi, without_prefect, reviews, tiny_bert, tmp_path):
    pd.read_csv(reviews).head(90).to_csv(reviews, index=False)
    answer = _run(abi, reviews, tmp_path / "ws", tiny_bert, *TUNED)
    assert answer.code == 3
    assert (
        "Expected at least 64 training rows with a text in the column 'review' to tune its encoder" in answer.sentence
    )


def test_tune_is_written_only_where_it_is_asked_for(tiny_bert):
    def encoder(**more):
        named = load_config(settings={"data.encoders.review": {"path": str(tiny_bert), **more}}, ambient=False)
        return named.recorded()["data"]["encoders"]["review"]

    assert "tune" not in encoder()
    assert encoder(tune=False) == encoder()
    assert encoder(tune=True)["tune"] == {"epochs": 3, "learning_rate": 5e-5, "layers": 2}
    assert encoder(tune={"layers": 4})["tune"]["layers"] == 4
    with pytest.raises(UsageError, match=r"data\.encoders\.review\.tune\.layers"):
        encoder(tune={"layers": 0})


def test_a_column_without_text_has_no_encoder(abi, without_prefect, data, tiny_bert, tmp_path):
    answer = abi(
        "run", data, "--target", "label", "--workspace", tmp_path / "ws", "--set", f"data.encoders.size={tiny_bert}"
    )
    assert answer.code == 2
    assert "name a column of text" in answer.sentence
