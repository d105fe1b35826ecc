"""`abi plan ATTENTION.json` with --explain and --what-if, and `abi diff` of plans in files."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from flows import cli


@pytest.fixture(scope="module")
def fitted(frame: Any, quick: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace and `a.json`, what `abi fit --json` printed."""
    folder = tmp_path_factory.mktemp("own")
    frame().to_csv(folder / "shop.csv", index=False)
    flags = ["--workspace", str(folder / "ws"), *quick, "--set", "training.family=network", "--json", "-q"]
    _write(folder / "s.json", ["score", str(folder / "shop.csv"), "--target", "label", *flags])
    _write(folder / "a.json", ["fit", str(folder / "s.json"), *flags])
    return folder


def _write(path: Path, words: list[str]) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert cli.execute(words) == 0
    path.write_text(out.getvalue())


@pytest.fixture(name="plan")
def _plan(abi: Any, fitted: Path, quick: list[str]) -> Any:
    def run(*words: object, family: str = "network") -> Any:
        flags = ["--workspace", fitted / "ws", *quick, "--set", f"training.family={family}", "-q"]
        return abi("plan", fitted / "a.json", *words, *flags)

    return run


def test_explain_says_what_binds_what_limits_are_worth_the_next_steps_and_what_lost(plan):
    answer = plan("--explain", "--budget", "parameters=8k", "--json")
    assert answer.code == 0, answer.err
    told = answer.json["explanation"]
    assert answer.json["kind"] == "Plan"
    assert told["binding"] == "parameters"
    assert [p["limit"] for p in told["prices"]] == ["parameters", "memory", "train_time"]
    assert {s["feature"] for s in told["steps"]} == {f["feature"] for f in answer.json["value"]["capacity"]["features"]}
    assert (
        "the even split" in {a["what"] for a in told["alternatives"]}
        or answer.json["value"]["attention"]["temperature"] is None
    )


def test_explain_is_printed_for_every_family(abi, fitted, quick):
    for family, words in (("network", ["per 1k parameters"]), ("trees", ["per KiB"]), ("auto", ["per 1k", "per KiB"])):
        answer = abi(
            "plan", fitted / "a.json", "--explain", "--workspace", fitted / "ws", *quick,
            "--set", f"training.family={family}", "--budget", "parameters=8k",
        )  # fmt: skip
        assert answer.code == 0, answer.err
        for word in ("Binding limit: parameters", "memory: +5% (", "next", *words):
            assert word in answer.out, (family, word)


def test_the_plan_that_is_explained_is_trained_as_it_is(plan, abi, fitted, quick):
    plain, told = plan("--json").json, plan("--json", "--explain", "--what-if", "parameters=9k").json
    assert {key: told[key] for key in plain} == plain
    (fitted / "told.json").write_text(json.dumps(told))
    answer = abi("train", fitted / "told.json", "--workspace", fitted / "ws", *quick, "--set", "training.family=network", "--json", "-q")  # fmt: skip
    assert answer.code == 0, answer.err
    assert answer.json["value"]["plan"] == plain["value"]


def test_what_if_shows_both_plans_and_what_differs(plan):
    answer = plan("--what-if", "parameters=6k,memory=1GiB", "--json")
    assert answer.code == 0, answer.err
    other = answer.json["what_if"]["value"]
    assert other["envelope"]["parameters"] == 6000
    assert other["envelope"]["memory_bytes"] == 2**30
    assert other["predicted"]["parameters"] <= 6000
    assert answer.json["difference"]["envelope"]["parameters"] == [250_000, 6000]
    assert answer.json["difference"]["predicted"] == [answer.json["value"]["predicted"], other["predicted"]]


def test_what_if_nothing_fits_the_first_plan_is_shown_and_the_nearest_are_named(plan):
    answer = plan("--what-if", "parameters=3", "--json")
    assert answer.code == 5
    assert answer.json["kind"] == "Plan"
    assert "The nearest that fit: parameters=" in answer.err
    assert answer.err.count("abi: ") == 1


