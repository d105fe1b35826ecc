"""The demo's data: a real table that scikit-learn bundles, written as a CSV file."""

from __future__ import annotations

from pathlib import Path

from tasks.workspace import Workspace

SETTINGS = Path(__file__).with_name("demo.yaml")
TARGET = "diagnosis"


def write_table(ws: Workspace, path: Path | None = None) -> Path:
    """Breast Cancer Wisconsin (Diagnostic), 569 rows and 30 measured features of cell nuclei (Wolberg et al. 1995)."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer(as_frame=True)
    frame = bunch.data.rename(columns=lambda name: name.replace(" ", "_"))
    frame[TARGET] = [str(bunch.target_names[code]) for code in bunch.target]
    path = path or ws.root / "demo" / "breast_cancer.csv"
    content = frame.to_csv(index=False).encode()
    if not path.is_file() or path.read_bytes() != content:
        ws.write(path, content)
    return path
