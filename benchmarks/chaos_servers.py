"""MLflow and Prefect servers on this machine that can be killed and come back on the same port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

START_S = 120.0


@dataclass
class Server:
    """One server process and its children.

    Attributes:
        folder: where its database, artifacts and log lie.
        words: what `python -m` runs, with the port.
        health: path that answers 200 when it is up.
        environment: added to this process's.
    """

    folder: Path
    words: list[str]
    port: int
    health: str
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Server:
        """Start it, and wait until it answers."""
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.words],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **self.environment},
            )
        until = time.monotonic() + START_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                msg = f"{self.words[0]} did not start: {(self.folder / 'log').read_text()[-2000:]}"
                raise RuntimeError(msg)
            time.sleep(0.1)
        return self

    def kill(self) -> None:
        """SIGKILL it and its children: its session is its own."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + self.health, timeout=2) as answer:  # noqa: S310 - this machine
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def mlflow_server(folder: Path) -> Server:
    """MLflow on SQLite, whose migrations have run already; artifacts go through the server."""
    from tasks.tracking import empty_database

    port = free_port()
    folder.mkdir(exist_ok=True)
    (folder / "mlflow.db").write_bytes(empty_database())
    where = [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    words = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *where]
    return Server(folder, words, port, "/health")


def prefect_server(folder: Path) -> Server:
    """Prefect on SQLite."""
    port = free_port()
    words = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    return Server(folder, words, port, "/api/health", {"PREFECT_HOME": str(folder / "home"), "PREFECT_API_URL": ""})


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
