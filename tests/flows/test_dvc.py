"""`dvc repro` on a copy of this repository: the same work, and metrics and plots that DVC can show and compare."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHORT = {
    "ABI_TRAINING__FAMILY": "network",
    "ABI_TRAINING__EPOCHS": "2",
    "ABI_TRAINING__THREADS": "1",
    "ABI_ITERATE__ROUNDS": "1",
    "ABI_ATTENTION__TEMPERATURES": "[0.4]",
    "ABI_EVALUATION__RESAMPLES": "100",
    "ABI_CHECKS__DATA_DOCS": "false",
    "DVC_NO_ANALYTICS": "1",
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    place = tmp_path / "copy"
    place.mkdir()
    for name in ("abi", "flows", "tasks"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dvc.yaml", place)
    (place / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    (place / ".venv").symlink_to(sys.prefix)
    for command in (
        ["git", "init", "-q"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "start", "--allow-empty"],
    ):
        subprocess.run(command, cwd=place, check=True, env=os.environ | SHORT)
    return place


def _dvc(place: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=place,
        env=os.environ | SHORT | {"PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_repro_runs_the_pipeline_and_metrics_and_plots_have_something_to_say(copy: Path) -> None:
    _dvc(copy, "repro")
    shown = json.loads(_dvc(copy, "metrics", "show", "--json"))
    metrics = shown[""]["data"]["out/metrics.json"]["data"]
    assert set(metrics) == {"test", "control", "gain", "plan"}
    assert 0.5 < metrics["test"]["roc_auc"] <= 1
    assert "didn't change" in _dvc(copy, "repro")
    subprocess.run(["git", "add", "-A"], cwd=copy, check=True)
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "first"], cwd=copy, check=True
    )
    settings = copy / "tasks" / "demo.yaml"
    settings.write_text(settings.read_text().replace("parameters: 40k", "parameters: 20k"))
    _dvc(copy, "repro")
    changed = json.loads(_dvc(copy, "metrics", "diff", "--json"))["out/metrics.json"]
    assert changed["plan.measured.parameters"]["new"] < changed["plan.measured.parameters"]["old"]
    _dvc(copy, "plots", "show", "-o", "plots")
    page = (copy / "plots" / "index.html").read_text()
    assert "Attention per feature" in page
    assert "mean_radius" in page
