"""The demo's data: a real table that scikit-learn bundles, written as a CSV file."""

from __future__ import annotations

import gzip
from pathlib import Path

from abi.errors import UsageError
from tasks.workspace import write_whole

SETTINGS = Path(__file__).with_name("demo.yaml")
TARGET = "diagnosis"
ENDINGS = (".csv", ".csv.gz")


def write_table(path: Path, flag: str = "--write") -> None:
    """Breast Cancer Wisconsin (Diagnostic), 569 rows and 30 measured features of cell nuclei (Wolberg et al. 1995).

    Raises:
        UsageError: the name is of another kind of file.
    """
    from sklearn.datasets import load_breast_cancer

    if not path.name.lower().endswith(ENDINGS):
        msg = f"Expected --write as a {' or '.join(ENDINGS)} file, got {path}: give it such a name."
        raise UsageError(msg)
    bunch = load_breast_cancer(as_frame=True)
    frame = bunch.data.rename(columns=lambda name: name.replace(" ", "_"))
    frame[TARGET] = [str(bunch.target_names[code]) for code in bunch.target]
    content = frame.to_csv(index=False).encode()
    if path.suffix.lower() == ".gz":
        content = gzip.compress(content, mtime=0)  # the same bytes each time
    if not path.is_file() or path.read_bytes() != content:
        write_whole(path.resolve(), content, flag=flag)
