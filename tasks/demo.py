"""The demo's data: a real table that scikit-learn bundles, written as a CSV file into the workspace."""

from __future__ import annotations

from pathlib import Path

from tasks.workspace import Workspace

NAME = "breast_cancer"
TARGET = "diagnosis"
SETTINGS = ("iterate.rounds=2", "envelope.parameters=30k", "envelope.train_time=20s", "iterate.pilot_epochs=6")
"""Small, so that the demo ends in about a minute on two cores."""


def write_table(ws: Workspace) -> Path:
    """Breast Cancer Wisconsin (Diagnostic), 569 rows and 30 measured features of cell nuclei (Wolberg et al. 1995)."""
    from sklearn.datasets import load_breast_cancer  # noqa: PLC0415 - takes a second to import

    bunch = load_breast_cancer(as_frame=True)
    frame = bunch.data.rename(columns=lambda name: name.replace(" ", "_"))
    frame[TARGET] = [str(bunch.target_names[code]) for code in bunch.target]
    path = ws.root / "demo" / f"{NAME}.csv"
    content = frame.to_csv(index=False).encode()
    if not path.is_file() or path.read_bytes() != content:
        ws.write(path, content)
    return path
