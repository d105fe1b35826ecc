"""Commands that use a registered model, after its signature: serve, predict."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from flows.common import Common

if TYPE_CHECKING:
    from cyclopts import App

    from tasks.records import Recorded
    from tasks.tracking import Tracking

CHAMPION = "champion"


def register(app: App) -> None:
    """Put the commands on `app`."""
    app.command(serve)
    app.command(predict)


def serve(
    *,
    model: str | None = None,
    version: int | None = None,
    alias: str | None = None,
    host: str = "127.0.0.1",
    port: int = 5001,
    common: Common = Common(),
) -> None:
    """Serve a registered model over HTTP (POST /invocations), from a private copy that was verified first.

    Args:
        model: Registered model, or NAME/VERSION or NAME/ALIAS (default: the only one there is).
        version: Its version, in place of an alias.
        alias: An alias of the registry (default: champion).
        host: Address to listen at.
        port: Port to listen at.
        common: Flags that every command takes.
    """
    from flows.session import emit
    from tasks import progress
    from tasks.serving import serving, wait

    tracking, found = _open(model, version, alias, common)
    with serving(tracking, found, host, port) as (url, process):
        progress.say(f"serve     {found.uri} at {url}/invocations; Ctrl-C ends it")
        if common.json:
            emit({"model": found.uri, "url": url, "pid": process.pid})
        with contextlib.suppress(KeyboardInterrupt):
            wait(process)


def predict(
    data: str,
    *,
    model: str | None = None,
    version: int | None = None,
    alias: str | None = None,
    out: Path | None = None,
    common: Common = Common(),
) -> None:
    """Predict for every row of a table with a registered model, which is verified first.

    Args:
        data: CSV (also gzip) or Parquet file, or - for stdin.
        model: Registered model, or NAME/VERSION or NAME/ALIAS (default: the only one there is).
        version: Its version, in place of an alias.
        alias: An alias of the registry (default: champion).
        out: File to write, .csv or .parquet (default: CSV on stdout).
        common: Flags that every command takes.
    """
    from flows.session import emit, settings_of
    from tasks.serving import as_csv, as_records, expect_writable, predict_table, write_table
    from tasks.stdout import put

    expect_writable(out)
    tracking, found = _open(model, version, alias, common)
    table = predict_table(tracking, found, Path(data), settings_of(common, []).data)
    if out is not None:
        write_table(tracking.ws, table, out)
    if common.json:
        answer = {"out": str(out)} if out is not None else {"predictions": as_records(table)}
        emit({"model": found.uri, "rows": len(table), **answer})
    elif out is None:
        put(as_csv(table))


def _open(model: str | None, version: int | None, alias: str | None, common: Common) -> tuple[Tracking, Recorded]:
    from abi.errors import UsageError
    from flows.session import look, settings_of
    from tasks import progress
    from tasks.ledger import Ledger
    from tasks.registered import parted
    from tasks.serving import choose
    from tasks.tracking import Tracking

    if version is not None and alias is not None:
        msg = f"Expected --version or --alias, got {version} and {alias!r}: keep one."
        raise UsageError(msg)
    config = settings_of(common, [])
    progress.set_up(quiet=common.quiet, verbose=common.verbose, no_color=common.no_color)
    ws = look(common, config)
    tracking, ledger = Tracking.open(ws, config.tracking, config.signing), Ledger.look(ws, config.audit)
    name = config.name if model is None else model
    if model is not None and {"/", "@"} & set(model):
        name, which = parted(model, tracking.models())
        if which and (version is not None or alias is not None):
            other = f"--version {version}" if version is not None else f"--alias {alias}"
            msg = f"Expected one version, got {model!r} and {other}: keep one."
            raise UsageError(msg)
        version, alias = (int(which), alias) if which.isdecimal() else (version, which or alias)
    return tracking, choose(tracking, ledger, name, version, alias or CHAMPION)
