"""Prometheus metrics, computed from the ledger: text for a person, a file for the node exporter, or an address to scrape.

Times are points in time and no ages (`time() - abi_..._timestamp_seconds` is the age), so that a file stays true as it ages.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abi.audit.tally import ModelTally, Tally, second
from abi.errors import AbiError, AuditBroken, LedgerError, UsageError, told
from tasks.ledger import Ledger
from tasks.progress import say
from tasks.workspace import Workspace, disk_errors

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from abi.config import Config

SCRAPE_PATIENCE_S = 2.0
MOST_PORT = 65_535
Value = Callable[[ModelTally], float | None]


class LedgerCollector:
    """Reads what was appended since the last look and tells what all entries come to."""

    def __init__(self, connect: Callable[[], Ledger]) -> None:
        self._connect, self._ledger, self._tally = connect, None, Tally()
        self._lock = threading.Lock()

    _ledger: Ledger | None

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: registering must not need the database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """What Prometheus gets; where the ledger does not answer, that alone."""
        from prometheus_client.core import GaugeMetricFamily

        with self._lock:
            try:
                if self._ledger is None:
                    self._ledger = self._connect()
                if self._ledger.begun():
                    self._tally.add(self._ledger.entries(after=self._tally.seq))
                answered = True
            except (LedgerError, AuditBroken):
                answered = False
            yield GaugeMetricFamily(
                "abi_ledger_up", "Whether the ledger answered, and is there where it has been.", float(answered)
            )
            if answered:
                yield from families(self._tally)


def families(tally: Tally) -> Iterator[Metric]:
    """The metrics of a tally."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

    yield GaugeMetricFamily("abi_ledger_entries", "Entries of the ledger.", tally.seq)
    if tally.time is not None:
        yield GaugeMetricFamily("abi_ledger_last_entry_timestamp_seconds", "When the last entry was made.", tally.time)
    models = sorted(tally.models.items())

    def counter(
        name: str, text: str, labels: tuple[str, ...], counts: Callable[[ModelTally], dict[Any, int]]
    ) -> Metric:
        family = CounterMetricFamily(name, text, labels=("model", *labels))
        for model, one in models:
            for key, count in sorted(counts(one).items()):
                family.add_metric([model, *(key if isinstance(key, tuple) else (key,))], count)
        return family

    def gauge(name: str, text: str, value: Value) -> Metric:
        family = GaugeMetricFamily(name, text, labels=("model",))
        for model, one in models:
            number = value(one)
            if number is not None:
                family.add_metric([model], number)
        return family

    def labelled(name: str, text: str, label: str, values: Callable[[ModelTally], dict[str, float]]) -> Metric:
        family = GaugeMetricFamily(name, text, labels=("model", label))
        for model, one in models:
            for key, number in values(one).items():
                family.add_metric([model, key], number)
        return family

    yield counter("abi_runs", "Runs by how they ended, as far as the ledger saw them.", ("status",), lambda m: m.runs)
    seconds = SummaryMetricFamily(
        "abi_run_duration_seconds", "From a run's first entry to its registration.", labels=("model",)
    )
    for model, one in models:
        seconds.add_metric([model], one.runs_timed, one.run_seconds)
    yield seconds
    yield gauge("abi_last_registration_timestamp_seconds", "When the newest version was registered.", _registered)
    yield labelled(
        "abi_plan_predicted_to_measured_ratio",
        "Predicted over measured cost of the newest version.",
        "resource",
        ModelTally.ratios,
    )
    yield labelled("abi_model_metric", "Held-out figures of the newest version.", "metric", _quality)
    yield counter("abi_gate_results", "Results of gates.", ("gate", "result"), lambda m: m.gates)
    yield counter("abi_decisions", "Promotions, rollbacks, approvals, triggers.", ("kind",), lambda m: m.decisions)
    yield gauge("abi_champion_version", "The champion.", lambda m: m.aliases.get("champion"))
    yield gauge("abi_challenger_version", "The challenger.", lambda m: m.aliases.get("challenger"))
    yield gauge("abi_champion_since_timestamp_seconds", "When the champion became it.", _champion_since)
    yield gauge("abi_champion_registered_timestamp_seconds", "When the champion was registered.", _champion_registered)
    yield gauge("abi_drift_psi_max", "Largest population stability index of a feature.", _drift("psi_max"))
    yield gauge(
        "abi_drift_attention_distance",
        "Jensen-Shannon distance of attention on new rows to the champion's.",
        _drift("attention_distance"),
    )
    yield gauge("abi_drift_alarm", "Whether the drift alarm is on.", _drift("alarm"))
    yield gauge(
        "abi_drift_checked_timestamp_seconds",
        "When new data was looked at last.",
        lambda m: second(m.drift.time) if m.drift is not None else None,
    )


def registry(ws: Workspace, config: Config) -> CollectorRegistry:
    """A registry of its own, with the ledger's metrics alone."""
    from prometheus_client import CollectorRegistry

    audit = config.audit.model_copy(update={"patience": SCRAPE_PATIENCE_S})
    made = CollectorRegistry(auto_describe=False)
    made.register(LedgerCollector(lambda: Ledger.look(ws, audit)))
    return made


def text(made: CollectorRegistry) -> str:
    """The Prometheus text format."""
    from prometheus_client import generate_latest

    return generate_latest(made).decode()


def write(made: CollectorRegistry, path: Path) -> None:
    """Put the text at `path`, in full or not at all, as the node exporter's textfile collector wants it.

    Raises:
        WorkspaceError: it cannot be written.
    """
    from prometheus_client import write_to_textfile

    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(path), made)


@contextlib.contextmanager
def publishing(ws: Workspace, config: Config) -> Iterator[None]:
    """Write the file that `telemetry.metrics` names when the body ends, however it does; a failure costs a line alone."""
    try:
        yield
    finally:
        path = config.telemetry.metrics
        if path is not None:
            try:
                write(registry(ws, config), path)
            except (AbiError, OSError) as error:  # a run is worth more than its figures
                say(f"metrics   not written: {error}")


@contextlib.contextmanager
def serving(made: CollectorRegistry, host: str, port: int) -> Iterator[int]:
    """Answer scrapes of ``http://host:port/metrics`` meanwhile; gives the port (one that is free where `port` is 0).

    Raises:
        UsageError: the port is taken or not ours.
    """
    from prometheus_client import start_http_server

    if not 0 <= port <= MOST_PORT:
        msg = f"Expected --serve as a port from 0 (any that is free) to {MOST_PORT}, got {port}: choose another."
        raise UsageError(msg)
    try:
        server, thread = start_http_server(port, addr=host, registry=made)
    except OSError as error:
        msg = f"Expected a free port for --serve on {host}, got {port}: {told(error)}. Choose another."
        raise UsageError(msg) from None
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _registered(model: ModelTally) -> float | None:
    return second(model.registration.time) if model.registration is not None else None


def _quality(model: ModelTally) -> dict[str, float]:
    return model.registration.detail.get("metrics", {}) if model.registration is not None else {}


def _champion_since(model: ModelTally) -> float | None:
    return model.champion_since if model.aliases.get("champion") is not None else None


def _champion_registered(model: ModelTally) -> float | None:
    champion = model.aliases.get("champion")
    return None if champion is None else model.versions.get(champion)


def _drift(name: str) -> Value:
    def value(model: ModelTally) -> float | None:
        number = None if model.drift is None else model.drift.detail.get(name)
        return None if number is None else float(number)

    return value
