"""Sample reports, as a run on census-like data would make them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from abi.inputs.trunk import LEVELS, region_macs, trunk_parameters
from abi.media.grid import region_names
from abi.outcomes import Calibration, CalibrationBin, Control, Epoch, Evaluation, Gain, Slice, Trained
from abi.problem import Check, Checks, DataFile, Feature, Grid, Problem, Schema, SetAside, Snapshot, Split, Task
from abi.report.content import Report, Round
from abi.trees_capacity import TreesCapacity
from abi.types import (
    Attention,
    Capacity,
    Cost,
    Envelope,
    Estimate,
    Execution,
    FeatureCapacity,
    FeatureScore,
    GridCapacity,
    LayerSplit,
    Plan,
    Scores,
    Trial,
    Weight,
)

CENSUS = {
    "age": 0.62,
    "workclass": 0.21,
    "education": 0.48,
    "education-num": 0.57,
    "marital-status": 0.86,
    "occupation": 0.59,
    "relationship": 0.91,
    "race": 0.05,
    "sex": 0.24,
    "capital-gain": 0.77,
    "capital-loss": 0.33,
    "hours-per-week": 0.44,
    "native-country": 0.03,
    "interviewed_month": 0.0,
}
CATEGORICAL = {"workclass", "education", "marital-status", "occupation", "relationship", "race", "native-country"}
METRICS: dict[Task, dict[str, float]] = {
    "binary": {"roc_auc": 0.9263, "accuracy": 0.8701, "log_loss": 0.2794},
    "multiclass": {"accuracy": 0.9312, "log_loss": 0.1911},
    "regression": {"rmse": 46213.4, "mae": 30120.9, "r2": 0.8377},
}
BASE = 8
"""Channels of the first stage of each picture's encoder."""
HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def estimate(value: float, half: float) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half)


def problem(names: list[str], task: Task, grids: tuple[Grid, ...] = ()) -> Problem:
    features = tuple(
        Feature(
            name=n,
            column=n,
            kind="categorical" if n in CATEGORICAL else "numeric",
            distinct=16 if n in CATEGORICAL else 74,
            missing_share=0.0,
        )
        for n in names
    )
    features += tuple(
        Feature(name=n, column=grid.column, kind="region", distinct=32, missing_share=0.25, place=i)
        for grid in grids
        for i, n in enumerate(region_names(grid))
    )
    classes = {"binary": ("<=50K", ">50K"), "multiclass": ("a", "b", "c"), "regression": ()}[task]
    file = DataFile(
        role="train",
        format="csv",
        md5="5d7c39d7b8804f071cdd1f2a7c460872",
        sha256=HASH,
        size_bytes=3_974_305,
        rows=32_561,
    )
    return Problem(
        snapshot=Snapshot(files=(file,)),
        schema=Schema(
            target="income",
            task=task,
            classes=classes,
            features=features,
            grids=grids,
            set_aside=(
                SetAside(column="fnlwgt", kind="id", reason="a different value in almost every row: 21,648 of 32,561"),
                SetAside(column="comment", kind="text", reason="free text is not used yet"),
            ),
        ),
        split=Split(seed=0, validation=0.15, test=0.2),
    )


def scores(of: Problem, values: list[float], turn: int) -> Scores:
    features = tuple(
        FeatureScore(
            feature=f.name,
            relevance=min(1.0, v * 0.8),
            discrimination=v * 0.9,
            redundancy=0.35 * v,
            complexity=0.5 - 0.3 * v,
            score=v,
            low=max(0.0, v - 0.03),
            high=min(1.0, v + 0.03) if v else 0.0,
            null=0.04,
            p_value=0.0303 if v > 0.04 else 0.61,
            carries_signal=v > 0.04,
        )
        for f, v in zip(of.schema.features, values, strict=True)
    )
    return Scores(problem=of, source="model" if turn else "data", rows=22_137, features=features, round=turn)


def attention(of: Scores, temperature: float | None, before: Attention | None) -> Attention:
    exps = [1.0 if temperature is None else math.exp(f.score / temperature) for f in of.features]
    shares = [e / sum(exps) for e in exps]
    floor = 0.2 / len(shares)
    weights = tuple(
        Weight(
            feature=f.feature,
            weight=a,
            low=0.88 * a,
            high=1.13 * a,
            bound="floor" if a <= floor else ("cap" if a > 0.5 else None),
        )
        for f, a in zip(of.features, shares, strict=True)
    )
    moved = (
        0.0
        if before is None
        else sum(abs(w.weight - b.weight) for w, b in zip(weights, before.weights, strict=True)) / 2
    )
    trials = (
        ()
        if before
        else tuple(
            Trial(temperature=t, loss=loss, metric=0.92 - loss / 100)
            for t, loss in ((None, 0.2871), (1.0, 0.2866), (0.4, 0.2849), (0.15, 0.2902))
        )
    )
    return Attention(
        scores=of,
        temperature=temperature,
        floor=floor,
        cap=0.5,
        entropy=-sum(a * math.log(a) for a in shares),
        weights=weights,
        trials=trials,
        round=of.round,
        moved=moved,
    )


