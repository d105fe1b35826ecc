"""Time and peak memory of scoring by rows and columns, beside reading the file and scikit-learn's mutual information.

    python benchmarks/scoring.py [--short]

Each size runs in a process of its own, so that its peak memory is its own. Prints a table and writes dated JSON into
``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from results_file import write_results
from scipy import stats

ROWS = (20_000, 200_000, 2_000_000)
COLUMNS = (10, 100, 500)
PEER_ROWS = 20_000
CHUNK_ROWS = 100_000
TARGET = "target"


def write_table(path: Path, rows: int, columns: int, task: str) -> None:
    """Four numeric columns in five, the fifth categorical; each tells less of the target than the one before."""
    rng = np.random.default_rng(columns)
    weights = 2.0 ** (-np.arange(columns) / 4)
    shifts = rng.normal(size=40)
    writer: pq.ParquetWriter | None = None
    for start in range(0, rows, CHUNK_ROWS):
        size = min(CHUNK_ROWS, rows - start)
        value = rng.normal(size=size)
        data: dict[str, Any] = {}
        for i in range(columns):
            if i % 5 == 4:
                codes = rng.integers(0, len(shifts), size)
                data[f"c{i}"] = pa.DictionaryArray.from_arrays(codes, [f"value {k}" for k in range(len(shifts))])
                value += weights[i] * shifts[codes]
            else:
                data[f"x{i}"] = rng.normal(size=size) if i % 3 else rng.lognormal(size=size)
                value += weights[i] * np.tanh(data[f"x{i}"])
        data[TARGET] = value if task == "regression" else np.where(value > 0, "yes", "no")
        table = pa.table(data)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def measure_one(path: Path, folder: Path, columns: int, peer: bool) -> dict[str, Any]:
    """Read and score one table (only convert it where `columns` is 0); called in a process of its own."""
    from abi.config import DataConfig, ScoringConfig  # noqa: PLC0415 - what is measured starts with an empty process
    from abi.data.convert import convert  # noqa: PLC0415
    from abi.data.infer import infer_schema  # noqa: PLC0415
    from abi.data.reader import Reader  # noqa: PLC0415
    from abi.data.source import hash_file  # noqa: PLC0415
    from abi.scoring.score import score  # noqa: PLC0415
    from abi.types import DataFile, Problem, Snapshot, Split  # noqa: PLC0415

    digest = hash_file(path)
    table = convert(path, folder, digest.sha256)
    if columns == 0:
        return {}
    schema = infer_schema(table, TARGET, DataConfig())
    file = DataFile(
        role="train",
        format="parquet",
        md5=digest.md5,
        sha256=digest.sha256,
        size_bytes=digest.size_bytes,
        rows=table.rows,
    )
    split = Split(seed=0, validation=0.0, test=0.0)
    reader = Reader(Problem(snapshot=Snapshot(files=(file,)), schema=schema, split=split), table, None)
    before_bytes = _peak_bytes()
    start = time.perf_counter()
    scores = score(reader, ScoringConfig())
    score_s = time.perf_counter() - start
    score_bytes = _peak_bytes()
    start = time.perf_counter()
    rows = sum(batch.num_rows for _, batch in table.batches())
    read_s = time.perf_counter() - start
    start = time.perf_counter()
    encoded = sum(len(chunk.row_numbers) for chunk in reader.chunks("train"))
    encode_s = time.perf_counter() - start
    assert rows == encoded == table.rows
    result = {
        "rows": table.rows,
        "columns": columns,
        "task": schema.task,
        "score_s": score_s,
        "read_s": read_s,
        "read_and_encode_s": encode_s,
        "peak_bytes": score_bytes,
        "peak_before_bytes": before_bytes,
        "carries_signal": sum(f.carries_signal for f in scores.features),
    }
    if peer:
        result |= _peer(reader, scores, schema.task)
    return result


def _peer(reader: Any, scores: Any, task: str) -> dict[str, Any]:
    """scikit-learn's nearest-neighbour estimate on the same rows, ranked over the features that carry signal."""
    from sklearn.feature_selection import mutual_info_classif, mutual_info_regression  # noqa: PLC0415

    columns = reader.load("train")
    features = reader.problem.schema.features
    discrete = np.array([f.kind != "numeric" for f in features])
    matrix = np.empty((len(columns.row_numbers), len(features)))
    matrix[:, ~discrete] = columns.numeric
    matrix[:, discrete] = np.column_stack([codes.codes for codes in columns.categorical])
    start = time.perf_counter()
    estimate = mutual_info_regression if task == "regression" else mutual_info_classif
    found = estimate(matrix, columns.target, discrete_features=discrete, random_state=0)
    seconds = time.perf_counter() - start
    carrying = [i for i, f in enumerate(scores.features) if f.carries_signal]
    ours = [scores.features[i].relevance for i in carrying]
    return {"peer_s": seconds, "rank_correlation": float(stats.spearmanr(ours, found[carrying])[0])}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(rows: int, columns: int, task: str, peer: bool) -> dict[str, Any]:
    """One size: the table is written and converted by other processes than the one that is measured."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "raw.parquet"
        # ru_maxrss starts from the peak of the process that started this one, so that one must stay small
        made = [sys.executable, __file__, "--write", str(path), "--rows", str(rows), "--columns", str(columns)]
        subprocess.run([*made, "--task", task], check=True)
        command = [sys.executable, __file__, "--one", str(path), "--columns"]
        subprocess.run([*command, "0"], check=True, capture_output=True)
        flags = ["--peer"] if peer else []
        done = subprocess.run([*command, str(columns), *flags], check=True, capture_output=True, text=True)
        measured: dict[str, Any] = json.loads(done.stdout)
        return measured


def slope(points: list[dict[str, Any]], along: str) -> float:
    """Slope of log time over log size: 1 is linear."""
    return float(np.polyfit(np.log([p[along] for p in points]), np.log([p["score_s"] for p in points]), 1)[0])


def main() -> None:
    """Measure all sizes, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="leave out the largest sizes")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--columns", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write_table(options.write, options.rows, options.columns, options.task)
        return
    if options.one:
        print(json.dumps(measure_one(options.one, options.one.parent, options.columns, options.peer)))
        return
    row_sizes, column_sizes = (ROWS[:-1], COLUMNS[:-1]) if options.short else (ROWS, COLUMNS)
    by_rows = [run(rows, 20, "binary", rows == PEER_ROWS) for rows in row_sizes]
    by_columns = [run(200_000, columns, "binary", False) for columns in column_sizes]
    regression = [run(PEER_ROWS, 20, "regression", True), run(200_000, 20, "regression", False)]
    points = [*by_rows, *by_columns, *regression]
    print(pd.DataFrame(points).to_string(float_format=lambda x: f"{x:.3g}"))
    summary = {
        "slope_rows": slope(by_rows[-2:], "rows"),
        "slope_columns": slope(by_columns[-2:], "columns"),
        "peak_growth_last_tenfold_rows": by_rows[-1]["peak_bytes"] / by_rows[-2]["peak_bytes"],
        "time_over_reading_largest": by_rows[-1]["score_s"] / by_rows[-1]["read_s"],
        "peer_time_ratio": by_rows[0]["peer_s"] / by_rows[0]["score_s"],
        "peer_rank_correlation": by_rows[0]["rank_correlation"],
    }
    for name, value in summary.items():
        print(f"{name:40s} {value:.3g}")
    print(write_results("scoring", {"summary": summary, "points": points}))


if __name__ == "__main__":
    main()
