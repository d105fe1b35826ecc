"""Predict with a stored model in a process of its own: what a server would get, without anything of this process.

Run as a script: ``fresh_process.py FOLDER`` reads rows as JSON from stdin and prints the predictions as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

TIMEOUT_S = 300
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "PYTHONWARNINGS": "ignore",
}


def plain_rows(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Column -> values as JSON has them: missing ones None, times as text, files as base64."""
    import base64

    import pandas as pd

    def plain(value: Any) -> Any:
        if pd.api.types.is_scalar(value) and pd.isna(value):
            return None
        if isinstance(value, bytes):
            return base64.b64encode(value).decode("ascii")
        value = value.item() if hasattr(value, "item") else value
        return value if isinstance(value, (bool, int, float, str)) else str(value)

    return {str(name): [plain(value) for value in frame[name].tolist()] for name in frame.columns}


def frame_of(rows: dict[str, list[Any]]) -> pd.DataFrame:
    """The other way round."""
    import pandas as pd

    return pd.DataFrame(rows)


def predict_afresh(folder: Path, rows: dict[str, list[Any]]) -> dict[str, list[Any]] | str:
    """What the model in an MLflow model folder predicts for the rows in a new process; or in a sentence, what came."""
    command = [sys.executable, str(Path(__file__)), str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 - our own file
            command,
            input=json.dumps(rows),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            env={**os.environ, **QUIET},
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {TIMEOUT_S} s"
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        return f"it ended with {said[-1] if said else f'exit code {done.returncode}'}"
    try:
        answer: dict[str, list[Any]] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return "an answer that is no JSON"
    return answer


def main() -> None:
    """The script."""
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(sys.argv[1])
    answer = model.predict(frame_of(json.load(sys.stdin)))
    sys.stdout.write(json.dumps(plain_rows(answer)) + "\n")


if __name__ == "__main__":
    main()