def plan(of: Attention, even: bool = False) -> Plan:
    schema = of.scores.problem.schema
    regions = {f.name: f for f in schema.features if f.kind == "region"}
    count = len(of.weights)
    shares = [1 / count if even else w.weight for w in of.weights]
    levels = {n: LEVELS if even else f.place % (LEVELS + 1) for n, f in regions.items() if f.place is not None}
    features = tuple(
        FeatureCapacity(
            feature=w.feature,
            width=max(2, round(200 * a)),
            bins=0 if w.feature in CATEGORICAL else max(2, round(160 * a)),
            rows=17 if w.feature in CATEGORICAL else 0,
            parameters=round(42_000 * a),
            reason=f"attention {100 * a:.1f}% buys {max(2, round(200 * a))} of 200 columns; the next step would cost 510 parameters",
        )
        if w.feature not in regions
        else FeatureCapacity(
            feature=w.feature,
            width=levels[w.feature] * BASE,
            bins=0,
            rows=0,
            parameters=0,
            reason=f"{levels[w.feature]} of 4 parts of the channels",
            grid=regions[w.feature].column,
        )
        for w, a in zip(of.weights, shares, strict=True)
    )
    sizes = tuple(
        GridCapacity(
            column=g.column,
            base=BASE,
            parameters=trunk_parameters(g.channels, BASE),
            macs=sum(region_macs(g, BASE, levels[n]) for n in region_names(g)),
            activations=30_000,
        )
        for g in schema.grids
    )
    macs = 1_000_000 + sum(size.macs for size in sizes) if sizes else None
    return Plan(
        attention=of,
        envelope=Envelope(parameters=150_000, memory_bytes=4 * 2**30, train_time_s=180.0, latency_s=None),
        allocation="even" if even else "attention",
        capacity=Capacity(
            features=features,
            members=16,
            blocks=3,
            block_width=160,
            layers=LayerSplit(feature_extraction=41_870, middle=98_240, output=5_152),
            grids=sizes,
        ),
        execution=Execution(device="cpu", precision="float32", batch_rows=256, epochs=60, steps=5_220, threads=2),
        predicted=Cost(parameters=145_262, memory_bytes=212 * 2**20, train_time_s=88.0, latency_s=0.0021, macs=macs),
        reasons=(
            "Parameters are the limit that binds: 145k of 150k are used; one more block would take 51k.",
            "Feature extraction gets 29% of the parameters: wider encoders stopped paying on validation data above that.",
            "Steps of 256 rows: smaller ones would not fit 60 epochs into 180 s on 2 threads.",
        ),
    )


def trained(of: Plan, turn: int, epochs: int = 24) -> Trained:
    history = tuple(
        Epoch(
            epoch=e,
            train_loss=0.27 + 0.12 * math.exp(-e / 5) - 0.0006 * e,
            validation_loss=0.283 - 0.001 * turn + 0.1 * math.exp(-e / 4) + 0.00004 * (e - 14) ** 2,
            metric=0.924 + 0.001 * turn - 0.03 * math.exp(-e / 4) - 0.00001 * (e - 14) ** 2,
            seconds=3.1,
        )
        for e in range(1, epochs + 1)
    )
    weights = [w.weight for w in of.attention.weights]
    tilted = [a * (1.1 if i % 2 else 0.9) for i, a in enumerate(weights)]
    return Trained(
        plan=of,
        seed=0,
        artifact="c0535e4be2b79ffd93291305436bf889314e4a3faec05ecffcbb7df31ad9e51a",
        best_epoch=min(14, epochs),
        stopped="early",
        loss=0.2838,
        metric=0.9241,
        measured=Cost(parameters=145_262, memory_bytes=247 * 2**20, train_time_s=74.3, latency_s=0.0024),
        attention=tuple(a / sum(tilted) for a in tilted),
        history=history,
    )


def evaluation(of: Trained, task: Task, uniform: Estimate, baseline: Estimate) -> Evaluation:
    figures = METRICS[task]
    primary = next(iter(figures))

    def shifted(by: float) -> dict[str, Estimate]:
        return {m: estimate(v * (1 - by), abs(v) * 0.006) for m, v in figures.items()}

    controls = (
        Control(
            name="uniform",
            description="the same model on the even split of the same envelope",
            metrics=shifted(0.003),
            gain=Gain(metric=primary, difference=uniform, relative=uniform.value / figures[primary]),
            parameters=145_104,
            trials=5,
            train_time_s=76.0,
        ),
        Control(
            name="baseline",
            description="histogram gradient boosting (scikit-learn), 300 rounds at most, early stopping",
            metrics=shifted(0.001),
            gain=Gain(metric=primary, difference=baseline, relative=baseline.value / figures[primary]),
            parameters=0,
            trials=1,
            train_time_s=1.9,
        ),
    )
    top = [w.feature for w in sorted(of.plan.attention.weights, key=lambda w: -w.weight)[:2]]
    slices = tuple(
        Slice(
            feature=f,
            group=g,
            rows=rows,
            metric=estimate(figures[primary] * (0.97 + 0.01 * i), figures[primary] * 0.012),
        )
        for f in top
        for i, (g, rows) in enumerate((("Husband", 2631), ("Not-in-family", 1699), ("Own-child", 1044), ("Wife", 312)))
    )
    bins = tuple(
        CalibrationBin(
            predicted=0.05 + 0.1 * i, observed=min(1.0, 0.04 + 0.1 * i + 0.02 * math.sin(i)), rows=2400 // (i + 1)
        )
        for i in range(10)
    )
    return Evaluation(
        trained=of,
        rows=6_512,
        primary=primary,
        metrics=shifted(0.0),
        controls=controls,
        slices=() if task == "regression" else slices,
        calibration=Calibration(bins=bins, error=0.0113) if task == "binary" else None,
        latency_s=0.0024,
        trials=5,
    )


