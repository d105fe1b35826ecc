"""What orchestration costs: the flow under Prefect over the same stages called as plain functions.

    python benchmarks/orchestration.py [DATA TARGET] [key=value ...]

Default is adult from ``$ABI_BENCH`` with one round. Both run in fresh processes and workspaces, in turn. Prints the wall
times, the start-up of Prefect's temporary server, and the ratio; writes dated JSON into ``benchmarks/results/``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results_file import write_results

BENCH = Path(os.environ.get("ABI_BENCH", Path(__file__).parent.parent.parent / "shared" / "bench"))
PLAIN = """
import sys
from pathlib import Path
import yaml
from abi.config import load_config
from flows.retrain import Request, retrain
from tasks.orchestration import in_process
from tasks.preflight import preflight
from tasks.stage import Call, Clock
from tasks.workspace import Workspace

data, target, workspace, *settings = sys.argv[1:]
ws = Workspace.open(Path(workspace))
call = Call.of(ws, "orchestration", load_config(None, {k: yaml.safe_load(v) for k, _, v in (s.partition("=") for s in settings)}))
preflight(call, data, None, target)
retrain(in_process(call, Clock()), Request(call, target, data))
"""


def timed(command: list[str]) -> float:
    """Wall seconds of a command that must succeed."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Measure both and print the ratio."""
    settings = [word for word in sys.argv[1:] if "=" in word] or ["iterate.rounds=1"]
    places = [word for word in sys.argv[1:] if "=" not in word]
    data, target = places or [str(BENCH / "adult" / "train.csv"), "income"]
    flags = [part for setting in settings for part in ("--set", setting)]
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        flow_s = timed(
            ["abi", "run", data, "--target", target, "--name", "orchestration", "--workspace", first, "-q", *flags]
        )
        plain_s = timed([sys.executable, "-c", PLAIN, data, target, second, *settings])
    figures = {
        "data": Path(data).parent.name,
        "settings": settings,
        "flow_s": round(flow_s, 1),
        "plain_s": round(plain_s, 1),
        "ratio": round(flow_s / plain_s, 3),
        "allowed_s": round(1.3 * plain_s + 10, 1),
    }
    print(figures)
    print(write_results("orchestration", figures))


if __name__ == "__main__":
    main()
