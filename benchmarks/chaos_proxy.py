"""An HTTP proxy that loses, delays, cuts and refuses, one request at a time, as it is told."""

from __future__ import annotations

import http.client
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Fault = Literal["lose request", "lose reply", "late reply", "late request", "cut reply", "502 unseen", "503 after"]
FAULTS: tuple[Fault, ...] = (
    "lose request", "lose reply", "late reply", "late request", "cut reply", "502 unseen", "503 after",
)  # fmt: skip
HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "date", "server"}


@dataclass
class Plan:
    """The fault of one request: the `number`-th from now of those that ask for the same (`asked`)."""

    fault: Fault
    number: int
    asked: str
    seen: int = 0
    met: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def meets(self, asked: str) -> bool:
        """Whether it is this one."""
        with self.lock:
            if self.asked != asked or self.met:
                return False
            self.seen += 1
            self.met = self.seen == self.number
            return self.met


def kind_of(path: str) -> str:
    """The path without what differs from run to run."""
    return re.sub(r"m-[0-9a-f]+|[0-9a-f]{16,}", "*", path.partition("?")[0])


class Proxy(ThreadingHTTPServer):
    """Forwards to one server on this machine.

    Args:
        port: of that server.
        late_s: how long a late one takes, longer than the client waits.
    """

    daemon_threads = True

    def __init__(self, port: int, late_s: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.late_s = port, late_s
        self.plan: Plan | None = None
        self.late: list[threading.Thread] = []
        self.seen: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is what was wanted."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0)) if "chunked" not in self.headers.get("transfer-encoding", "") else self._chunks()  # fmt: skip
        asked = f"{self.command} {kind_of(self.path)}"
        self.server.seen.append(asked)
        plan = self.server.plan
        fault = plan.fault if plan is not None and plan.meets(asked) else None
        if fault == "lose request":
            self.close_connection = True
        elif fault == "502 unseen":
            self._answer(502, {}, b"<html>bad gateway</html>")
        elif fault == "late request":
            thread = threading.Thread(target=self._later, args=(self.command, self.path, dict(self.headers), body))
            self.server.late.append(thread)
            thread.start()
            time.sleep(self.server.late_s)
            self.close_connection = True
        else:
            status, headers, content = self._forward(self.command, self.path, dict(self.headers), body)
            if fault == "503 after":
                self._answer(503, {}, b"<html>unavailable</html>")
            elif fault == "lose reply":
                self.close_connection = True
            elif fault == "late reply":
                time.sleep(self.server.late_s)
                self._answer(status, headers, content)
            else:
                self._answer(status, headers, content, cut=fault == "cut reply")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve  # noqa: N815 - as the base class names them

    def _later(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        time.sleep(self.server.late_s)
        with suppress(OSError, http.client.HTTPException):
            self._forward(method, path, headers, body)

    def _forward(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        try:
            kept = {name: value for name, value in headers.items() if name.lower() not in HOP}
            connection.request(method, path, body or None, {**kept, "Content-Length": str(len(body))})
            answer = connection.getresponse()
            content = answer.read()
            found = {name: value for name, value in answer.getheaders() if name.lower() not in HOP}
            return answer.status, found, content
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], content: bytes, *, cut: bool = False) -> None:
        with suppress(OSError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if cut else content)
            self.wfile.flush()
        if cut:
            self.close_connection = True

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
