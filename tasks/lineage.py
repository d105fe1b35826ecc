"""OpenLineage events of a run, to a file or an address. A sink that is down costs a run a line on stderr, no more."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from abi.errors import clip
from abi.sections import masked
from tasks.lineage_events import Known, run_event, without_secrets
from tasks.progress import say
from tasks.stage import Call

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import RunState

TIMEOUT_S, RETRIES = 2.0, 2
WAIT_S = 4.0  # for what is not sent yet when a run ends
ENDPOINT = "/api/v1/lineage"


@contextlib.contextmanager
def lineage(call: Call, *files: str | None) -> Iterator[Known]:
    """Tell of a run: START, then COMPLETE, FAIL or ABORT. What the body learns it puts on the value it is given.

    Args:
        call: model, settings and workspace; `telemetry.openlineage` says where events go.
        files: training file and test file.
    """
    sink = call.settings.telemetry.openlineage
    paths = tuple(Path(os.path.realpath(file)) for file in files if file)  # of a link to itself, that link
    if sink is None:
        yield Known(call, "", paths)
        return
    from openlineage.client.event_v2 import RunState
    from openlineage.client.uuid import generate_new_uuid

    known = Known(call, str(generate_new_uuid()), paths)
    sender = _Sender(sink)
    sender.send(RunState.START, known)
    try:
        yield known
    except Exception as error:
        sender.send(RunState.FAIL, known, error)
        raise
    except BaseException as error:
        sender.send(RunState.ABORT, known, error)
        raise
    else:
        sender.send(RunState.COMPLETE, known)
    finally:
        sender.close()


class _Sender:
    """Sends in a thread of its own, in order; whatever goes wrong there is kept for one line at the end."""

    def __init__(self, sink: str) -> None:
        self._sink = sink
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._problem = ""
        self._thread = threading.Thread(target=self._work, name="openlineage", daemon=True)
        self._thread.start()

    def send(self, state: RunState, known: Known, error: BaseException | None = None) -> None:
        try:
            self._events.put(run_event(state, known, error))
        except Exception as failure:  # telemetry is never a reason for a run to fail
            self._problem = f"{type(failure).__name__}: {failure}"

    def close(self) -> None:
        self._events.put(None)
        self._thread.join(WAIT_S)
        if self._thread.is_alive():
            self._problem = f"no answer within {WAIT_S:.0f} s"
        if self._problem:
            shown = without_secrets(self._sink) if _is_url(self._sink) else self._sink
            say(f"lineage   not told: expected {shown} to take run events, got {clip(masked(self._problem), 200)}")

    def _work(self) -> None:
        try:
            client = _client(self._sink)
            while (event := self._events.get()) is not None:
                try:
                    client.emit(event)
                except Exception as failure:
                    self._problem = str(failure) or type(failure).__name__
            client.close(0)
        except Exception as failure:  # a sink that is no address, a folder that cannot be made
            self._problem = str(failure) or type(failure).__name__


def _client(sink: str) -> OpenLineageClient:
    from openlineage.client import OpenLineageClient

    return OpenLineageClient(transport=_http(sink) if _is_url(sink) else _file(Path(sink)))


def _is_url(sink: str) -> bool:
    return urlsplit(sink).scheme in {"http", "https"}


def _http(sink: str) -> Any:
    from openlineage.client.transport.http import HttpConfig, HttpTransport

    parts = urlsplit(sink)
    key = os.environ.get("OPENLINEAGE_API_KEY")
    config: dict[str, Any] = {
        "url": urlunsplit((parts.scheme, parts.netloc, "", "", "")),
        "endpoint": parts.path if parts.path.strip("/") else ENDPOINT,
        "timeout": TIMEOUT_S,
        "retry": {"total": RETRIES, "connect": RETRIES, "read": RETRIES, "respect_retry_after_header": False},
    }
    if key:
        config["auth"] = {"type": "api_key", "apiKey": key}
    return HttpTransport(HttpConfig.from_dict(config))


def _file(path: Path) -> Any:
    from openlineage.client.serde import Serde
    from openlineage.client.transport import Transport

    class Lines(Transport):
        """One line for each event, appended in a single write, so that runs that share the file do not mix."""

        kind = "lines"

        def emit(self, event: Any) -> None:
            line = Serde.to_json(event).encode() + b"\n"
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)

    return Lines()