def test_what_if_nothing_fits_it_is_said_that_the_plan_shown_is_another(abi, fitted, quick):
    asked = ["--what-if", "parameters=3", "--workspace", fitted / "ws", *quick, "--set", "training.family=network"]
    answer = abi("plan", fitted / "a.json", *asked)
    assert answer.code == 5
    assert "what if   parameters=3: nothing fits; the plan above is of the envelope as it is" in answer.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--what-if", "gpus=2"],
            "Expected devices whose number could change, got gpus=2 alone: name them with --gpus",
        ),
        (["--what-if", "steps=2"], "where attention is planned for, got 'steps=2': leave it out"),
        (
            ["--what-if", "global_batch=1"],
            "Expected a global batch of at least 2 rows where attention is planned for, got 1",
        ),
        (
            ["--what-if", "global_batch=99999999999999999999"],
            "Expected a count of at most 1,000,000,000,000,000, got '99999999999999999999': take less",
        ),
        (
            ["--global-batch", "99999999999999999999"],
            "Expected a global batch of at most 2,147,483,647 rows, got 99,999,999,999,999,999,999: take fewer",
        ),
        (["--what-if", "gpus=1.5"], "Expected gpus as a whole number above zero, got '1.5': write it as gpus=2"),
        (["--global-batch", "0"], "Expected a global batch of at least 2 rows where attention is planned for, got 0"),
        (
            ["--objective", "speed"],
            "Expected an objective of throughput, energy, cost, memory, got 'speed': name one of them.",
        ),
        (["--objective", "energy"], "Expected devices beside an objective of energy, got none: set training.gpus"),
        (["--objective", "cost", "--gpus", "L4"], "Expected a price per hour of L4 to rank by cost"),
        (["--gpus", "L4", "--what-if", "gpus=0"], "Expected gpus as a whole number above zero, got '0'"),
        (["--gpus", "0xL4"], "Expected a whole number of devices from 1 to 16 in one machine, got '0xL4'"),
        (["--gpus", "2xAMD-EPYC-9654"], "Expected one processor, got '2xAMD-EPYC-9654': all cores of a machine count"),
        (["--gpus", "AMD-EPYC"], "got 'AMD-EPYC': did you mean EPYC-9654 or EPYC-7763?"),
        (["--what-if", "memory=2"], "use one of the units"),
        (["--what-if", "parameters=0"], "Expected a count above zero"),
        (["--what-if", "parameters=1k", "--what-if", "parameters=2k"], "they contradict each other"),
        (["--budget", "parameters=-1"], "parameters"),
        (["--steps", "7"], "or the flags of a module, got both it and --steps: leave one out"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(plan, words, said):
    answer = plan(*words)
    assert answer.code == 2
    assert said in answer.sentence


def test_diff_of_plans_in_files_names_features_layers_execution_and_cost(plan, abi, command, fitted):
    for name, limit in (("one", "20k"), ("two", "6k")):
        (fitted / f"{name}.json").write_text(plan("--json", "--budget", f"parameters={limit}").out)
    files = fitted / "one.json", fitted / "two.json"
    answer = abi("diff", *files, "--workspace", fitted / "ws")
    assert answer.code == 0, answer.err
    for word in (
        "one.json -> two.json",
        "layers",
        "backbone",
        "envelope   parameters 20k -> 6k",
        "Predicted: parameters",
    ):
        assert word in answer.out
    found = abi("diff", *files, "--workspace", fitted / "ws", "--json").json
    plans = [json.loads(path.read_text())["value"] for path in files]
    assert found["predicted"] == [p["predicted"] for p in plans]
    widths = [{f["feature"]: f["width"] for f in p["capacity"]["features"]} for p in plans]
    assert {f["feature"]: f["width"] for f in found["features"]} == {
        name: [widths[0][name], widths[1][name]] for name in widths[0]
    }
    same = abi("diff", files[0], files[0], "--workspace", fitted / "ws")
    assert "the same plan" in same.out
    piped = command("diff", files[0], "-", "--workspace", fitted / "ws", "--json", stdin=files[1].read_text())
    assert json.loads(piped.out)["features"] == found["features"]


def test_what_is_no_plan_is_refused(abi, fitted):
    answer = abi("diff", fitted / "a.json", fitted / "a.json", "--workspace", fitted / "ws")
    assert answer.code == 2
    assert "Expected a value that holds Plan, got Attention" in answer.sentence
    answer = abi("diff", fitted / "none.json", fitted / "a.json", "--workspace", fitted / "ws")
    assert answer.code == 2
    assert "there is no such file; `abi run --json` prints" in answer.sentence


def test_what_if_takes_other_numbers_of_devices_energy_and_cost(plan):
    price = ["--set", "devices.L4.price_per_hour=0.8"]
    answer = plan("--gpus", "L4", *price, "--what-if", "gpus=2,energy=1kWh,cost=3", "--json")
    assert answer.code == 0, answer.err
    one, other = (p["value"] for p in (answer.json, answer.json["what_if"]))
    assert [p["execution_plan"]["cluster"]["count"] for p in (one, other)] == [1, 2]
    assert (other["envelope"]["energy_j"], other["envelope"]["cost"]) == (3.6e6, 3.0)
    assert other["execution_plan"]["limits"]["cost"] < 3.0  # validation takes the rest
    assert "cost" not in one["envelope"]
    assert not [r for r in one["execution_plan"]["reasons"] if r.startswith("No limit binds")]


def test_an_objective_and_a_global_batch_are_asked_for_as_of_a_module(plan, abi, fitted):
    """The least memory is that of small micro-batches, which are slower; rows of a step stay what is asked for."""
    asked = ("--gpus", "2xL4", "--global-batch", "96")
    fast, frugal = (
        plan(*asked, *words, "--json") for words in ((), ("--objective", "memory", "--what-if", "global_batch=64"))
    )
    assert frugal.code == 0, frugal.err
    for answer, rows in ((fast.json, 96), (frugal.json, 96), (frugal.json["what_if"], 64)):
        choice = answer["value"]["execution_plan"]["configuration"]
        assert choice["devices"] * choice["micro_batch"] * choice["accumulation"] == rows
        assert answer["value"]["execution"]["batch_rows"] == rows
    runs = [answer.json["value"]["execution_plan"] for answer in (fast, frugal)]
    assert [run.get("objective") for run in runs] == [None, "memory"]
    assert runs[1]["predicted"]["memory_bound"] < runs[0]["predicted"]["memory_bound"]
    assert runs[1]["predicted"]["step_s"] > runs[0]["predicted"]["step_s"]
    assert any(
        "of the ways to run it that fit, this has the least memory" in r.lower()
        for r in frugal.json["value"]["reasons"]
    )
    assert frugal.json["difference"]["execution"]["batch_rows"] == [96, 64]
    for name, answer in (("fast", fast), ("frugal", frugal)):
        (fitted / f"{name}.json").write_text(json.dumps(answer.json))
    found = abi("diff", fitted / "fast.json", fitted / "frugal.json", "--workspace", fitted / "ws", "--json").json
    assert found["devices"]["objective"] == ["throughput", "memory"]


def test_a_value_of_another_workspace_is_one_sentence(abi, fitted, tmp_path):
    answer = abi("plan", fitted / "a.json", "--workspace", tmp_path / "other")
    assert answer.code == 1
    assert "Expected the data that this value was made from in " in answer.sentence
    assert "name the workspace that it was made in with --workspace" in answer.sentence


def test_under_torchrun_a_command_says_that_it_starts_its_processes_itself(abi, fitted, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    answer = abi("fit", fitted / "s.json", "--workspace", fitted / "ws")
    assert answer.code == 2
    assert "got 2 that torchrun started: leave torchrun out" in answer.sentence
