"""Each gate on either side of its limit, from figures written by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.config import load_config
from abi.evaluation.bootstrap import gain as compared
from abi.evaluation.gates import GATES, Facts, GateResult, Gates, calibration_noise, judge, movement
from abi.operations import GatesConfig
from abi.outcomes import Along, Calibration, CalibrationBin, Control, Evaluation, Gain, Signal, Slice
from abi.problem import Check, Checks
from abi.robustness import Perturbed, Robustness, Suffered
from abi.types import Estimate


def estimate(value: float, half: float = 0.01) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half)


def gain(value: float, relative: float, metric: str = "roc_auc", half: float = 0.01) -> Gain:
    return Gain(metric=metric, difference=estimate(value, half), relative=relative)


def control(name: str, relative: float) -> Control:
    return Control(
        name=name,  # type: ignore[arg-type]
        description="", metrics={}, gain=gain(relative * 0.9, relative), parameters=1, trials=1, train_time_s=1.0,
    )  # fmt: skip


def slice_(value: float, half: float = 0.0) -> Slice:
    return Slice(feature="age", group="old", rows=50, metric=estimate(value, half))


@pytest.fixture
def facts(toy: Any) -> Facts:
    """A candidate that passes every gate."""
    trained = toy.fitted(toy.table("binary")).trained
    limits = replace(trained.plan.envelope, memory_bytes=1000, latency_s=0.002)
    measured = replace(trained.measured, memory_bytes=1000)
    trained = replace(trained, plan=replace(trained.plan, envelope=limits), measured=measured)
    bins = (CalibrationBin(predicted=0.5, observed=0.55, rows=100),)
    evaluation = Evaluation(
        trained=trained, rows=200, primary="roc_auc", metrics={"roc_auc": estimate(0.9)},
        controls=(control("uniform", 0.0), control("baseline", -0.02)), slices=(slice_(0.8), slice_(0.73)),
        calibration=Calibration(bins=bins, error=0.05), latency_s=0.002, trials=1,
        signal=Signal(chance=0.5, gain=gain(0.4, 0.8)),
    )  # fmt: skip
    passed = Check(name="x", column="age", severity="critical", status="passed", expected="", observed="")
    checks = Checks(problem=trained.plan.attention.scores.problem, suite_sha256="", results=(passed,))
    return Facts(
        evaluation=evaluation, checks=checks, rival=gain(0.02, 0.02), attention={"a": 0.5, "b": 0.5},
        champion_attention={"a": 0.6, "b": 0.4}, loads=None,
    )  # fmt: skip


def status(facts: Facts, name: str, **settings: Any) -> str:
    config = GatesConfig(**settings)
    return next(r.status for r in judge(facts, config) if r.name == name)


def changed(facts: Facts, **fields: Any) -> Facts:
    return replace(facts, evaluation=replace(facts.evaluation, **fields))


def test_every_gate_has_a_setting_and_a_good_candidate_passes_all(facts: Facts) -> None:
    assert set(GATES) <= set(GatesConfig.model_fields)
    results = judge(facts, load_config(ambient=False).gates)
    assert {r.name for r in results if r.status == "off"} == {"robustness"}  # asked for by its setting alone
    assert {r.status for r in results if r.name != "robustness"} == {"passed"}


def test_the_worst_change_of_middle_strength_decides_with_its_interval(facts: Facts) -> None:
    def change(strength: str, loss: float) -> Perturbed:
        own = Suffered(contender="model", value=estimate(0.8 - loss), loss=estimate(loss))
        other = Suffered(contender="baseline", value=estimate(0.1), loss=estimate(0.7))  # of no concern
        return Perturbed(kind="noise", what="noise", contenders=(own, other), strength=strength)  # type: ignore[arg-type]

    found = Robustness(
        metric="accuracy", rows=9, clean={"model": estimate(0.8)},
        perturbed=(change("weak", 0.5), change("middle", 0.02), change("middle", 0.09), change("strong", 0.5)),
    )  # fmt: skip
    measured = changed(facts, robustness=found)
    # 0.09 lost, 0.08 at the lower end: a tenth of 0.8
    assert status(measured, "robustness", robustness=0.1) == "passed"
    assert status(measured, "robustness", robustness=0.09) == "failed"
    assert status(measured, "robustness") == "off"


def test_a_gate_of_robustness_without_a_measurement_says_how_to_get_one(facts: Facts) -> None:
    found = next(r for r in judge(facts, GatesConfig(robustness=0.1)) if r.name == "robustness")
    assert found.status == "failed"
    assert "evaluation.robust" in found.got


def test_the_lower_end_of_the_gain_over_the_champion_decides(facts: Facts) -> None:
    at_zero = replace(facts, rival=gain(0.01, 0.01))  # lower end exactly 0: not above it
    assert status(at_zero, "champion") == "failed"
    assert status(at_zero, "champion", champion=0.001) == "passed"
    worse = replace(facts, rival=gain(-0.005, -0.005))  # lower end -0.015
    assert status(worse, "champion", champion=0.01) == "failed"
    assert status(worse, "champion", champion=0.02) == "passed"


def test_rows_that_the_champion_learned_from_are_told(facts: Facts) -> None:
    found = judge(replace(facts, rival_rows=40, learned_rows=54), GatesConfig())
    assert found[0].name == "champion"
    assert found[0].got.endswith(" on 40 held-out rows; the champion learned from 54 more")


def test_without_a_champion_there_is_nothing_to_beat(facts: Facts) -> None:
    alone = replace(facts, rival=None, champion_attention=None)
    assert (status(alone, "champion"), status(alone, "movement")) == ("off", "off")


def test_a_champion_that_cannot_read_the_rows_stands_in_the_way(facts: Facts) -> None:
    found = judge(replace(facts, rival="the champion cannot read these rows: no column 'age'"), GatesConfig())
    assert found[0].status == "failed"
    assert "no column 'age'" in found[0].got


def test_a_model_that_cannot_be_told_from_chance_stands_in_its_own_way(facts: Facts) -> None:
    at_chance = changed(facts, signal=Signal(chance=0.5, gain=gain(0.01, 0.02)))  # lower end exactly 0
    assert status(at_chance, "signal") == "failed"
    assert status(at_chance, "signal", signal=False) == "off"
    assert status(changed(facts, signal=None), "signal") == "off"
    (found,) = (r for r in judge(at_chance, GatesConfig()) if r.name == "signal")
    assert found.expected == "roc_auc better than chance (0.5) on held-out rows, interval considered"
    assert found.got == "a gain of +0.0100 [+0.0000, +0.0200]"


@pytest.mark.parametrize(("name", "margin"), [("uniform", 0.01), ("baseline", 0.02)])
def test_controls_have_a_margin(facts: Facts, name: str, margin: float) -> None:
    def with_relative(relative: float) -> Facts:
        controls = tuple(control(c.name, relative) if c.name == name else c for c in facts.evaluation.controls)
        return changed(facts, controls=controls)

    assert status(with_relative(-margin), name) == "passed"
    assert status(with_relative(-margin - 1e-6), name) == "failed"
    assert status(with_relative(-1.0), name, **{name: None}) == "off"


@pytest.mark.parametrize("name", ["uniform", "baseline"])
@pytest.mark.parametrize(("model", "came"), [(-0.3, "failed"), (0.0, "passed"), (0.3, "passed")])
def test_of_a_control_whose_value_is_zero_the_sign_decides(facts: Facts, name: str, model: float, came: str) -> None:
    draws = np.array([model])
    over = replace(control(name, 0.0), gain=compared("r2", model, 0.0, draws, np.zeros(1)))
    controls = tuple(over if c.name == name else c for c in facts.evaluation.controls)
    (found,) = (r for r in judge(changed(facts, controls=controls), GatesConfig()) if r.name == name)
    assert found.status == came
    assert ("%" in found.got) == (not model)


def test_a_slice_fails_where_its_whole_interval_lies_below_the_floor(facts: Facts) -> None:
    # 20% below .9 is .72
    assert status(changed(facts, slices=(slice_(0.71),)), "slices") == "failed"
    assert status(changed(facts, slices=(slice_(0.71, half=0.02),)), "slices") == "passed"
    assert status(changed(facts, slices=(slice_(0.71),)), "slices", slices=0.25) == "passed"
    assert status(changed(facts, slices=()), "slices") == "passed"


def test_of_an_error_a_slice_has_a_ceiling(facts: Facts) -> None:
    worse = changed(facts, primary="rmse", metrics={"rmse": estimate(10.0)})
    assert status(replace(worse, evaluation=replace(worse.evaluation, slices=(slice_(12.0),))), "slices") == "passed"
    assert status(replace(worse, evaluation=replace(worse.evaluation, slices=(slice_(12.1),))), "slices") == "failed"


def test_calibration_is_held_against_what_chance_shows(facts: Facts) -> None:
    bins = (CalibrationBin(predicted=0.5, observed=0.3, rows=50), CalibrationBin(predicted=0.0, observed=0.0, rows=50))
    # by hand: (50 sqrt(2 * .25 / (pi * 50)) + 0) / 100
    noise = calibration_noise(Calibration(bins=bins, error=0.1))
    assert noise == pytest.approx(0.5 * math.sqrt(0.5 / (math.pi * 50)))
    assert noise == pytest.approx(0.0282095, abs=1e-7)
    for error, expected in ((0.1281, "passed"), (0.1283, "failed")):
        found = changed(facts, calibration=Calibration(bins=bins, error=error))
        assert status(found, "calibration") == expected


def test_cost_must_lie_inside_the_envelope(facts: Facts) -> None:
    assert status(changed(facts, latency_s=0.0021), "latency") == "failed"
    assert status(changed(facts, latency_s=0.0021), "latency", latency="3ms") == "passed"
    trained = facts.evaluation.trained
    heavier = replace(trained, measured=replace(trained.measured, memory_bytes=1001))
    assert status(changed(facts, trained=heavier), "memory") == "failed"
    assert status(changed(facts, trained=heavier), "memory", memory=False) == "off"
    free = replace(trained, plan=replace(trained.plan, envelope=replace(trained.plan.envelope, latency_s=None)))
    assert status(changed(facts, trained=free), "latency") == "off"


def test_movement_is_total_variation_over_the_features_of_either() -> None:
    assert movement({"a": 0.6, "b": 0.4}, {"a": 0.5, "b": 0.5}) == pytest.approx(0.1)
    assert movement({"a": 1.0}, {"b": 1.0}) == pytest.approx(1.0)
    assert movement({"a": 0.7, "b": 0.3}, {"a": 0.7, "c": 0.3}) == pytest.approx(0.3)


def test_attention_that_moved_too_far_asks_for_an_approval(facts: Facts) -> None:
    assert status(facts, "movement", movement=0.09) == "failed"
    assert status(facts, "movement", movement=0.11) == "passed"


def test_a_critical_check_and_an_artifact_that_does_not_load_fail(facts: Facts) -> None:
    broken = replace(facts.checks.results[0], status="error")
    assert status(replace(facts, checks=replace(facts.checks, results=(broken,))), "checks") == "failed"
    warned = replace(broken, severity="warning")
    assert status(replace(facts, checks=replace(facts.checks, results=(warned,))), "checks") == "passed"
    assert status(replace(facts, loads="it ended with ImportError"), "loads") == "failed"


def test_what_was_waived_does_not_stand_in_the_way() -> None:
    failed = GateResult(name="movement", status="failed", expected="", got="")
    gates = Gates(model="m", version=1, champion=None, champion_seq=0, rows=1, results=(failed,))
    assert gates.failed == (failed,)
    assert replace(gates, results=(replace(failed, waived=True),)).failed == ()


@pytest.mark.parametrize("primary", ["roc_auc", "log_loss"])
def test_what_is_no_number_passes_no_gate_of_slices(facts: Facts, primary: str) -> None:
    metrics, nan = {primary: estimate(0.9)}, math.nan
    measured = changed(facts, primary=primary, metrics=metrics, slices=(slice_(0.9),))
    assert status(measured, "slices") == "passed"
    assert status(changed(measured, slices=(slice_(0.9), slice_(nan))), "slices") == "failed"
    assert status(changed(measured, slices=(slice_(0.9, nan),)), "slices") == "failed"
    (found,) = (
        r for r in judge(changed(measured, metrics={primary: estimate(nan)}), GatesConfig()) if r.name == "slices"
    )
    assert (found.status, found.got) == ("failed", f"no figure: the {primary} of all rows is not defined")


def test_along_a_stream_gates_without_a_figure_say_so(facts: Facts) -> None:
    ahead, behind = gain(0.02, 0.02, "accuracy"), gain(-0.2, -0.2, "accuracy")
    along = Along(champion=3, begin=0, adaptations=2, gain=ahead, baseline=behind)
    streamed = replace(facts.evaluation, along=along, controls=(), slices=(), calibration=None, primary="accuracy")
    results = {r.name: r for r in judge(replace(facts, evaluation=streamed), GatesConfig(robustness=0.5))}
    for name in ("uniform", "slices", "calibration", "memory", "checks"):
        assert (results[name].status, results[name].got[:10]) == ("off", "no figure:"), name
    assert (results["robustness"].status, results["robustness"].got[:10]) == ("failed", "no figure:")
    assert results["champion"].status == "passed"
    assert results["baseline"].status == "failed"  # against the last label once more
    better = replace(streamed, along=replace(along, baseline=ahead))
    assert status(replace(facts, evaluation=better), "baseline") == "passed"
    assert "the stream's rows before they were learned from" in results["signal"].expected
