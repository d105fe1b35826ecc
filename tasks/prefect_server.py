"""The Prefect server: the one that is configured, or one of our own for as long as a schedule is served without any."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from abi.errors import UsageError, WorkspaceError
from abi.sections import masked
from tasks.with_parent import COMMAND
from tasks.workspace import disk_errors

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

PATIENCE_S = 120.0


@contextlib.contextmanager
def connected(otherwise: str = "") -> Iterator[SyncPrefectClient]:
    """A client of the configured server, which answers.

    Args:
        otherwise: what else can be done where none is configured.

    Raises:
        UsageError: none is configured.
        WorkspaceError: it does not answer, or refuses.
    """
    from httpx import HTTPError
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException

    url = server_url()
    if url is None:
        msg = f"Expected a Prefect server that keeps the schedule, got none configured: start one with `prefect server start`, set PREFECT_API_URL=http://127.0.0.1:4200/api, then run again{otherwise}."
        raise UsageError(msg)
    try:
        with get_client(sync_client=True) as client:
            client.hello().raise_for_status()
            yield client
    except (HTTPError, PrefectException, RuntimeError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        msg = f"Expected the Prefect server at {masked(url)} to answer, got: {masked(said[0])}. Start it with `prefect server start`, or set PREFECT_API_URL to the one that runs."
        raise WorkspaceError(msg) from error


def server_url() -> str | None:
    """The API's address, from the environment or the profile."""
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    return None if url is None else str(url)


@contextlib.contextmanager
def own_server(home: Path) -> Iterator[str]:
    """Run a server on a free port of this machine with its database in `home`; gives the API's address.

    Raises:
        WorkspaceError: it did not come up.
    """
    with disk_errors(home):
        home.mkdir(parents=True, exist_ok=True)
        log = (home / "server.log").open("wb")
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    # its database lies in its home, and not in the one that a client of it may name
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API_")}
    command = [
        *COMMAND,
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    with (
        log,
        subprocess.Popen(  # noqa: S603 - our own command
            command, env={**outside, "PREFECT_HOME": str(home)}, stdin=subprocess.PIPE, stdout=log, stderr=log
        ) as server,
    ):
        try:
            await_server(server, url, home / "server.log")
            yield url
        finally:
            server.terminate()
            try:
                server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                server.kill()


@contextlib.contextmanager
def using(url: str) -> Iterator[None]:
    """Talk to the server at `url`, in this process and in those it starts."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    before = os.environ.get("PREFECT_API_URL")
    os.environ["PREFECT_API_URL"] = url
    try:
        with temporary_settings({PREFECT_API_URL: url}):
            yield
    finally:
        if before is None:
            del os.environ["PREFECT_API_URL"]
        else:
            os.environ["PREFECT_API_URL"] = before


def await_server(server: subprocess.Popen[bytes], url: str, log: Path | None = None) -> None:
    """Until it answers.

    Raises:
        WorkspaceError: it ended, or did not answer in time.
    """
    import httpx

    until = time.monotonic() + PATIENCE_S
    # one for all questions: each reads the certificates of this machine; a proxy has no business here
    with httpx.Client(timeout=5, trust_env=False) as client:
        while time.monotonic() < until and server.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"{url}/health").is_success:
                    return
            time.sleep(0.05)
    where = "" if log is None else f": see {log}"
    msg = f"Expected a Prefect server to come up at {url} within {PATIENCE_S:.0f} s, got none{where}."
    raise WorkspaceError(msg)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
