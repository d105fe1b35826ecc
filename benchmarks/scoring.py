"""Scoring: time and memory by rows and columns, beside reading the file and scikit-learn's mutual information.

    python benchmarks/scoring.py [--short] [--peer-rows N]

Each size runs in a process of its own, so that its peak memory is its own. The peer, `mutual_info_classif`, is run once
at 200,000 rows x 100 columns (minutes; fewer rows with --peer-rows) and on smaller tables of several seeds. Ranks are
compared over all features and over those that carry signal, and the peer with itself on other rows of the same table
(as many where there are enough, otherwise half as many), which no other ranking can be expected to beat. "Reading" is
pyarrow decoding every column of the table that is scored into batches of 65,536 rows, in turn with scoring; processor
time, of all threads, is given beside the clock's. Prints tables and writes dated JSON into ``benchmarks/results/``.
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
from planted_table import TARGET, kinds, write_planted
from results_file import write_results
from scipy import stats

ROWS = (20_000, 200_000, 2_000_000)
COLUMNS = (10, 100, 500)
PEER_ROWS, PEER_COLUMNS = 200_000, 100
SEED_ROWS, SEEDS = 20_000, (1, 2, 3)
SHARD_ROWS = 4_000
REPEATS = 5
CHUNK_ROWS = 100_000


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


def open_reader(path: Path) -> Any:
    """The canonical table of `path` beside it, all of whose rows are for training."""
    from abi.data.convert import convert  # noqa: PLC0415
    from abi.data.infer import infer_schema  # noqa: PLC0415
    from abi.data.reader import Reader  # noqa: PLC0415
    from abi.data.source import hash_file  # noqa: PLC0415
    from abi.problem import DataFile, Problem, Snapshot, Split  # noqa: PLC0415
    from abi.reading import DataConfig  # noqa: PLC0415 - what is measured starts with an empty process

    digest = hash_file(path)
    table = convert(path, path.parent, digest.sha256)
    file = DataFile(
        role="train",
        format="parquet",
        md5=digest.md5,
        sha256=digest.sha256,
        size_bytes=digest.size_bytes,
        rows=table.rows,
    )
    schema = infer_schema(table, TARGET, DataConfig())
    split = Split(seed=0, validation=0.0, test=0.0)
    return Reader(Problem(snapshot=Snapshot(files=(file,)), schema=schema, split=split), table, None)


def measure(path: Path) -> dict[str, Any]:
    """Read and score one table, a few times in turn; called in a process of its own."""
    from abi.config import ScoringConfig  # noqa: PLC0415
    from abi.scoring.score import score  # noqa: PLC0415

    reader = open_reader(path)
    before_bytes = _peak_bytes()
    first_s, scores = _timed(lambda: score(reader, ScoringConfig()))
    peak_bytes = _peak_bytes()
    score_s, read_s, raw_s, encode_s, score_cpu_s, read_cpu_s = [], [], [], [], [], []
    for _ in range(REPEATS):
        start_s = time.process_time()
        read_s.append(_timed(lambda: sum(batch.num_rows for _, batch in reader.train.batches()))[0])
        between_s = time.process_time()
        score_s.append(_timed(lambda: score(reader, ScoringConfig()))[0])
        read_cpu_s.append(between_s - start_s)
        score_cpu_s.append(time.process_time() - between_s)
        raw_s.append(_timed(lambda: sum(batch.num_rows for batch in pq.ParquetFile(path).iter_batches()))[0])
        encode_s.append(_timed(lambda: sum(len(chunk) for chunk in reader.chunks("train")))[0])
    return {
        "rows": reader.train.rows,
        "columns": len(reader.problem.schema.features),
        "task": reader.problem.schema.task,
        "score_s": float(np.median(score_s)),
        "first_score_s": first_s,
        "read_s": float(np.median(read_s)),
        "read_unconverted_s": float(np.median(raw_s)),
        "read_and_encode_s": float(np.median(encode_s)),
        "score_cpu_s": float(np.median(score_cpu_s)),
        "read_cpu_s": float(np.median(read_cpu_s)),
        "time_over_reading": float(np.median(np.divide(score_s, read_s))),
        "cpu_over_reading": float(np.median(np.divide(score_cpu_s, read_cpu_s))),
        "peak_bytes": peak_bytes,
        "peak_before_bytes": before_bytes,
        "carries_signal": sum(f.carries_signal for f in scores.features),
    }


def compare(path: Path, peer_rows: int) -> dict[str, Any]:
    """Ranks beside the peer's, what is found of planted noise, stability and coverage; in a process of its own."""
    from abi.config import ScoringConfig  # noqa: PLC0415
    from abi.scoring.counts import count, merge_all, shards  # noqa: PLC0415
    from abi.scoring.edges import find_bins  # noqa: PLC0415
    from abi.scoring.quality import coverage, planted, stability  # noqa: PLC0415
    from abi.scoring.score import from_counts  # noqa: PLC0415

    reader, config = open_reader(path), ScoringConfig()
    bins, problem = find_bins(reader, config), reader.problem
    cuts = shards(reader.train.rows, reader.train.rows // SHARD_ROWS)
    parts = [count(reader, bins, config, part) for part in cuts]
    counts = merge_all(parts)
    scores = from_counts(counts, bins, problem, config)
    noise = [name for name in kinds(len(scores.features)) if name.startswith("noise")]
    found, steady = planted(scores, noise), stability(counts, bins, problem, config)
    held = coverage(parts, bins, problem, config)
    result = {
        "noise_recall": found.recall,
        "false_alarms": found.false_alarms,
        "stability_kendall": steady.kendall,
        "stability_spearman": steady.spearman,
        "interval_coverage": held.expected,
        "interval_coverage_of_all_rows": held.whole,
        "interval_width": held.width,
        "carries_signal": sum(f.carries_signal for f in scores.features),
    }
    columns = reader.load("train")
    start_s = time.process_time()
    peer_s, theirs = _timed(lambda: _mutual_information(columns, 0, peer_rows))
    peer_cpu_s = time.process_time() - start_s
    ours = _relevance(reader, config, peer_rows)
    carrying = np.array([f.carries_signal for f in scores.features])
    result |= {
        "peer_rows": peer_rows,
        "peer_s": peer_s,
        "peer_cpu_s": peer_cpu_s,
        "rank_correlation_all": _rank(ours, theirs),
        "rank_correlation_carrying": _rank(ours[carrying], theirs[carrying]),
    }
    half = min(peer_rows, reader.train.rows // 2)
    first = theirs if half == peer_rows else _mutual_information(columns, 0, half)
    ours = ours if half == peer_rows else _relevance(reader, config, half)
    again = _mutual_information(columns, half, 2 * half)
    return result | {
        "with_itself_rows": half,
        "peer_with_itself_all": _rank(first, again),
        "peer_with_itself_carrying": _rank(first[carrying], again[carrying]),
        "peer_with_ours_all": _rank(first, ours),
        "peer_with_ours_carrying": _rank(first[carrying], ours[carrying]),
    }


def _mutual_information(columns: Any, first: int, last: int) -> np.ndarray:
    from sklearn.feature_selection import mutual_info_classif  # noqa: PLC0415

    matrix = np.ascontiguousarray(columns.numeric[first:last])
    estimate: np.ndarray = mutual_info_classif(matrix, columns.target[first:last], random_state=0)
    return estimate


def _relevance(reader: Any, config: Any, rows: int) -> np.ndarray:
    """Ours on the peer's rows. Its order is that of the mutual information in nats, which it is a fixed share of."""
    from abi.scoring.counts import count  # noqa: PLC0415
    from abi.scoring.edges import find_bins  # noqa: PLC0415
    from abi.scoring.score import from_counts  # noqa: PLC0415

    bins = find_bins(reader, config)
    scores = from_counts(count(reader, bins, config, range(rows)), bins, reader.problem, config)
    return np.array([feature.relevance for feature in scores.features])


def _rank(first: np.ndarray, second: np.ndarray) -> float:
    return float(stats.spearmanr(first, second).statistic)


def _timed(work: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def call(*arguments: object) -> str:
    """This file as another process; ru_maxrss starts from the peak of the process that starts it, so this one stays small."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def run(rows: int, columns: int, task: str) -> dict[str, Any]:
    """One size."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "raw.parquet"
        call("--write", path, "--rows", rows, "--columns", columns, "--task", task)
        call("--convert", path)
        measured: dict[str, Any] = json.loads(call("--measure", path))
    print(json.dumps(measured), file=sys.stderr)
    return measured


def run_planted(rows: int, peer_rows: int, seed: int) -> dict[str, Any]:
    """One table with planted features, beside the peer."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "raw.parquet"
        call("--write", path, "--rows", rows, "--columns", PEER_COLUMNS, "--seed", seed)
        call("--convert", path)
        measured = json.loads(call("--measure", path))
        compared: dict[str, Any] = {
            "seed": seed,
            **measured,
            **json.loads(call("--compare", path, "--peer-rows", peer_rows)),
        }
    if peer_rows == rows:
        compared["peer_time_ratio"] = compared["peer_s"] / compared["score_s"]
        compared["peer_cpu_ratio"] = compared["peer_cpu_s"] / compared["score_cpu_s"]
    print(json.dumps(compared), file=sys.stderr)
    return compared


def slope(points: list[dict[str, Any]], along: str, of: str = "score_s") -> float:
    """Slope of log time over log size: 1 is linear."""
    return float(np.polyfit(np.log([p[along] for p in points]), np.log([p[of] for p in points]), 1)[0])


def main() -> None:
    """Measure all sizes, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="leave out the largest sizes")
    parser.add_argument("--peer-rows", type=int, default=PEER_ROWS, help="rows that the peer is run on")
    for name in ("--write", "--convert", "--measure", "--compare"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    for name in ("--rows", "--columns", "--seed"):
        parser.add_argument(name, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write and options.task:
        write_table(options.write, options.rows, options.columns, options.task)
    elif options.write:
        write_planted(options.write, options.rows, options.columns, options.seed)
    elif options.convert:
        open_reader(options.convert)
    elif options.measure:
        print(json.dumps(measure(options.measure)))
    elif options.compare:
        print(json.dumps(compare(options.compare, options.peer_rows)))
    else:
        report(options.short, options.peer_rows)


def report(short: bool, peer_rows: int) -> None:
    """All sizes; the figures to reach come first."""
    row_sizes, column_sizes = (ROWS[:-1], COLUMNS[:-1]) if short else (ROWS, COLUMNS)
    by_rows = [run(rows, 20, "binary") for rows in row_sizes]
    by_columns = [run(200_000, columns, "binary") for columns in column_sizes]
    regression = [run(200_000, 20, "regression")]
    large = run_planted(peer_rows, peer_rows, 0)
    small = [run_planted(2 * SEED_ROWS, SEED_ROWS, seed) for seed in SEEDS]
    points, seeds = [*by_rows, *by_columns, *regression], [large, *small]
    summary = {
        "peer_time_ratio": large["peer_time_ratio"],
        "peer_cpu_ratio": large["peer_cpu_ratio"],
        "rank_correlation_carrying": large["rank_correlation_carrying"],
        "rank_correlation_all": large["rank_correlation_all"],
        "peer_with_itself_all_of_half": large["peer_with_itself_all"],
        "rank_correlation_all_of_half": large["peer_with_ours_all"],
        "time_over_reading": large["time_over_reading"],
        "cpu_over_reading": large["cpu_over_reading"],
        "time_over_reading_largest": by_rows[-1]["time_over_reading"],
        "cpu_over_reading_largest": by_rows[-1]["cpu_over_reading"],
        "slope_rows": slope(by_rows[-2:], "rows"),
        "slope_columns": slope(by_columns[-2:], "columns"),
        "slope_rows_cpu": slope(by_rows[-2:], "rows", "score_cpu_s"),
        "slope_columns_cpu": slope(by_columns[-2:], "columns", "score_cpu_s"),
        "peak_growth_last_tenfold_rows": by_rows[-1]["peak_bytes"] / by_rows[-2]["peak_bytes"],
        **{
            name: large[name]
            for name in ("noise_recall", "false_alarms", "stability_kendall", "stability_spearman", "interval_coverage")
        },
        **{
            f"small_{name}": float(np.mean([one[name] for one in small]))
            for name in (
                "rank_correlation_carrying",
                "rank_correlation_all",
                "peer_with_itself_carrying",
                "peer_with_itself_all",
            )
        },
    }
    print(pd.DataFrame(points).to_string(float_format=lambda x: f"{x:.3g}"))
    print(pd.DataFrame(seeds).T.to_string(float_format=lambda x: f"{x:.3g}"))
    for name, value in summary.items():
        print(f"{name:40s} {value:.3g}")
    print(write_results("scoring", {"summary": summary, "points": points, "planted": seeds}))


if __name__ == "__main__":
    main()
