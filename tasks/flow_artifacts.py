"""What a flow run shows on Prefect's pages: the verdict in markdown and attention as a table."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from abi.outcomes import Evaluation
from abi.report.summary import verdict
from abi.sections import masked
from tasks.decisions import flow_run
from tasks.outputs import read_report
from tasks.progress import say
from tasks.stage import Call


def publish(call: Call, folder: Path) -> None:
    """Store both with the flow run that is going on; a server that refuses them costs a warning and no run."""
    if flow_run() is None or (folder / "stream.json").is_file():  # a stream has a page of its own kind
        return
    try:
        from prefect.artifacts import create_markdown_artifact, create_table_artifact

        result: dict[str, Any] = json.loads((folder / "run.json").read_bytes())
        name = result["model"]["name"]
        tracking_uri = call.settings.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or str(call.ws.mlflow_db)
        create_markdown_artifact(
            markdown=told(result, read_report(folder).evaluation, tracking_uri),
            key=artifact_key(name, "verdict"),
            description=f"What {result['model']['uri']} is worth",
        )
        create_table_artifact(
            table=attention_rows(result),
            key=artifact_key(name, "attention"),
            description=f"What each feature got in {result['model']['uri']}",
        )
    except Exception as error:
        say(f"warning   the flow run's pages lack the verdict ({type(error).__name__}: {error})")


def artifact_key(name: str, what: str) -> str:
    """A key as Prefect takes them: lowercase letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", f"{name}-{what}".lower()).strip("-")


def told(result: dict[str, Any], evaluation: Evaluation, tracking_uri: str) -> str:
    """Verdict, figures, and where the rest lies."""
    rows = [
        f"| {metric} | {value:.4f} | " + " | ".join(f"{control[metric]:.4f}" for control in result["control"].values()) + " |"
        for metric, value in result["metrics"].items()
    ]  # fmt: skip
    return "\n".join(
        [
            f"## {result['model']['uri']}",
            "",
            verdict(evaluation),
            "",
            f"| metric | model | {' | '.join(result['control'])} |",
            f"|---|---|{'---|' * len(result['control'])}",
            *rows,
            "",
            f"- MLflow run: {run_link(tracking_uri, result['run_id'])}",
            f"- report: `{result['report']}`",
            f"- snapshot SHA-256: `{result['snapshot']['sha256']}`",
        ]
    )


def run_link(tracking_uri: str, run_id: str) -> str:
    """A link where MLflow is a server; the run's id and its store elsewhere."""
    place = masked(tracking_uri)
    if place.startswith("http"):
        return f"[{run_id}]({place.rstrip('/')}/#/runs/{run_id})"
    return f"`{run_id}` in `{place}`"


def attention_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per feature, the heaviest first."""
    widths, trees = result["plan"]["features"], result["plan"]["trees"]
    return [
        {
            "feature": feature,
            "score": round(result["scores"][feature], 4),
            "weight": round(weight, 4),
            "width": widths.get(feature, 0),
            "bins of trees": trees.get(feature, {}).get("bins", 0),
        }
        for feature, weight in sorted(result["attention"].items(), key=lambda item: -item[1])
    ]
