"""What signing and verifying a model folder costs, by its size: medians in seconds, beside one SHA-256 of the same bytes.

python benchmarks/signing.py
"""

from __future__ import annotations

import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from results_file import write_results
from safetensors.numpy import save

from abi.operations import SigningConfig
from tasks.signing import Signing
from tasks.workspace import Workspace

MEGABYTES = (0.1, 1, 10, 100, 1000)
REPEATS = 7


def main() -> None:
    """Measure each size, and the first use in a process, which imports model-signing."""
    figures: dict[str, object] = {"import_s": _import_s()}
    print(f"import of model-signing {figures['import_s']} s")
    print(f"{'weights':>10} {'sign':>9} {'verify':>9} {'SHA-256':>9}")
    with tempfile.TemporaryDirectory() as place:
        signing = Signing(Workspace.open(Path(place) / "ws"), SigningConfig())
        for size in MEGABYTES:
            folder = _model(Path(place) / f"{size}MB", size)
            signing.sign(folder)  # the first makes the key and imports
            data = (folder / "weights.safetensors").read_bytes()
            row = {
                "sign_s": _median(lambda folder=folder: signing.sign(folder)),  # type: ignore[misc]
                "verify_s": _median(lambda folder=folder: signing.verify(folder)),  # type: ignore[misc]
                "sha256_s": _median(lambda data=data: hashlib.sha256(data)),  # type: ignore[misc]
            }
            figures[f"{size} MB"] = row
            print(f"{size:>7} MB " + " ".join(f"{value:>9.4f}" for value in row.values()))
    print(write_results("signing", figures))


def _model(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    numbers = np.random.default_rng(0).standard_normal(int(megabytes * 250_000), dtype=np.float32)
    (folder / "weights.safetensors").write_bytes(save({"weights": numbers}))
    (folder / "model.json").write_text('{"family": "network"}')
    return folder


def _median(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return round(statistics.median(times), 4)


def _import_s() -> float:
    code = "import time; t = time.perf_counter(); import model_signing.signing, model_signing.verifying; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    return round(min(float(run.stdout) for run in runs), 3)


if __name__ == "__main__":
    main()
