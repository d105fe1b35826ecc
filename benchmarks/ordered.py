"""Rows with an order: sensors, news, ratings, clicks. A whole run per set, with the uniform control's figure beside each.

    python benchmarks/ordered.py [--sets wall_following,ml_latest_small,djia_news,criteo_10k,click_kdd12,amazon_access]
        [--set section.key=value ...] [--validation]

Reads ``$ABI_BENCH`` (default ``../shared/bench``). Each set is one set of settings (`SETS`) and one run through the flow's
own stages (snapshot to evaluation) in this process, so without the start of servers; the test file is looked at once, by
the stage that evaluates. With ``--validation`` the last part of the training file takes the test file's place.

Prints a table and writes dated JSON into ``benchmarks/results/``; sets that were measured before on the same day stay in it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import pandas as pd
from results_file import results_path, write_results

from abi.config import load_config
from abi.documents import find
from abi.outcomes import Evaluation, Trained
from flows.common import Common
from flows.retrain import Request, judge
from flows.session import flag_settings
from tasks.orchestration import in_process
from tasks.stage import Call, Clock
from tasks.workspace import Workspace

BENCH = Path(os.environ.get("ABI_BENCH", Path(__file__).parent.parent.parent / "shared" / "bench"))
SETS: Final[dict[str, dict[str, object]]] = {
    "wall_following": {
        "data.order": "rows",
        "data.series": {"lags": [1, 2], "windows": [9], "statistics": ["mean"], "differences": False},
    },
    "djia_news": {},
    "ml_latest_small": {
        "data.roles": {"user": "userId", "item": "movieId", "time": "timestamp", "ids": False},
        "data.columns": {"title": "ignore", "timestamp": "ignore"},
    },
    "criteo_10k": {},
    "click_kdd12": {"training.refit": True},
    "amazon_access": {"envelope.parameters": 1_000_000},
}
TO_REACH: Final = {
    "wall_following": 0.996,
    "ml_latest_small": 1.0,
    "criteo_10k": 0.736,
    "click_kdd12": 0.711,
    "amazon_access": 0.887,
}
QUIET: Final = {"checks.data_docs": False, "evaluation.resamples": 1000}


def measure(name: str, asked: dict[str, object], validation: bool) -> dict[str, Any]:
    """One run: figures of the model, its uniform control and the baseline, and what it took."""
    about = json.loads((BENCH / "BENCH.json").read_bytes())[name]
    settings = {**QUIET, **SETS[name], **asked}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        train, test = (BENCH / name / f"{part}.parquet" for part in ("train", "test"))
        if validation:
            train, test = _earlier(train, place, ordered="time" in about["split"])
        call = Call.of(Workspace.open(place / "ws"), name, load_config(settings=settings, ambient=False))
        clock, start, before = Clock(), time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        evaluation, uniform, rounds = _flow(call, clock, train, test, about["target"])
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
        schema = evaluation.trained.plan.attention.scores.problem.schema
        found: dict[str, Any] = {
            "metric": evaluation.primary,
            "model": {m: round(e.value, 6) for m, e in evaluation.metrics.items()},
            "interval": [evaluation.metrics[evaluation.primary].low, evaluation.metrics[evaluation.primary].high],
            "uniform": {m: round(e.value, 6) for m, e in evaluation.control("uniform").metrics.items()},
            "baseline": {m: round(e.value, 6) for m, e in evaluation.control("baseline").metrics.items()},
            "signal": None if evaluation.signal is None else "found" if evaluation.signal.found else "none",
            "family": evaluation.trained.family,
            "features": len(schema.features),
            "parameters": {"model": evaluation.trained.measured.parameters, "uniform": uniform.measured.parameters},
            "id_tables": {"model": _tables(evaluation.trained), "uniform": _tables(uniform)},
            "rounds": rounds,
            "wall_s": round(seconds, 1),
            "processor_s": round(after.ru_utime - before.ru_utime, 1),
            "stages_s": clock.seconds,
            "on": "validation" if validation else "test",
            "settings": settings,
        }
    if not validation:
        found["to_reach"] = TO_REACH.get(name)
        found["peers"] = json.loads((BENCH / "BASELINES.json").read_bytes())[name]["models"]
    return found


def _flow(call: Call, clock: Clock, train: Path, test: Path, target: str) -> tuple[Evaluation, Trained, int]:
    """The stages of `flows.retrain` up to the evaluation."""
    found = judge(in_process(call, clock), Request(call, target, str(train), str(test)))
    evaluation = find(call.ws.get(found.evaluation), Evaluation)
    return evaluation, find(call.ws.get(found.control), Trained), len(found.moves)


def _tables(trained: Trained) -> dict[str, int]:
    """Rows times width of each table of ids."""
    return {f.feature: f.rows * f.width for f in trained.plan.capacity.features if f.rows}


def _earlier(train: Path, place: Path, ordered: bool) -> tuple[Path, Path]:
    """The training file's first four fifths, and its last fifth (of rows without an order a random one) as a test file."""
    frame = pd.read_parquet(train)
    frame = frame if ordered else frame.sample(frac=1, random_state=0, ignore_index=True)
    cut = int(0.8 * len(frame))
    paths = place / "train.parquet", place / "test.parquet"
    for path, part in zip(paths, (frame[:cut], frame[cut:]), strict=True):
        part.to_parquet(path, index=False)
    return paths


def main() -> None:
    """Measure the sets that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--validation", action="store_true")
    options = parser.parse_args()
    asked = flag_settings(Common(set=options.settings), [])
    path = results_path("ordered")
    figures = json.loads(path.read_bytes())["figures"] if path.exists() else {}
    for name in options.sets.split(","):
        found = measure(name, asked, options.validation)
        metric = found["metric"]
        print(
            f"{name:18} {found['on']:10} {metric} {found['model'][metric]:.4f}, uniform {found['uniform'][metric]:.4f}, "
            f"baseline {found['baseline'][metric]:.4f}, to reach {found.get('to_reach')}; {found['family']}, signal {found['signal']}, "
            f"{found['parameters']['model']:,} parameters (uniform {found['parameters']['uniform']:,}), id tables {sum(found['id_tables']['model'].values()):,} "
            f"(uniform {sum(found['id_tables']['uniform'].values()):,}), {found['wall_s']:.0f} s, {found['processor_s']:.0f} s of processor time"
        )
        if options.validation:
            continue
        figures[name] = found
        write_results("ordered", figures)


if __name__ == "__main__":
    main()
