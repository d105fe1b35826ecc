from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from begun_workspace import begin

from abi.config import Config, load_config
from flows import cli

QUICK = (
    "training.epochs=2",
    "training.threads=1",
    "iterate.rounds=2",
    "iterate.plan_change=0",
    "attention.temperatures=[0.4]",
    "evaluation.resamples=100",
    "evaluation.latency_calls=5",
    "checks.data_docs=false",
)
FROM_OUTSIDE = ("ABI_WORKSPACE", "MLFLOW_TRACKING_URI", "PREFECT_HOME", "PREFECT_API_URL")


@dataclass(frozen=True)
class Answer:
    """What a command line gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output is one JSON document and nothing else."""
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """The one line that a person reads when something went wrong."""
        assert "Traceback" not in self.err
        assert "abi: Unexpected" not in self.err
        assert self.out == ""
        lines = [line for line in self.err.splitlines() if line.startswith("abi: ")]
        assert len(lines) == 1, self.err
        assert self.err.endswith(f"{lines[0]}\n")
        return lines[0]


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FROM_OUTSIDE:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def quick() -> list[str]:
    """Flags that make a run short."""
    return [word for setting in QUICK for word in ("--set", setting)]


@pytest.fixture
def settings() -> Config:
    """The same as settings."""
    return load_config(None, {key: json.loads(text) for key, text in (s.split("=") for s in QUICK)})


@pytest.fixture(scope="session")
def frame() -> Callable[..., pd.DataFrame]:
    """A table of any task: two numeric columns, a whole number, a category with gaps, a boolean."""

    def make(task: str = "binary", rows: int = 240, seed: int = 0) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        table = pd.DataFrame(
            {
                "size": random.normal(size=rows),
                "weight": random.normal(size=rows),
                "count": random.integers(0, 9, rows),
                "colour": random.choice(["red", "green", "blue", None], rows),
                "new": random.choice([True, False], rows),
            }
        )
        strength = 2 * table["size"] - table["weight"] + table["new"]
        if task == "binary":
            table["label"] = np.where(strength + random.logistic(size=rows) > 0, "yes", "no")
        elif task == "multiclass":
            cuts = np.quantile(strength, [1 / 3, 2 / 3])
            table["label"] = np.array(["low", "middle", "high"])[np.digitize(strength, cuts)]
        else:
            table["label"] = strength + random.normal(scale=0.1, size=rows)
        return table

    return make


@pytest.fixture
def data(tmp_path: Path, frame: Callable[..., pd.DataFrame]) -> Path:
    """The binary table as CSV."""
    path = tmp_path / "shop.csv"
    frame().to_csv(path, index=False)
    return path


@pytest.fixture
def abi(capsys: pytest.CaptureFixture[str], shared_folder: Path) -> Callable[..., Answer]:
    """A command line, in this process."""

    def run(*words: object) -> Answer:
        if words[0] in ("run", "adapt"):
            begin_workspace(words, shared_folder)
        capsys.readouterr()
        code = cli.execute([str(word) for word in words])
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return run


@pytest.fixture(scope="session")
def command(shared_folder: Path) -> Callable[..., Answer]:
    """A command line, in a process of its own; `before` is Python that runs first in it."""

    def run(
        *words: object, before: str = "", stdin: str | None = None, cwd: Path | None = None, **environment: str
    ) -> Answer:
        begin_workspace(words, shared_folder)
        # files and not pipes: what a killed run leaves behind holds its end of a pipe open
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            with start(words, before, cwd, environment, out, err) as process:
                process.communicate(stdin)
            out.seek(0)
            err.seek(0)
            return Answer(process.returncode, out.read(), err.read())

    return run


def begin_workspace(words: tuple[object, ...], shared: Path) -> None:
    """Give the workspace that a command line names what others have."""
    if "--workspace" in words:
        with suppress(OSError):  # a place that cannot be written is the command's to tell
            begin(Path(str(words[words.index("--workspace") + 1])), shared)


@pytest.fixture(scope="session")
def background() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A command line that goes on by itself."""
    started: list[subprocess.Popen[str]] = []

    def run(*words: object, before: str = "") -> subprocess.Popen[str]:
        started.append(start(words, before, None, {}, subprocess.PIPE, subprocess.PIPE))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def start(
    words: tuple[object, ...], before: str, cwd: Path | None, environment: dict[str, str], out: Any, err: Any
) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if name not in FROM_OUTSIDE}
    return subprocess.Popen(
        [sys.executable, "-c", f"{before}\nfrom flows.cli import main\nmain()", *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=err,
        text=True,
        cwd=cwd,
        env={**kept, "OMP_NUM_THREADS": "1", "COLUMNS": "120", **environment},
    )


@pytest.fixture(scope="session")
def versions() -> Callable[[Path], int]:
    """How many model versions a workspace has registered."""

    def count(workspace: Path) -> int:
        database = workspace / "mlflow.db"
        if not database.is_file():
            return 0
        connection = sqlite3.connect(database)
        try:
            return int(connection.execute("select count(*) from model_versions").fetchone()[0])
        finally:
            connection.close()

    return count


@pytest.fixture(scope="session")
def plain() -> str:
    """Python for `before`: stages as plain functions in that process too, finished ones reused."""
    return (
        "import contextlib, tasks.orchestration as o; o.in_prefect = lambda ws: contextlib.nullcontext("
        "lambda call, clock, body, name: body(o.in_process(call, clock, reuse=True)))"
    )


@pytest.fixture
def without_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    """`abi run` with its stages as plain functions: the whole command line, without ten seconds of a server's start."""
    import tasks.orchestration as module

    monkeypatch.setattr(
        module,
        "in_prefect",
        lambda ws: nullcontext(lambda call, clock, body, name: body(module.in_process(call, clock))),
    )
