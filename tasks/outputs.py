"""Files beside the record: reports again, and metrics and plots in the form that DVC shows and compares."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from abi.documents import find
from abi.errors import UsageError
from abi.outcomes import Evaluation, Move
from abi.problem import Checks
from abi.report.content import Report
from abi.report.page import render
from tasks.stage import Call
from tasks.workspace import Workspace, disk_errors


def read_report(folder: Path) -> Report:
    """The report of a run's folder."""
    plain = json.loads((folder / "report.json").read_bytes())
    report: Report = Report.from_json(plain["value"])
    return report


def find_run(ws: Workspace, run_id: str) -> Report:
    """The report of the run with that MLflow run id.

    Raises:
        UsageError: this workspace has none.
    """
    found = [
        path.parent
        for path in sorted(ws.runs.glob("*/run.json"))
        if str(json.loads(path.read_bytes())["run_id"]) == run_id
    ]
    if not found:
        msg = f"Expected the report of run {run_id} in {ws.root}, found none: name the --workspace that it was recorded in, or take report.html of that run in MLflow."
        raise UsageError(msg)
    return read_report(found[0])


def write_report(ws: Workspace, report: Report, path: Path) -> Path:
    """Render it to `path`."""
    ws.write(path.resolve(), render(report).encode(), flag="--out")
    return path


def write_outputs(folder: Path, result: dict[str, Any], out: Path) -> None:
    """`metrics.json`, `run.json`, `report.html` and `plots/*.csv` for ``dvc metrics`` and ``dvc plots``."""
    report = read_report(folder)
    kept = report.evaluation.trained
    with disk_errors(out, "--out"):
        plots = out / "plots"
        plots.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "report.html", out / "report.html")
        metrics = {
            "test": result["metrics"],
            "control": result["control"],
            "gain": {name: gain["difference"] for name, gain in result["gain"].items()},
            "plan": {"predicted": result["plan"]["predicted"], "measured": result["plan"]["measured"]},
        }
        (out / "metrics.json").write_text(json.dumps(metrics, indent=1))
        (out / "run.json").write_text(json.dumps(result, ensure_ascii=False, indent=1))
        widths, trees = result["plan"]["features"], result["plan"]["trees"]
        _table(
            plots / "attention.csv",
            ("feature", "attention", "score", "width", "contribution"),
            (
                (f, a, result["scores"][f], widths.get(f, 0), trees.get(f, {}).get("contribution", 0))
                for f, a in result["attention"].items()
            ),
        )
        _table(
            plots / "training.csv",
            ("epoch", "train_loss", "validation_loss"),
            ((e.epoch, e.train_loss, e.validation_loss) for e in kept.history),
        )
        calibration = report.evaluation.calibration
        _table(
            plots / "calibration.csv",
            ("predicted", "observed"),
            ((b.predicted, b.observed) for b in (calibration.bins if calibration else ())),
        )


def _table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    path.write_text(text.getvalue())


def report_of_evaluation(call: Call, evaluation: Evaluation) -> Report:
    """A report of one evaluation that no run recorded: its own round, with the checks made again."""
    from tasks.checks import validate
    from tasks.recording import compose

    ws, trained = call.ws, evaluation.trained
    attention = trained.plan.attention
    checks: Checks = find(ws.get(validate(call, ws.put(attention.scores.problem))), Checks)
    move = Move(trained=trained, attention=attention, continues=False, reason="one round was asked for")
    return compose(call, "", checks, evaluation, None, [move])
