"""Commands for who watches: metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.common import Common

if TYPE_CHECKING:
    from cyclopts import App

LOCAL = "127.0.0.1"


def register(app: App) -> None:
    """Put the commands on `app`."""
    app.command(metrics)


def metrics(*, serve: int | None = None, host: str | None = None, common: Common = Common()) -> None:
    """Print Prometheus metrics of the ledger: runs, gates, plan error, champion, drift; and write `telemetry.metrics`.

    Args:
        serve: Answer scrapes on this port until interrupted (0: any free one).
        host: Address to answer on, with --serve (default: 127.0.0.1).
        common: Flags that every command takes.
    """
    import threading

    from abi.errors import UsageError
    from flows.session import emit, look, settings_of
    from tasks import progress, telemetry
    from tasks.stdout import put

    if host is not None and serve is None:
        msg = f"Expected --serve PORT beside --host {host}, got none: add it, or leave --host out."
        raise UsageError(msg)
    if serve is not None and common.json:
        msg = f"Expected --serve {serve} or --json, got both: leave one out, as who scrapes gets Prometheus' text."
        raise UsageError(msg)
    progress.set_up(quiet=common.quiet, verbose=common.verbose, no_color=common.no_color)
    config = settings_of(common, [])
    ws = look(common, config)
    registry = telemetry.registry(ws, config)
    if serve is not None:
        host = LOCAL if host is None else host
        with telemetry.serving(registry, host, serve) as port:
            progress.say(f"metrics   http://{host}:{port}/metrics")
            threading.Event().wait()
    if config.telemetry.metrics is not None:
        telemetry.write(registry, config.telemetry.metrics)
    if common.json:
        samples = [sample for family in registry.collect() for sample in family.samples]
        emit({"metrics": [{"name": s.name, "labels": s.labels, "value": s.value} for s in samples]})
    elif not common.quiet or config.telemetry.metrics is None:  # the file has it
        put(telemetry.text(registry))
