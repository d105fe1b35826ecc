"""Where memory and time go, on the page."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from abi.planning.forecast import Forecast
from abi.report.content import Report
from abi.report.embed import unpack
from abi.report.page import render
from abi.report.quality import actual
from abi.report.summary import resources
from abi.report.where import where
from abi.resources import Resources, StageMemory, StepProfile, Work
from abi.units import show_energy

MIB = 2**20
AHEAD = Forecast(
    device="Round <4>", source="measured here", threads=2, rate=1e11, reached_rate=5e10, bandwidth=1e10,
    reached_bandwidth=8e9, step_s=0.02, energy_j=200.0,
)  # fmt: skip
TAKEN = Resources(
    active_bytes=40 * MIB, reserved_bytes=64 * MIB, process_bytes=512 * MIB, process_by="samples", steps=90, step_s=0.03,
    step_p95_s=0.04, energy_j=None, missing=("energy, as nothing tells",),
)  # fmt: skip
PROFILE = StepProfile(
    rows=128,
    parts=2,
    precision="float32",
    memory=(
        StageMemory(stage="forward", held={"data": 10 * MIB, "weights": 10 * MIB}),
        StageMemory(stage="backward", held={"data": 10 * MIB, "weights": 10 * MIB, "middle": 20 * MIB}),
    ),
    work=(
        Work(stage="forward", part="feature extraction", flops=0.0, bytes=4e6, calls=9, seconds=0.001),
        Work(stage="forward", part="middle", flops=1e8, bytes=1e6, calls=9, seconds=0.004),
        Work(stage="backward", part="middle", flops=2e7, bytes=1e7, calls=9, seconds=0.004),
        Work(stage="optimizer", part=None, flops=0.0, bytes=1e6, calls=1, seconds=0.002),
        Work(stage="evaluate", part="middle", flops=1e8, bytes=1e6, calls=9, seconds=1.0),
    ),
    uncounted=("aten.odd",),
)  # fmt: skip


@pytest.fixture(scope="module")
def report(make_report: Any) -> Report:
    made: Report = make_report(forecast=AHEAD)
    trained = replace(made.evaluation.trained, resources=TAKEN, profile=PROFILE)
    return replace(made, evaluation=replace(made.evaluation, trained=trained))


def test_a_step_is_its_micro_batches_and_one_update(report: Report) -> None:
    found = where(report)
    assert [(row["name"], row["total"], row["width"]) for row in found["times"]] == [
        ("forward pass", "10 ms", 100.0),
        ("backward pass", "8 ms", 80.0),
        ("optimizer step", "2 ms", 20.0),
    ]
    assert [(part["name"], part["fill"]) for part in found["times"][0]["parts"]] == [
        ("feature extraction", 20.0),
        ("middle", 80.0),
    ]
    assert found["sentence"] == (
        "Memory is fullest in the backward pass: 40 MiB, 50.0% of it activations of the middle. The longest piece of a "
        "step is the forward pass of the middle, 40.0% of 20 ms."
    )


def test_memory_is_drawn_to_one_scale(report: Report) -> None:
    forward, backward = where(report)["memory"]
    assert (forward["width"], backward["width"]) == (50.0, 100.0)
    assert [(part["name"], part["text"]) for part in backward["parts"]] == [
        ("data", "10 MiB, 25.0%"),
        ("weights", "10 MiB, 25.0%"),
        ("activations: middle", "20 MiB, 50.0%"),
    ]


def test_each_piece_is_held_against_the_roof(report: Report) -> None:
    extraction, forward, backward, update = where(report)["pieces"]
    # 4 MB in 1 ms are 4 of 10 GB/s; 100 FLOPs per byte meet the rate, 2 the bandwidth: 5 of 20 GFLOPS
    assert (extraction["moved"], extraction["rate"], extraction["share"]) == ("4 GB/s", "–", "40%")
    assert (forward["intensity"], forward["rate"], forward["share"]) == ("100.0", "25 GFLOPS", "25%")
    assert (backward["intensity"], backward["rate"], backward["share"]) == ("2.0", "5 GFLOPS", "25%")
    assert (update["name"], update["share"]) == ("optimizer step", "5%")


def test_features_share_the_time_of_what_reads_them(report: Report) -> None:
    found = where(report)
    plan = report.plan
    width, hidden, rows = sum(f.width for f in plan.capacity.features), 160, plan.execution.batch_rows
    first = found["features"][0]
    given = next(f for f in plan.capacity.features if f.feature == first["name"])
    kept = 4 * 5 * (given.parameters + given.width * (hidden + 16))
    passing = rows * (6 * 4 * given.width + (8 if given.bins else 4))
    assert first["total"] in {f"{(kept + passing) / size:.3g} {unit}" for size, unit in ((2**10, "KiB"), (MIB, "MiB"))}
    # extraction 2 ms, and of the middle's 16 ms what the first of three layers has, of 20 ms in all
    share = (2 + 16 * width / (width + 2 * hidden)) / 20 * given.width / width
    assert float(first["time"].partition("%")[0]) == pytest.approx(100 * share, rel=0.01)
    assert len(found["features"]) + found["left_out"] == len(plan.capacity.features)


def test_a_feature_without_width_has_no_bar(report: Report) -> None:
    trained, plan = report.evaluation.trained, report.evaluation.trained.plan
    bare = tuple(replace(f, width=0, parameters=0) for f in plan.capacity.features[1:])
    capacity = replace(plan.capacity, features=(plan.capacity.features[0], *bare))
    trained = replace(trained, plan=replace(plan, capacity=capacity))
    found = where(replace(report, evaluation=replace(report.evaluation, trained=trained)))
    assert [row["name"] for row in found["features"]] == [plan.capacity.features[0].feature]
    assert found["left_out"] == 0


def test_plan_against_actual_has_what_no_limit_is_set_to(report: Report) -> None:
    step, slow, reserved, process, energy = resources(report)
    assert (step.name, step.predicted, step.measured) == ("a step, median", "20 ms", "30 ms")
    assert step.ratio == pytest.approx(1.5)
    assert (slow.predicted, slow.measured, slow.ratio) == ("–", "40 ms", None)
    assert (reserved.measured, process.measured, process.limit) == ("64 MiB", "512 MiB", "–")
    assert (energy.name, energy.measured, energy.limit) == ("energy", "–", "–")
    assert energy.predicted == "200 J"
    limited = replace(report.plan, envelope=replace(report.plan.envelope, energy_j=3.6e6))
    trained = replace(report.evaluation.trained, plan=limited)
    held = replace(report, evaluation=replace(report.evaluation, trained=trained))
    assert resources(held)[-1].limit == show_energy(3.6e6)
    assert [line.name for line in resources(replace(report, forecast=None))][-1] == "memory of the process"
    said = actual(report)
    assert said["missing"] == ["energy, as nothing tells"]
    assert said["process"].startswith("sampled")
    assert not said["bounded"]


def test_a_bound_stands_between_predicted_and_measured(report: Report) -> None:
    plan = report.plan
    bound = replace(plan.predicted, memory_bytes=300 * MIB)
    trained = replace(report.evaluation.trained, plan=replace(report.evaluation.trained.plan, bound=bound))
    html = render(replace(report, evaluation=replace(report.evaluation, trained=trained)))
    row = re.search(r'<th scope="row">memory</th>.*', html)
    assert row is not None
    assert re.findall(r'data-label="(\w+)[^>]*>(?:<b>)?([^<]+)', row[0])[:3] == [
        ("predicted", "212 MiB"),
        ("bound", "300 MiB"),
        ("measured", "247 MiB"),
    ]


def test_the_page_carries_it_and_escapes_names(report: Report) -> None:
    html = render(report)
    assert html.count('role="img"') == 4
    assert "Round &lt;4&gt; with 2 threads: 100 GFLOPS and 10 GB/s as measured" in html
    assert "Without a formula: odd." in html
    assert "Not measured: energy, as nothing tells." in html
    found = re.search(r'id="abi-report">(.*)</script>', html)
    assert found is not None
    assert unpack(found[1]) == report


def test_without_a_trace_the_formulas_speak(make_report: Any) -> None:
    plain = make_report()
    found = where(plain)
    assert (found["traced"], found["roofline"], found["times"]) == (False, "", [])
    (row,) = found["memory"]
    assert row["total"] == "212 MiB"
    # 145,262 weights of 4 bytes, as often again for gradients, twice for moments
    assert {part["name"]: part["text"].partition(",")[0] for part in row["parts"]}["optimizer state"] == "1.11 MiB"
    assert "No step of this network was traced" in render(plain)
    assert "forecast" not in plain.to_json()
    assert not {"resources", "profile"} & set(plain.evaluation.trained.to_json())
