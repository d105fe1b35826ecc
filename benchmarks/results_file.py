"""Dated results with what they were measured on."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
LIBRARIES = (
    "dvc",
    "great-expectations",
    "lightgbm",
    "mlflow",
    "numpy",
    "pandas",
    "prefect",
    "pyarrow",
    "scikit-learn",
    "torch",
)


def results_path(name: str) -> Path:
    """Today's file."""
    return RESULTS / f"{name}-{datetime.now(tz=UTC).date()}.json"


def write_results(name: str, figures: object) -> Path:
    """``benchmarks/results/<name>-<date>.json`` with versions and hardware."""
    now = datetime.now(tz=UTC)
    plain: dict[str, Any] = {
        "date": now.isoformat(timespec="seconds"),
        "hardware": {"machine": platform.machine(), "processor": _processor(), "cores": os.cpu_count()},
        "python": platform.python_version(),
        "versions": {library: found for library in LIBRARIES if (found := _version(library))},
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    path = results_path(name)
    path.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    return path


def _version(library: str) -> str | None:
    """None where it is not installed: not every measurement needs all of them."""
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
