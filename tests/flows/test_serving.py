"""Registered models in use, from the command line: verified first, then asked."""

from __future__ import annotations

import json
import shutil
import signal
import urllib.error
import urllib.request

import pandas as pd
import pytest

from abi.config import TrackingConfig
from tasks.tracking import Tracking
from tasks.workspace import Workspace

WAIT_S = 180


@pytest.fixture(scope="module")
def workspace(command, plain, frame, quick, tmp_path_factory):
    """A workspace with one version of the model `shop`, which is its champion; and the table."""
    folder = tmp_path_factory.mktemp("serving")
    data = folder / "shop.csv"
    frame().to_csv(data, index=False)
    words = ["--target", "label", "--workspace", folder / "ws", *quick, "--set", "training.family=trees"]
    answer = command("run", data, *words, "--json", before=plain)
    assert answer.code == 0, answer.err
    answer = command("promote", "--approve", "--reason", "the only one", "--workspace", folder / "ws")
    assert answer.code == 0, answer.err
    return folder / "ws", data


@pytest.fixture
def predicted(abi, workspace):
    """What the model says of the table, as CSV."""
    answer = abi("predict", workspace[1], "--workspace", workspace[0])
    assert answer.code == 0, answer.err
    return answer.out


def test_predictions_in_every_form(abi, command, workspace, predicted, tmp_path):
    (ws, data), out = workspace, tmp_path / "out.csv"
    out.write_text(predicted)
    table = pd.read_csv(out)
    assert list(table.columns) == ["prediction", "probability_no", "probability_yes"]
    assert len(table) == len(pd.read_csv(data))
    told = abi("predict", data, "--workspace", ws, "--model", "shop", "--version", 1, "--json").json
    assert (told["model"], told["rows"]) == ("models:/shop/1", len(table))
    pd.testing.assert_frame_equal(pd.DataFrame(told["predictions"]), table)
    for name in ("shop/1", "shop/champion", "shop@champion", "models:/shop/1"):
        assert abi("predict", data, "--workspace", ws, "--model", name).out == predicted
    for name in ("new/out.csv", "out.parquet"):
        assert abi("predict", data, "--workspace", ws, "--out", tmp_path / name).out == ""
    assert (tmp_path / "new" / "out.csv").read_text() == predicted
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), table)
    assert command("predict", "-", "--workspace", ws, stdin=data.read_text()).out == predicted


def test_a_model_that_mlflow_has_loaded_is_still_the_one_that_was_signed(abi, workspace, predicted):
    import mlflow

    ws, data = workspace
    mlflow.set_tracking_uri(f"sqlite:///{ws}/mlflow.db")
    mlflow.pyfunc.load_model("models:/shop/1")  # which writes a note into the folder of the model
    assert list(ws.glob("mlartifacts/**/registered_model_meta"))
    assert abi("predict", data, "--workspace", ws).out == predicted


def test_what_cannot_be_predicted_is_one_sentence(abi, workspace, tmp_path):
    (ws, data), lacking = workspace, tmp_path / "lacking.csv"
    pd.read_csv(data).drop(columns="size").to_csv(lacking, index=False)
    for words, code, said in (
        ([data, "--out", tmp_path / "out.xlsx"], 2, "as a .csv or .parquet file"),
        ([tmp_path / "none.csv"], 2, "found none"),
        ([lacking], 3, "size"),
        ([data, "--alias", "challenger-of-others"], 2, "alias 'challenger-of-others'"),
        ([data, "--alias", "previous"], 2, "a previous of 'shop' in the ledger"),
        ([data, "--version", 9], 2, "version 9"),
        ([data, "--version", 10**22], 2, f"version {10**22}"),
        ([data, "--model", "other"], 2, "choose among 'shop'"),
        ([data, "--model", "shop/9"], 2, "version 9"),
        ([data, "--model", "shop/none"], 2, "alias 'none'"),
        ([data, "--model", "shop/1", "--version", 1], 2, "got 'shop/1' and --version 1: keep one"),
        ([data, "--model", "shop/1", "--alias", "previous"], 2, "got 'shop/1' and --alias previous: keep one"),
    ):
        answer = abi("predict", *words, "--workspace", ws)
        assert answer.code == code
        assert said in answer.sentence
    for port in (0, 70_000):
        beyond = abi("serve", "--workspace", ws, "--port", port)
        assert (beyond.code, f"got {port}: choose another" in beyond.sentence) == (2, True)
    (tmp_path / "empty").mkdir()
    assert "Expected --model NAME" in abi("predict", data, "--workspace", tmp_path / "empty").sentence


def test_the_ledger_says_who_is_champion_whatever_mlflow_says(abi, workspace, predicted):
    ws, data = workspace
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{ws}/mlflow.db")  # MLflow sets it as well, for good
        tracking = Tracking.open(Workspace(ws), TrackingConfig())
    tracking.client.create_model_version("shop", source="/nowhere")
    tracking.client.set_registered_model_alias("shop", "champion", "2")
    assert abi("predict", data, "--workspace", ws).out == predicted
    tracking.client.set_registered_model_alias("shop", "champion", "1")


def test_an_empty_table_on_stdin_is_said_of_stdin(command, workspace):
    answer = command("predict", "-", "--workspace", workspace[0], stdin="")
    assert (answer.code, "a table in stdin, got an empty file" in answer.sentence) == (3, True)


