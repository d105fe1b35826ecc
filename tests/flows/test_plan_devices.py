"""`abi plan ATTENTION.json --gpus`, and `abi run --gpus`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from abi.planning.margins import MEASURED
from abi.planning.on_devices import on_devices
from abi.types import Plan

NETWORK = ("--set", "training.family=network")


@pytest.fixture
def flags(tmp_path: Path, quick: list[str]) -> list[Any]:
    return ["--workspace", tmp_path / "ws", *quick, *NETWORK, "-q"]


@pytest.fixture
def attention(abi: Any, data: Path, flags: list[Any], tmp_path: Path) -> Path:
    """What `abi fit --json` printed, of the flattest settings."""
    before = tmp_path / "check.json"
    before.write_text(abi("check", data, "--target", "label", "--json", *flags).out)
    for verb in ("score", "fit"):
        answer = abi(verb, before, "--json", *flags)
        assert answer.code == 0, answer.err
        before = tmp_path / f"{verb}.json"
        before.write_text(answer.out)
    return before


def test_an_attention_is_planned_for_devices_that_are_not_here(abi: Any, attention: Path, flags: list[Any]) -> None:
    words = ["plan", attention, "--gpus", "2xL4", "--budget", "memory=2GiB", "--budget", "energy=1kWh", "--json"]
    answer = abi(*words, *flags)
    assert answer.code == 0, answer.err
    plan = Plan.from_json(answer.json["value"])
    run = on_devices(plan)
    assert run is not None
    assert (run.cluster.device.name, plan.execution.device) == ("L4", "cuda")
    assert run.predicted.memory_bound <= 2 * 2**30
    assert plan.envelope.energy_j == 3.6e6 >= run.predicted.energy_j
    assert abi(*words, *flags).json == answer.json  # byte for byte, from the workspace or not

    shown = abi(*words[:-1], *[flag for flag in flags if flag != "-q"])
    text = " ".join(shown.out.split())
    assert "Runs on 2 x L4: " in text
    assert "Workers: none, as all rows lie on each device." in text

    trained = abi("train", _written(attention, answer.out), *flags)
    assert trained.code == 2
    assert "xL4 in this machine to train on, got " in trained.sentence

    for budget, more, code, sentence in (
        ("cost=0.5", (), 2, "Expected a price per hour of L4 beside a limit of cost, got none: set devices.L4.price_"),
        ("energy=5", (), 2, "Setting 'envelope.energy': Expected an energy such as 2kWh, got '5'"),
        ("memory=100MiB", (), 5, "Expected a limit of memory above the 512 MiB that driver and libraries of L4 take"),
        ("energy=0.0000001Wh", (), 5, "Expected "),
        ("cost=-1", (), 2, "Setting 'envelope.cost': "),
        ("memory=2GiB", ("--set", "training.device=cpu"), 2, "Expected training.device=auto or cuda beside training.g"),
        ("memory=2GiB", ("--set", "training.gpus=2xL5"), 0, ""),  # the flag goes before
    ):
        answer = abi("plan", attention, "--gpus", "2xL4", "--budget", budget, *more, *flags)
        assert answer.code == code, answer.err
        assert not code or sentence in answer.sentence

    answer = abi("plan", attention, "--gpus", "2xL5", *flags)
    assert (answer.code, answer.sentence[-17:]) == (2, "did you mean L4? "[:-1].rjust(17))


def _written(attention: Path, text: str) -> Path:
    path = attention.with_name("plan.json")
    path.write_text(text)
    return path


def test_energy_alone_is_of_this_machine(abi: Any, attention: Path, flags: list[Any]) -> None:
    answer = abi("plan", attention, "--budget", "energy=1kWh", "--json", *flags)
    assert answer.code == 0, answer.err
    plan = Plan.from_json(answer.json["value"])
    run = on_devices(plan)
    assert run is not None
    assert (run.cluster.count, run.cluster.device.kind) == (1, "cpu")
    assert plan.bound is not None  # measured constants, and no earlier runs
    assert plan.bound.train_time_s == pytest.approx(MEASURED["train_time_s"] * plan.predicted.train_time_s, rel=1e-4)


def test_a_run_needs_its_devices_here_but_for_a_dry_one(abi: Any, data: Path, flags: list[Any]) -> None:
    answer = abi("run", data, "--target", "label", "--gpus", "2xL4", *flags)
    assert answer.code == 2
    assert answer.sentence.startswith("abi: Expected 2xL4 in this machine to train on, got ")
    assert answer.sentence.endswith("ask for `auto`, or only plan for it, with `abi plan` or --dry-run.")
    dry = abi("run", data, "--target", "label", "--gpus", "2xL4", "--dry-run", "--json", *flags)
    assert dry.code == 0, dry.err
    assert on_devices(Plan.from_json(dry.json["value"])) is not None


def test_a_run_on_the_processor_is_planned_trained_and_replayed(
    abi: Any, data: Path, flags: list[Any], without_prefect: None
) -> None:
    answer = abi("run", data, "--target", "label", "--gpus", "cpu", "--budget", "energy=1kWh", "--json", *flags)
    assert answer.code == 0, answer.err
    replayed = abi("replay", answer.json["run_id"], "--json", *flags)
    assert replayed.code == 0, replayed.err
    decisions = replayed.json["decisions"]
    assert {d["name"] for d in decisions} >= {"plan 1"}
    assert [d for d in decisions if d["recorded"] != d["recomputed"]] == []
