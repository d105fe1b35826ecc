"""Servers of this machine are asked directly, though the environment names a proxy."""

from __future__ import annotations

import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from unittest import mock

import httpx
import pytest

from tasks import beside_proxy, prefect_server

DIRECT = "127.0.0.1,localhost,::1"


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("environment", "direct"),
    [
        ({}, None),
        ({"NO_PROXY": "inside"}, None),
        ({"HTTP_PROXY": ""}, None),
        ({"HTTP_PROXY": "http://proxy:3128"}, DIRECT),
        ({"all_proxy": "socks5://proxy"}, DIRECT),
        ({"https_proxy": "http://proxy", "NO_PROXY": "inside, localhost"}, "inside,localhost,127.0.0.1,::1"),
        ({"HTTP_PROXY": "http://proxy", "NO_PROXY": "outdone", "no_proxy": "inside"}, f"inside,{DIRECT}"),
        ({"HTTP_PROXY": "http://proxy", "no_proxy": "*"}, None),
    ],
)
def test_this_machine_is_beside_the_proxy(environment: dict[str, str], direct: str | None) -> None:
    assert beside_proxy(environment) == ({} if direct is None else {"NO_PROXY": direct, "no_proxy": direct})


def test_a_client_asks_this_machine_directly_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    for name, value in beside_proxy({"HTTP_PROXY": "http://127.0.0.1:9"}).items():
        monkeypatch.setenv(name, value)
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert httpx.get(f"http://127.0.0.1:{server.server_port}").is_success
        server.shutdown()


def test_a_server_of_ones_own_is_awaited_past_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_server, "PATIENCE_S", 5.0)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    process = mock.Mock(spec=subprocess.Popen)
    process.poll.return_value = None
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        prefect_server.await_server(process, f"http://127.0.0.1:{server.server_port}/api")
        server.shutdown()
