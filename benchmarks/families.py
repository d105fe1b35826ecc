"""Quality on clean tables, family by family and beside simple peers; and how fast each family fits adult.

    python benchmarks/families.py [--sets adult,phoneme] [--families auto,network,trees] [--speed | --no-speed]

Reads ``$ABI_BENCH`` (default ``../shared/bench``): ``BENCH.json`` says which column is the target, ``BASELINES.json``
what peers with default settings score on the same split. Everything is chosen on validation rows; the test file is
looked at once per family. Fitting goes on in this process (score, pilots, rounds), without tracker or control.

Quality: the set's metric, and the mean rank of `auto` among the peers (1 is best; `network` and `trees` are ranked
beside the peers in `auto`'s place). Speed: seconds on adult, one training of the plan and the whole fitting apart, and
what the metric loses to a long setting (three times the epochs or rounds, and the patience), in points of accuracy.

Prints tables and writes dated JSON into ``benchmarks/results/``; sets that were measured before on the same day stay in it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import lightgbm
import numpy as np
from in_process import Rows, even_attention, machine_of, read, run
from results_file import results_path, write_results
from scipy.stats import rankdata

from abi.config import Config, load_config
from abi.families.encoding import layout, matrix
from abi.families.family import Model
from abi.families.trees import TreesModel
from abi.metrics import LOWER_IS_BETTER, score
from abi.planning.family import plan_family
from abi.planning.machine import Machine
from abi.training.family import train
from abi.training.fitted import Fitted

BENCH = Path(os.environ.get("ABI_BENCH", Path(__file__).parent.parent.parent / "shared" / "bench"))
SETS: Final = (
    "adult",
    "bank_marketing",
    "credit_g",
    "phoneme",
    "kc1_defects",
    "mammography",
    "california_housing",
    "covertype_100k",
    "shuttle",
    "elevators",
)
FAMILIES: Final = ("auto", "network", "trees")
PEERS: Final = ("lightgbm", "xgboost", "catboost", "linear", "sklearn_hgb")
SPEED_SET: Final = "adult"
LONG: Final = 3
REPEATS: Final = 5


def rows_of(name: str, config: Config) -> tuple[Rows, str]:
    """The set's rows and metric."""
    about = json.loads((BENCH / "BENCH.json").read_bytes())[name]
    ending = "csv" if about["format"] == "csv" else "parquet"
    paths = [BENCH / name / f"{part}.{ending}" for part in ("train", "test")]
    return read(paths[0], paths[1], about["target"], config), about["metric"]


def quality(name: str, families: list[str]) -> dict[str, Any]:
    """One set: each family's metric on the test file, beside its peers'."""
    peers = json.loads((BENCH / "BASELINES.json").read_bytes())[name]["models"]
    rows, metric = rows_of(name, load_config())
    machine = machine_of(load_config())
    found: dict[str, Any] = {}
    for family in families:
        config = load_config(settings={"training.family": family})
        start = time.perf_counter()
        made = run(rows, config, machine)
        wall_s = time.perf_counter() - start
        assert rows.test is not None
        assert rows.test.target is not None
        values = score(rows.problem.schema.task, rows.test.target, made.kept.model.predict_columns(rows.test))
        found[family] = {"value": values[metric], "metrics": values, "wall_s": round(wall_s, 1), **made.figures()}
        print(f"{name:20} {family:8} {metric:9} {values[metric]:10.5g}  {wall_s:6.1f} s  {found[family]['reason']}", flush=True)  # fmt: skip
    return {
        "set": name,
        "metric": metric,
        "families": found,
        "peers": {peer: peers[peer][metric] for peer in PEERS if peer in peers},
    }


def mean_ranks(figures: list[dict[str, Any]], family: str) -> dict[str, float]:
    """Mean rank of `family` and of each peer over the sets where all of them are; ties share their mean rank."""
    ranks: dict[str, list[float]] = {}
    for row in figures:
        if family not in row["families"] or len(row["peers"]) < len(PEERS):
            continue
        values = {family: row["families"][family]["value"], **row["peers"]}
        sign = 1 if row["metric"] in LOWER_IS_BETTER else -1
        for name, rank in zip(values, rankdata([sign * v for v in values.values()]), strict=True):
            ranks.setdefault(name, []).append(float(rank))
    return {name: round(float(np.mean(found)), 2) for name, found in ranks.items()}


