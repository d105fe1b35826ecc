"""Using a registered model: verified first, then served over HTTP or asked for a table."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abi.data.convert import convert
from abi.data.derive import derive_new
from abi.data.infer import expect_media
from abi.data.pack import packed, told_as
from abi.data.source import hash_file
from abi.errors import AbiError, UsageError, listed, told
from tasks.model_registry import ALIASES
from tasks.signing import TRUSTED
from tasks.with_parent import COMMAND
from tasks.workspace import Workspace, disk_errors

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from abi.reading import DataConfig
    from tasks.ledger import Ledger
    from tasks.records import Recorded
    from tasks.tracking import Tracking

START_S, POLL_S, END_S = 120.0, 0.2, 10.0
PORTS = range(1, 65_536)
STDIN = "/dev/stdin"
SUFFIXES = (".csv", ".parquet")


def choose(tracking: Tracking, ledger: Ledger, name: str | None, version: int | None, alias: str) -> Recorded:
    """The version that is meant; a name is needed where there is more than one model.

    Where there is a ledger that knows the model, it says what the aliases stand for: MLflow's only repeat it.

    Raises:
        UsageError: it is not clear which model is meant, or there is no such version.
    """
    if name is None:
        names = tracking.models()
        if len(names) != 1:
            msg = f"Expected --model NAME, got none and {len(names)} registered models ({listed(names) or 'none'}): name one, or train one with `abi run`."
            raise UsageError(msg)
        name = names[0]
    if version is None and alias in ALIASES and ledger.begun() and name in ledger.models():
        version = getattr(ledger.aliases(name), alias)
        if version is None:
            msg = f"Expected a {alias} of {name!r} in the ledger, found none: `abi promote` makes a champion, --version names any version."
            raise UsageError(msg)
    return tracking.version(name, version=version, alias=alias)


@contextlib.contextmanager
def serving(tracking: Tracking, model: Recorded, host: str, port: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server of the verified model, answering; it ends with the block, and its private copy goes.

    Raises:
        ArtifactRefused: the model's files are not what was signed.
        UsageError: the port is taken.
        AbiError: the server did not come up.
    """
    from tasks.scoring_app import SERVED  # it brings MLflow

    _expect_free(host, port)
    with tempfile.TemporaryDirectory(prefix="abi-serve-") as private:
        folder = tracking.fetch(model.uri, Path(private) / "model")
        keys = Path(private) / "trusted.pem"
        keys.write_bytes(b"".join(tracking.signing.trusted().values()))
        command = [*COMMAND, "uvicorn", "--factory", "tasks.scoring_app:application"]
        served = {SERVED: str(folder), TRUSTED: str(keys), "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [*command, "--host", host, "--port", str(port)],
            cwd=private,
            env={**os.environ, **served},
            stdin=subprocess.PIPE,
            stdout=sys.stderr.fileno(),  # ours is for documents
            start_new_session=True,
        )
        try:
            yield _answering(process, host, port), process
        finally:
            _end(process)


def wait(process: subprocess.Popen[bytes]) -> None:
    """Until it is interrupted.

    Raises:
        AbiError: the server ended by itself.
    """
    msg = f"Expected MLflow's model server to go on, got its end with exit code {process.wait()}: its output above says why."
    raise AbiError(msg)


def predict_table(tracking: Tracking, model: Recorded, source: Path, config: DataConfig) -> pd.DataFrame:
    """Predictions for the rows of a file, in its order.

    Raises:
        ArtifactRefused: the model's files are not what was signed.
        DataError: the file cannot be used, or lacks a column of the model's.
    """
    import pandas as pd
    import pyarrow as pa

    loaded = tracking.load(model.uri).unwrap_python_model().model
    with tempfile.TemporaryDirectory(prefix="abi-predict-") as stage:
        if str(source) == STDIN:  # a table is read more than once
            source = Path(stage) / "stdin"
            with source.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        shown = Path("stdin") if source.parent == Path(stage) else source
        with disk_errors(stage), told_as(source, shown):
            made = packed(source, config, Path(stage))
            with told_as(made, source):
                table = convert(made, Path(stage), hash_file(made).sha256, loaded.schema.spelled)
                expect_media(loaded.schema, table, source)
        parts = []
        batches = derive_new(loaded.schema, table, loaded.history).batches()
        for first, rows in (
            _whole(batches) if loaded.in_order else ((n, pa.Table.from_batches([b])) for n, b in batches)
        ):
            frame = rows.to_pandas()
            parts.append(loaded.predict(frame.set_index(pd.RangeIndex(first, first + len(frame)))))
    whole: pd.DataFrame = pd.concat(parts)
    return whole


def _whole(batches: Iterator[tuple[int, pa.RecordBatch]]) -> Iterator[tuple[int, pa.Table]]:
    """All rows at once, for a model that goes on from row to row."""
    import pyarrow as pa

    yield 0, pa.Table.from_batches([batch for _, batch in batches])


def expect_writable(out: Path | None) -> None:
    """Before anything is loaded: is it a kind of file that predictions are written to?

    Raises:
        UsageError: it is not.
    """
    if out is not None and out.suffix.lower() not in SUFFIXES:
        msg = f"Expected --out as a .csv or .parquet file, got {out}."
        raise UsageError(msg)


def write_table(ws: Workspace, table: pd.DataFrame, out: Path) -> None:
    """Write predictions as the file's name says, in full or not at all."""
    if out.suffix.lower() == SUFFIXES[0]:
        data = as_csv(table).encode()
    else:
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        data = buffer.getvalue()
    ws.write(out.resolve(), data, flag="--out")


def as_csv(table: pd.DataFrame) -> str:
    """The table as CSV."""
    return str(table.to_csv(index=False))


def as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One plain mapping for each row."""
    records: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return records


def _expect_free(host: str, port: int) -> None:
    if port not in PORTS:  # 0 would be any free one, and nobody could tell which
        msg = f"Expected --port as a number from {PORTS[0]} to {PORTS[-1]}, got {port}: choose another."
        raise UsageError(msg)
    try:
        with socket.create_server((host, port)):
            return
    except OSError as error:
        msg = f"Expected to listen at {host}:{port}, got: {told(error)}: choose another --port or --host."
        raise UsageError(msg) from None


def _answering(process: subprocess.Popen[bytes], host: str, port: int) -> str:
    """Wait until the server answers; gives its address."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared
    url = f"http://{shown}:{port}"
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{url}/ping", timeout=5):  # noqa: S310 - ours
            return url
        time.sleep(POLL_S)
    got = "none in time" if process.returncode is None else f"exit code {process.returncode}"
    msg = f"Expected an answer of MLflow's model server at {url} within {START_S:.0f} s, got {got}: its output above says why."
    raise AbiError(msg)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server with its workers."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
