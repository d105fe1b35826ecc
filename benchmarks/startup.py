"""Wall time of ``abi --help`` in a fresh process: median, least and most of 21 runs.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import time

from results_file import write_results

RUNS = 21


def main() -> None:
    """Time it after one warm-up run."""
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run(["abi", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    kept = sorted(times[1:])
    figures = {"median_s": round(statistics.median(kept), 3), "min_s": round(kept[0], 3), "max_s": round(kept[-1], 3)}
    print(figures)
    print(write_results("startup", figures))


if __name__ == "__main__":
    main()
