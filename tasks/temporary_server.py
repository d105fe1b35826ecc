"""A Prefect server for one run where none is configured, begun while this process still imports what it trains with.

Prefect would start the same server itself, but only when the flow begins, and to do so it imports all of the server here too.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from abi.errors import WorkspaceError
from tasks.prefect_server import await_server, free_port, server_url, using
from tasks.with_parent import COMMAND


class TemporaryServer:
    """A server that is about to answer.

    As a context it ends there if nobody talked to it. Otherwise it ends with this process, however that ends, as threads of
    Prefect's tell it until then what happened.
    """

    def __init__(self) -> None:
        port = free_port()
        self._used = False
        self._url = f"http://127.0.0.1:{port}/api"
        self._process: subprocess.Popen[bytes] | None = _start(port)
        atexit.register(self.end)  # which is after threads have ended

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if not self._used:
            self.end()

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Talk to it, as soon as it answers.

        It ends at once where another server is configured after all, in a file or profile of Prefect's; where it did
        not come up, Prefect is left to start one of its own.
        """
        if self._process is None or server_url() is not None or not self._is_up(self._process):
            self.end()
            yield
            return
        self._used = True
        with using(self._url):
            yield

    def _is_up(self, process: subprocess.Popen[bytes]) -> bool:
        try:
            await_server(process, self._url)
        except WorkspaceError:
            return False
        return True

    def end(self) -> None:
        """End it; once more does nothing."""
        process, self._process = self._process, None
        atexit.unregister(self.end)
        if process is None:
            return
        if self._used:
            process.terminate()
        else:
            process.kill()  # each of its migrations is a transaction; to wait for them would keep back what went wrong
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _start(port: int) -> subprocess.Popen[bytes] | None:
    """As Prefect starts its temporary one; None where an address or the wish for none is in the environment."""
    allowed = os.environ.get("PREFECT_SERVER_EPHEMERAL_ENABLED", os.environ.get("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"))
    prefect = importlib.util.find_spec("prefect")
    if "PREFECT_API_URL" in os.environ or (allowed or "true").lower() in ("0", "false") or prefect is None:
        return None
    assert prefect.origin is not None
    return subprocess.Popen(  # noqa: S603 - our own command
        [
            *COMMAND,
            "uvicorn",
            "--app-dir",
            str(Path(prefect.origin).parent),
            "--factory",
            "prefect.server.api.server:create_app",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--log-level",
            "error",
            "--lifespan",
            "on",
        ],
        env=os.environ | {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # ours is for documents
        start_new_session=True,  # a Ctrl-C is for the run, which still tells it how it ended
    )