def test_a_server_answers_alike_and_ends_quietly(abi, background, workspace, predicted, free_port, tmp_path):
    (ws, data), port = workspace, free_port()
    process = background("serve", "--workspace", ws, "--port", port, "--json")
    try:
        url = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")["url"]
        rows = pd.read_csv(data).drop(columns="label").head(3)
        body = json.dumps({"dataframe_split": json.loads(rows.to_json(orient="split", index=False))}).encode()
        request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=WAIT_S) as reply:
            served = pd.DataFrame(json.load(reply)["predictions"])
        assert served.to_csv(index=False).splitlines() == predicted.splitlines()[:4]
        text = rows.to_csv(index=False).encode()
        for kind in ("text/csv", "text/csv; charset=utf-8"):
            with urllib.request.urlopen(
                urllib.request.Request(f"{url}/invocations", text, {"Content-Type": kind})
            ) as reply:
                assert pd.DataFrame(json.load(reply)["predictions"]).equals(served)
        for body, kind, said in (
            (b"", "text/csv", "a table in the request, got an empty file"),
            (b"other\n1\n", "text/csv", f"got no {', '.join(map(repr, rows.columns))}: add them"),
            (
                b'{"dataframe_records": [{}]}',
                "application/json",
                f"got no {', '.join(map(repr, rows.columns))}: add them",
            ),
            (
                b'{"dataframe_records": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
                "application/json",
                "nested too deeply",
            ),
            (
                b'{"dataframe_split": {"columns": ["a"], "data": [[1' + b"0" * 5_000 + b"]]}}",
                "application/json",
                "more digits than can be read",
            ),
            (b'{"instances": null}', "application/json", "Expected input to be DataFrame. Found: NoneType"),
            (b"{", "application/json", "Ensure that input is a valid JSON formatted string"),
            (
                json.dumps(
                    {"dataframe_records": [{**json.loads(rows.to_json(orient="records"))[0], rows.columns[0]: [1]}]}
                ).encode(),
                "application/json",
                "Expected one value per row",
            ),
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(urllib.request.Request(f"{url}/invocations", body, {"Content-Type": kind}))
            answer = json.load(refused.value)
            assert (refused.value.code, said in answer["message"], "stack_trace" in answer) == (400, True, False), (
                answer
            )
            assert "\n" not in answer["message"]
            assert "Failed to enforce schema of data" not in answer["message"]
        taken = abi("serve", "--workspace", ws, "--port", port)
        assert (taken.code, "choose another --port" in taken.sentence) == (2, True)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{url}/ping", timeout=5)


def test_a_stored_file_that_changed_is_refused_everywhere(abi, workspace, predicted, free_port, monkeypatch):
    ws, data = workspace
    weights = next(ws.glob("mlartifacts/models/*/artifacts/artifacts/*/trees.txt"))
    whole, honest = weights.parents[2], weights.read_bytes()
    monkeypatch.setenv("ABI_SIGNING__PUBLIC_KEY", str(ws / "keys" / "model.pub.pem"))
    import mlflow

    mlflow.pyfunc.load_model(str(whole))
    try:
        weights.write_bytes(honest + b"\n")
        # where MLflow loads the model without us, the weights' own signature is asked for
        with pytest.raises(Exception, match=r"'trees\.txt' in .* as signed, got other content"):
            mlflow.pyfunc.load_model(str(whole))
        for words in (("predict", data), ("serve", "--port", free_port())):
            answer = abi(*words, "--workspace", ws)
            assert answer.code == 6
            assert "trees.txt' as signed, got other content" in answer.sentence
    finally:
        weights.write_bytes(honest)
    assert abi("predict", data, "--workspace", ws).out == predicted


def test_a_kept_model_that_changed_stops_the_stage_and_can_be_trained_again(abi, data, quick, tmp_path):
    flags = ["--workspace", tmp_path / "ws", "--json", *quick, "--set", "training.family=trees"]
    source = data
    for verb in ("check", "score", "fit", "plan", "train"):
        answer = abi(verb, source, *(["--target", "label"] if verb == "check" else []), *flags)
        assert answer.code == 0, answer.err
        source = tmp_path / f"{verb}.json"
        source.write_text(answer.out)
    trees = next((tmp_path / "ws" / "models").glob("*/trees.txt"))
    trees.write_bytes(trees.read_bytes() + b"\n")
    refused = abi("eval", source, *flags)
    assert (refused.code, "'trees.txt' in" in refused.sentence) == (6, True)
    shutil.rmtree(trees.parent)
    assert abi("train", tmp_path / "plan.json", *flags).code == 0
    assert abi("eval", source, *flags).code == 0


def test_a_changed_key_keeps_what_the_old_one_signed_unless_it_is_revoked(abi, workspace, predicted):
    ws, data = workspace
    shown = abi("keys", "show", "--workspace", ws, "--json").json
    first = shown["trusted"][0]["fingerprint"]
    assert shown["can_sign"]
    changed = abi("keys", "rotate", "--workspace", ws, "--json").json
    assert changed == {"before": first, "new": changed["new"], "revoked": False}
    assert abi("predict", data, "--workspace", ws).out == predicted
    text = abi("keys", "show", "--workspace", ws).out
    assert text.index(changed["new"]) < text.index(first)
    (entry,) = abi("audit", "ls", "--kind", "signing", "--workspace", ws, "--json").json["entries"]
    assert entry["detail"] == changed
    assert abi("audit", "verify", "--workspace", ws).code == 0
    (ws / "keys" / "trusted" / f"{first}.pem").unlink()
    answer = abi("predict", data, "--workspace", ws)
    assert (answer.code, "a trusted key" in answer.sentence) == (6, True)
    assert "is refused" in abi("keys", "rotate", "--revoke", "--workspace", ws).out