def speed() -> dict[str, Any]:
    """Seconds and accuracy of each family on adult, beside its long setting and LightGBM's own time."""
    figures: dict[str, Any] = {"set": SPEED_SET}
    for family, long in (
        ("network", ("training.epochs", "training.patience")),
        ("trees", ("training.trees.rounds", "training.trees.patience")),
    ):
        short = load_config(settings={"training.family": family})
        rows, _ = rows_of(SPEED_SET, short)
        machine = machine_of(short)
        whole = run(rows, short, machine)
        times, plain = _trained(rows, short, machine, REPEATS if family == "trees" else 1)
        execution, size = plain.trained.plan.execution, plain.trained.plan.trees
        usual = (execution.epochs, execution.patience) if size is None else (size.rounds, size.patience)
        tripled = {key: LONG * value for key, value in zip(long, usual, strict=True)}
        no_limit = {"envelope.train_time": None}
        _, patient = _trained(
            rows, load_config(settings={"training.family": family, **tripled, **no_limit}), machine, 1
        )
        accuracy = [_accuracy(rows, fitted) for fitted in (plain, patient)]
        figures[family] = {
            "whole_fit_s": round(sum(whole.seconds.values()), 2),
            "seconds": {part: round(value, 2) for part, value in whole.seconds.items()},
            "rounds": len(whole.rounds),
            "train_s": round(median(times), 3),
            "long": tripled,
            "accuracy": accuracy[0],
            "accuracy_long": accuracy[1],
            "points_lost": round(100 * (accuracy[1] - accuracy[0]), 3),
            "accuracy_whole_fit": _accuracy(rows, whole.kept),
        }
        if isinstance(plain.model, TreesModel):
            own_s = min(
                median(_lightgbm_seconds(rows, plain.model, threads) for _ in range(REPEATS))
                for threads in {1, machine.threads}
            )
            figures[family] |= {
                "lightgbm_s": round(own_s, 3),
                "train_over_lightgbm": round(median(times) / own_s, 2),
                "whole_over_lightgbm": round(sum(whole.seconds.values()) / own_s, 2),
            }
        print(family, json.dumps(figures[family]), flush=True)
    return figures


def _trained(rows: Rows, config: Config, machine: Machine, repeats: int) -> tuple[list[float], Fitted[Model]]:
    """Seconds of training the even plan, so many times, and the model."""
    plan = plan_family(
        even_attention(rows, config),
        config.envelope.limits(),
        config,
        machine,
        train_rows=len(rows.train),
        validation_rows=len(rows.validation),
    )
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        fitted = train(plan, rows.train, rows.validation, config, seed=config.seed)
        times.append(time.perf_counter() - start)
    return times, fitted


def _accuracy(rows: Rows, fitted: Fitted[Model]) -> float:
    """On validation rows: the settings are compared, not tested."""
    target = rows.validation.target
    assert target is not None
    return score(rows.problem.schema.task, target, fitted.model.predict_columns(rows.validation))["accuracy"]


def _lightgbm_seconds(rows: Rows, model: TreesModel, threads: int) -> float:
    """LightGBM alone on the same rows with the same rate, leaves and patience, and otherwise its defaults.

    The caller takes the better of one thread and all: on small tables one is faster.
    """
    size, encoding = model.blueprint.capacity, model.blueprint.encoding
    assert rows.train.target is not None
    start = time.perf_counter()
    data = lightgbm.Dataset(
        matrix(encoding, rows.train),
        rows.train.target,
        categorical_feature=list(layout(model.schema, encoding).category_columns),
    )
    parameters = {
        "objective": "binary",
        "metric": "binary_logloss",
        "learning_rate": size.learning_rate,
        "num_leaves": size.leaves,
        "num_threads": threads,
        "verbosity": -1,
    }
    held = data.create_valid(matrix(encoding, rows.validation), rows.validation.target)
    stop = lightgbm.early_stopping(size.patience, verbose=False)
    lightgbm.train(parameters, data, size.rounds, valid_sets=[held], callbacks=[stop])
    return time.perf_counter() - start


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--speed", action="store_true", help="only the speed figures")
    parser.add_argument("--no-speed", action="store_true", help="only the quality figures")
    asked = parser.parse_args()
    today = results_path("families")
    before = json.loads(today.read_bytes())["figures"] if today.is_file() else {}
    rows = {row["set"]: row for row in before.get("quality", [])}
    timed = before.get("speed")
    if not asked.speed:
        for name in asked.sets.split(","):
            made = quality(name, asked.families.split(","))
            made["families"] = rows.get(name, {}).get("families", {}) | made["families"]
            rows[name] = made
            write_results("families", _document(rows, timed))
    if not asked.no_speed:
        timed = speed()
    document = _document(rows, timed)
    for family, ranks in document["mean_rank"].items():
        print(f"mean rank with {family}:", ", ".join(f"{n} {r}" for n, r in sorted(ranks.items(), key=lambda i: i[1])))
    print(write_results("families", document))


def _document(rows: dict[str, Any], timed: object) -> dict[str, Any]:
    figures = list(rows.values())
    return {"quality": figures, "mean_rank": {f: mean_ranks(figures, f) for f in FAMILIES}, "speed": timed}


if __name__ == "__main__":
    main()