def make_report(
    values: dict[str, float] | None = None,
    *,
    task: Task = "binary",
    rounds: int = 2,
    uniform: Estimate | None = None,
    baseline: Estimate | None = None,
    temperature: float | None = 0.4,
    grids: tuple[Grid, ...] = (),
    **changes: Any,
) -> Report:
    """A report over `values` (feature -> score) and the regions of `grids`; further arguments replace fields of the report."""
    values = CENSUS if values is None else values
    of = problem(list(values), task, grids)
    values = values | {f.name: 0.2 + 0.05 * (f.place or 0) for f in of.schema.features if f.kind == "region"}
    results = [
        Check(
            name="expect_column_values_to_not_be_null",
            column=n,
            severity="critical",
            status="passed",
            expected="at most 10% missing",
            observed="0% missing",
        )
        for n in values
    ]
    first = next(iter(values))
    results += [
        Check(
            name="duplicate_rows",
            column=None,
            severity="warning",
            status="passed",
            expected="at most 50%",
            observed="0.1%",
        ),
        Check(
            name="leak",
            column=first,
            severity="warning",
            status="failed",
            expected="at most 0.99 of the target told by one feature",
            observed="0.994",
        ),
        Check(
            name="test_overlap",
            column=None,
            severity="warning",
            status="error",
            expected="at most 25% of the test rows also in training",
            observed="no test file",
        ),
    ]
    turns: list[Round] = []
    for turn in range(rounds):
        scored = scores(
            of, [v * (1 - 0.12 * turn) + 0.05 * turn * (i % 3) * v for i, v in enumerate(values.values())], turn
        )
        weighed = attention(scored, temperature, turns[-1].attention if turns else None)
        planned = plan(weighed, even=temperature is None)
        last = turn == rounds - 1
        turns.append(
            Round(
                scores=scored,
                attention=weighed,
                plan=planned,
                trained=trained(planned, turn),
                kept=last,
                why_stopped="the round gained less than 0.1% of the validation loss" if last else "",
            )
        )
    uniform = uniform or Estimate(value=0.0031, low=0.0012, high=0.005)
    baseline = baseline or Estimate(value=-0.0008, low=-0.0025, high=0.0009)
    kept = turns[-1].trained
    fields: dict[str, Any] = {
        "name": "adult",
        "created": "2025-11-22T19:46:10+00:00",
        "data_name": "adult.csv",
        "checks": Checks(problem=of, suite_sha256=HASH, results=tuple(results)),
        "rounds": tuple(turns),
        "evaluation": evaluation(kept, task, uniform, baseline),
        "control_plan": plan(turns[-1].attention, even=True),
        "timings_s": {
            "snapshot": 0.9,
            "check": 6.4,
            "score": 1.1,
            "fit": 21.3,
            "train": 152.8,
            "evaluate": 84.0,
            "record": 3.2,
        },
        "peak_memory_bytes": 1_240_000_000,
        "provenance": {
            "run_id": "4b1c0e2f6a5d4a0c9e0d1f2a3b4c5d6e",
            "model": "adult, version 3 (models:/adult/3)",
            "command": "abi run adult.csv --target income",
            "code": "abi 0.1.0, 7c2f90e",
            "versions": "python 3.11.7, torch 2.13.0, scikit-learn 1.9.1",
            "hardware": "2 cores, 4 GiB, no GPU",
        },
        "config": {"seed": 0, "envelope": {"parameters": 150_000, "train_time": 180.0}, "tracking": {"uri": None}},
    }
    return Report(**{**fields, **changes})


@pytest.fixture(name="make_report", scope="session")
def _make_report() -> Any:
    return make_report


@pytest.fixture
def small_trees() -> TreesCapacity:
    """Three rounds of trees that no feature was given anything in."""
    return TreesCapacity(
        features=(),
        rounds=3,
        leaves=4,
        learning_rate=0.1,
        least_rows=1,
        feature_share=1.0,
        row_share=1.0,
        patience=3,
        parameters=9,
    )
