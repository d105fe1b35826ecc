"""A small world that can be broken over and over: one tiny table, one workspace path, `abi` run by fork.

The parent imports everything once, and neither trains nor keeps a database open; each attempt is a fork of it, so that it
takes a second and can be killed. Workspaces are copies of a template at one fixed path, since paths are part of what is
recorded.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
ROWS = 120
TARGET = "label"
SETTINGS = (
    "training.family=network",
    "training.epochs=1",
    "training.threads=1",
    "iterate.rounds=1",
    "attention.temperatures=[0.4]",
    "evaluation.resamples=100",
    "evaluation.latency_calls=5",
    "checks.data_docs=false",
    "gates.loads=false",
    "gates.champion=null",
    "gates.signal=false",
    "gates.uniform=null",
    "gates.baseline=null",
    "gates.slices=null",
    "gates.calibration=null",
    "gates.movement=null",
    "tracking.patience=20",
    "audit.patience=20",
)
WARM = (
    "abi.families.stored", "flows.commands", "flows.promoting", "flows.retrain", "great_expectations", "lightgbm",
    "matplotlib.pyplot", "mlflow.pyfunc", "model_signing", "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store", "mlflow.models.model", "scipy.stats", "sigstore.dsse", "sklearn.ensemble",
    "sqlalchemy.dialects.sqlite", "tabm", "tasks.audit", "tasks.expectations", "tasks.orchestration", "tasks.outputs",
    "tasks.preflight", "tasks.promotion", "tasks.recording", "tasks.registration", "tasks.terminal", "tasks.validation",
    "torch._dynamo", "torch.optim",
)  # fmt: skip
FLAGS = [word for setting in SETTINGS for word in ("--set", setting)]


@dataclass(frozen=True)
class Ended:
    """How a fork ended: its exit code (minus the signal where one ended it), what it said, and how long it took."""

    code: int
    said: str
    seconds: float

    @property
    def killed(self) -> bool:
        """Whether a signal ended it that it could not handle."""
        return self.code in {-signal.SIGKILL, -signal.SIGALRM}


@dataclass(frozen=True)
class World:
    """Where everything lies."""

    root: Path

    @classmethod
    def make(cls) -> World:
        """A new folder, in memory where there is some, with the table."""
        place = MEMORY if os.access(MEMORY, os.W_OK) else None
        world = cls(Path(tempfile.mkdtemp(prefix="abi-chaos-", dir=place)))
        random = np.random.default_rng(0)
        table = pd.DataFrame(
            {
                "size": random.normal(size=ROWS),
                "weight": random.normal(size=ROWS),
                "colour": random.choice(["red", "green", "blue"], ROWS),
            }
        )
        strength = 2 * table["size"] - table["weight"]
        table[TARGET] = np.where(strength + random.logistic(size=ROWS) > 0, "yes", "no")
        table.to_csv(world.data, index=False)
        return world

    @property
    def data(self) -> Path:
        """The table."""
        return self.root / "shop.csv"

    @property
    def workspace(self) -> Path:
        """Where each attempt works."""
        return self.root / "ws"

    @property
    def trace(self) -> Path:
        """What the attempt crossed and started (`chaos_trace`)."""
        return self.root / "trace"

    @property
    def temporary(self) -> Path:
        """TMPDIR of attempts."""
        return self.root / "tmp"

    def keep(self, name: str) -> None:
        """Make a template of the workspace as it is."""
        shutil.rmtree(self.root / name, ignore_errors=True)
        if self.workspace.exists():
            shutil.copytree(self.workspace, self.root / name, symlinks=True)
        else:
            (self.root / name).mkdir()

    def reset(self, name: str | None) -> None:
        """The workspace as the template was; none where `name` is None."""
        for folder in (self.workspace, self.temporary):
            shutil.rmtree(folder, ignore_errors=True)
        self.temporary.mkdir()
        self.trace.unlink(missing_ok=True)
        if name is not None:
            shutil.copytree(self.root / name, self.workspace, symlinks=True)

    def run_words(self, seed: int = 0) -> list[str]:
        """`abi run` on the table."""
        return ["run", str(self.data), "--target", TARGET, "--seed", str(seed), *self.flags]

    @property
    def flags(self) -> list[str]:
        """What every command gets."""
        return ["--workspace", str(self.workspace), "--no-color", *FLAGS]

    def abi(self, words: list[str], before: Callable[[], None] | None = None) -> Ended:
        """One command, in a fork; `before` runs first in it."""

        def work() -> int:
            from flows import cli

            return cli.execute(words)

        return self.fork(work, before)

    def fork(self, work: Callable[[], int], before: Callable[[], None] | None = None) -> Ended:
        """Anything, in a fork."""
        start, said = time.monotonic(), self.root / "said"
        child = os.fork()
        if child == 0:
            _be_child(said, self.temporary, work, before)
        _, status = os.waitpid(child, 0)
        return Ended(
            os.waitstatus_to_exitcode(status), said.read_text(errors="replace"), round(time.monotonic() - start, 2)
        )

    def remove(self) -> None:
        """Leave nothing."""
        shutil.rmtree(self.root, ignore_errors=True)


def warm() -> None:
    """Import all that a run needs; one thread each, so that forks are safe."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for name in ("ABI_WORKSPACE", "MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        os.environ.pop(name, None)
    importlib.import_module("tasks")  # telemetry off, before anything else
    for name in WARM:
        importlib.import_module(name)
    from abi import documents, values
    from abi.report import charts, template
    from tasks import tracking

    tracking.prepare()
    tracking.empty_database()  # two seconds of each fork's first use
    template.template("page.html.j2")
    charts.svg("warm", "", (1.0, 1.0), lambda figure: figure.add_subplot().set_title("warm"))
    for kind in documents.KINDS.values():  # how a value is written; a second of each fork
        values._adapter(kind)


def plain_stages() -> None:
    """Run stages in this process, finished ones reused: no ten seconds of Prefect's start."""
    import tasks.orchestration as module

    def run(call: object, clock: object, body: Callable[[object], str], flow_name: str) -> str:
        return body(module.in_process(call, clock, reuse=True))  # type: ignore[arg-type]

    module.in_prefect = lambda ws: contextlib.nullcontext(run)  # type: ignore[assignment,return-value]


def say(text: str) -> None:
    """For who watches."""
    print(text, file=sys.stderr, flush=True)


def _be_child(said: Path, temporary: Path, work: Callable[[], int], before: Callable[[], None] | None) -> None:
    code = 99
    try:
        out = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.environ["TMPDIR"] = str(temporary)
        tempfile.tempdir = None
        plain_stages()
        if before is not None:
            before()
        code = work()
    except BaseException:  # the fork must not go on as the parent
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
