"""Boundaries: every point at which something becomes durable. A process can name those it crosses, and die at one.

A boundary is the moment before and the moment after: a file is put in place, a database commits what was changed (the
ledger's and MLflow's), an artifact is copied, a model's folder appears, a DVC command.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COPIES = 20
"""Of files copied one by one each so-many-th is a boundary: a model takes its code along."""


@dataclass(frozen=True)
class Place:
    """A boundary: the `count`-th crossed since the stage began (`stage` is "start" before the first one)."""

    stage: str
    count: int
    at_s: float = field(default=0.0, compare=False)
    name: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.stage} {self.count} {self.name}".strip()


class Trace:
    """Writes one line for each boundary and each start of a stage; acts at one boundary, which may be to die.

    Args:
        path: the file to write, beside the workspace.
        at: the boundary to act at.
        act: what to do there, given its name.
        lasting: act at each moment before a write from then on.
    """

    def __init__(
        self,
        path: Path,
        at: Place | None = None,
        act: Callable[[str], None] | None = None,
        *,
        lasting: bool = False,
    ) -> None:
        self._path, self._at, self._act, self._lasting = path, at, act or die, lasting
        self._reached, self._start = False, time.monotonic()
        self._out = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        self._stage, self._count, self._copied = "start", 0, 0

    def cross(self, name: str) -> None:
        """One boundary."""
        self._count += 1
        place = Place(self._stage, self._count, time.monotonic() - self._start, name)
        self._line(f"cross {place.stage} {place.count} {place.at_s:.4f} {name}")
        if place == self._at or (self._reached and name.startswith("before ")):
            self._reached = self._lasting
            self._act(name)

    def _line(self, text: str) -> None:
        os.write(self._out, f"{text}\n".encode())

    def _around(self, name: Callable[..., str | None], real: Callable[..., Any]) -> Callable[..., Any]:
        def crossed(*args: Any, **rest: Any) -> Any:
            what = name(*args, **rest)
            if what is None:
                return real(*args, **rest)
            self.cross(f"before {what}")
            result = real(*args, **rest)
            self.cross(f"after {what}")
            return result

        return crossed

    def install(self) -> None:
        """Watch this process."""
        import mlflow
        from sqlalchemy.engine.default import DefaultDialect

        import tasks.orchestration
        import tasks.snapshot

        for verb in ("replace", "rename"):
            self._wrap(pathlib.Path, verb, lambda path, to, verb=verb: f"{verb} {_kind(Path(to))}")
        self._wrap(DefaultDialect, "do_commit", self._commit)
        self._wrap(tasks.snapshot, "_dvc", lambda ws, url, *commands: f"dvc {'+'.join(c[0] for c in commands)}")
        for name in ("log_artifacts", "log_artifact", "log_model_artifacts"):
            self._wrap(mlflow.MlflowClient, name, lambda *_, name=name, **__: f"mlflow {name}")
        self._wrap(shutil, "copyfile", self._copy)
        work = tasks.orchestration._work

        def started(call: Any, stage: Any, inputs: tuple[str, ...]) -> str:
            self._line(f"start {stage.key(call, *inputs)} {stage.cached}")
            self._stage, self._count = stage.name, 0
            return work(call, stage, inputs)

        tasks.orchestration._work = started

    def _wrap(self, owner: Any, name: str, title: Callable[..., str | None]) -> None:
        setattr(owner, name, self._around(title, getattr(owner, name)))

    def _copy(self, _: Any, target: Any, **__: Any) -> str | None:
        if not Path(target).is_relative_to(self._path.parent / "ws" / "mlartifacts"):
            return None
        self._copied += 1
        return "copy" if self._copied % COPIES == 1 else None

    def _commit(self, _: Any, connection: Any) -> str | None:
        """A commit of something that was written, to a database of the workspace."""
        if not connection.in_transaction:
            return None
        file = Path(connection.cursor().execute("PRAGMA database_list").fetchall()[0][2])
        return f"commit {file.name}" if file.is_relative_to(self._path.parent) else None


def die(_: str) -> None:
    """SIGKILL, which no handler sees."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_after(seconds: float) -> Callable[[str], None]:
    """As abruptly, so much later: nobody handles this signal either."""

    def set_alarm(_: str) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))

    return set_alarm


def crossed(path: Path) -> list[Place]:
    """The boundaries that were crossed, in order."""
    words = [line.split(maxsplit=4) for line in _lines(path) if line.startswith("cross ")]
    return [Place(stage, int(count), float(at_s), name) for _, stage, count, at_s, name in words]


def started(path: Path) -> list[str]:
    """Keys of the stages that were begun and that are to be begun once."""
    return [line.split()[1] for line in _lines(path) if line.startswith("start ") and line.endswith(" True")]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _kind(path: Path) -> str:
    """The path, without what differs from run to run."""
    return re.sub(r"[0-9a-f]{16,}", "*", "/".join(path.parts[-2:]))
