"""What MLflow's calls come to when nobody answers or something is refused: one sentence, and whether asking again may help."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping

from abi.errors import TrackingError, WorkspaceError, clip
from abi.sections import masked
from tasks.workspace import FULL, disk_errors

SERVER_TROUBLE = 500
LOGIN = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"


@contextlib.contextmanager
def answering(uri: str) -> Iterator[None]:
    """Say in one sentence, without the URI's password, that MLflow did not answer or refused."""
    shown = masked(uri)
    try:
        with disk_errors(shown), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's advice is for who writes model code
            yield
    except Exception as error:
        kinds = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
        if not kinds & {"mlflow", "sqlalchemy", "requests", "alembic", "sqlite3"}:
            raise
        if _is_full(error, uri):
            place = uri.removeprefix("sqlite:///") if uri.startswith("sqlite:") else tempfile.gettempdir()
            msg = f"Expected room to write {place}, got no space left: free some, then run again."
            raise WorkspaceError(msg) from error
        said = _said(error)
        known = "authenticated" not in said and " 401 " not in said
        remedy = "tracking.uri or MLFLOW_TRACKING_URI, or start the server" if known else LOGIN
        msg = f"Expected MLflow at {shown} to answer, got: {said}. Check {remedy}, then run again."
        raise TrackingError(msg, transient=_transient(error)) from error


def _said(error: Exception) -> str:
    """The first line; of a connection that failed, what the system says of it."""
    text = str(error)
    system = re.search(r"\[Errno -?\d+\] ([^'\")]+)", text)
    if system is not None and "Max retries exceeded" in text:
        return system[1].lower()
    if "Read timed out" in text:
        return "no answer in time"
    said = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return clip(masked(said.rstrip(".")), 300)


def _is_full(error: BaseException | None, uri: str) -> bool:
    """Whether a disk of this machine is full; a server's may have room again when it is asked again."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if uri.startswith("sqlite:") and re.search("disk is full|No space left on device|disk I/O error", str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _transient(error: BaseException | None) -> bool:
    """Whether nobody answered, or the answer was that the server has trouble (5xx)."""
    while error is not None:
        name, status = type(error).__name__, getattr(getattr(error, "response", None), "status_code", None)
        if name in {
            "ConnectionError",
            "ConnectTimeout",
            "ReadTimeout",
            "Timeout",
            "RetryError",
            "ChunkedEncodingError",
        }:
            return True
        if isinstance(status, int) and status >= SERVER_TROUBLE:
            return True
        if re.search(
            r"failed with (error code|exception)? ?(5\d\d|HTTPConnectionPool)|Max retries exceeded|not in a valid JSON"
            r"|5\d\d Server Error|IncompleteRead|Connection broken|Connection aborted|Read timed out",
            str(error),
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the time of a call; MLflow takes some things from there alone."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
