"""Prometheus metrics of a real ledger, read back by Prometheus' own parser."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from abi.audit.entry import Aliases, Draft
from abi.config import load_config
from abi.errors import LedgerError, UsageError
from tasks import telemetry
from tasks.ledger import Ledger
from tasks.workspace import Workspace

COST = {"parameters": 100, "memory_bytes": 4000, "train_time_s": 3.0, "latency_s": 0.002}


def registration(version: int) -> Draft:
    detail = {
        "version": version,
        "predicted": COST,
        "measured": COST | {"memory_bytes": 5000},
        "metrics": {"roc_auc": 0.75},
    }
    return Draft(kind="registration", model="shop", detail=detail, operation=f"registration:{version}", flow_run="run")


@pytest.fixture
def ws(tmp_path):
    return Workspace.open(tmp_path / "ws")


@pytest.fixture
def config(tmp_path):
    return load_config(settings={"telemetry.metrics": str(tmp_path / "out" / "abi.prom")}, ambient=False)


@pytest.fixture
def ledger(ws, config):
    """A life of a model: a run, its gates, its promotion, a look at new data; and a name with odd characters."""
    ledger = Ledger.open(ws, config.audit)
    ledger.append(Draft(kind="snapshot", model="shop", flow_run="run"))
    ledger.change(registration(7), lambda now: replace(now, challenger=7))
    results = [{"name": "latency", "passed": True}, {"name": "champion", "passed": False, "waived": True}]
    ledger.append(Draft(kind="gates", model="shop", detail={"results": results}))
    ledger.change(Draft(kind="promotion", model="shop"), lambda _: Aliases(champion=7))
    drift = {"psi_max": 0.3, "attention_distance": None, "alarm": True}
    ledger.append(Draft(kind="drift", model="shop", detail=drift))
    ledger.append(Draft(kind="missed", model='o"dd\\ name\n'))
    yield ledger
    ledger.engine.dispose()


def read(text: str) -> dict[tuple[str, frozenset], float]:
    families = list(text_string_to_metric_families(text))
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def sample(found: dict, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_what_the_ledger_says(ws, config, ledger):
    found = read(telemetry.text(telemetry.registry(ws, config)))
    shop = {"model": "shop"}
    assert sample(found, "abi_ledger_up") == 1
    assert sample(found, "abi_ledger_entries") == 7
    assert sample(found, "abi_runs_total", **shop, status="registered") == 1
    assert sample(found, "abi_runs_total", model='o"dd\\ name\n', status="missed") == 1
    assert sample(found, "abi_run_duration_seconds_count", **shop) == 1
    assert 0 <= sample(found, "abi_run_duration_seconds_sum", **shop) < 60
    assert sample(found, "abi_gate_results_total", **shop, gate="latency", result="passed") == 1
    assert sample(found, "abi_gate_results_total", **shop, gate="champion", result="waived") == 1
    assert sample(found, "abi_plan_predicted_to_measured_ratio", **shop, resource="memory") == 0.8
    assert sample(found, "abi_model_metric", **shop, metric="roc_auc") == 0.75
    assert sample(found, "abi_champion_version", **shop) == 7
    assert sample(found, "abi_drift_psi_max", **shop) == 0.3
    assert sample(found, "abi_drift_alarm", **shop) == 1
    assert ("abi_drift_attention_distance", frozenset(shop.items())) not in found  # not judged is not zero
    assert sample(found, "abi_decisions_total", **shop, kind="promotion") == 1
    last = sample(found, "abi_ledger_last_entry_timestamp_seconds")
    assert sample(found, "abi_champion_registered_timestamp_seconds", **shop) <= last
    assert sample(found, "abi_champion_since_timestamp_seconds", **shop) <= last


def test_the_form_is_what_prometheus_asks_for(ws, config, ledger):
    """As `promtool check metrics` has it: snake case, a unit at the end of the name, _total on counters alone, help."""
    text = telemetry.text(telemetry.registry(ws, config))
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families) > 15
    for family in families:
        assert re.fullmatch(r"abi_[a-z]+(_[a-z]+)*", family.name)
        assert family.documentation.endswith(".")
        assert family.type in {"counter", "gauge", "summary"}
        assert not re.search(r"_(milliseconds|minutes|bytes_total|count|sum|info)$", family.name)
        assert ("timestamp" in family.name) <= family.name.endswith("_timestamp_seconds")
        for one in family.samples:
            assert one.name.endswith("_total") == (family.type == "counter")
            assert set(one.labels) <= {"model", "status", "gate", "result", "kind", "resource", "metric"}
    assert text.endswith("\n")
    assert "_created" not in text


def test_served_and_kept_up(ws, config, ledger):
    made = telemetry.registry(ws, config)
    with telemetry.serving(made, "127.0.0.1", 0) as port:

        def scrape() -> dict:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                assert answer.headers["Content-Type"].startswith("text/plain")
                return read(answer.read().decode())

        assert sample(scrape(), "abi_runs_total", model="shop", status="registered") == 1
        ledger.append(registration(8))
        found = scrape()
        assert sample(found, "abi_runs_total", model="shop", status="registered") == 2
        assert sample(found, "abi_ledger_entries") == 8
        with pytest.raises(UsageError, match="free port"), telemetry.serving(made, "127.0.0.1", port):
            pass


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_has_its_bounds(ws, config, port):
    made = telemetry.registry(ws, config)
    with (
        pytest.raises(UsageError, match=f"as a port from 0 .any that is free. to 65535, got {port}: choose another"),
        telemetry.serving(made, "127.0.0.1", port),
    ):
        pass


def test_a_ledger_that_is_down_is_told(ws, config, ledger, monkeypatch):
    made = telemetry.registry(ws, config)
    assert sample(read(telemetry.text(made)), "abi_ledger_up") == 1

    def down(*_, **__):
        raise LedgerError

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "entries", down)
        assert read(telemetry.text(made)) == {("abi_ledger_up", frozenset()): 0.0}
    assert sample(read(telemetry.text(made)), "abi_ledger_entries") == 7


def test_a_database_that_is_not_there_costs_seconds(ws, tmp_path, free_port, capsys):
    settings = {
        "audit.url": f"postgresql+psycopg://abi@127.0.0.1:{free_port()}/abi",
        "telemetry.metrics": str(tmp_path / "m"),
    }
    with telemetry.publishing(ws, load_config(settings=settings, ambient=False)):
        pass
    assert read((tmp_path / "m").read_text()) == {("abi_ledger_up", frozenset()): 0.0}
    assert capsys.readouterr().err == ""


def test_a_file_that_cannot_be_written_costs_a_line(ws, tmp_path, capsys):
    (tmp_path / "file").touch()
    config = load_config(settings={"telemetry.metrics": str(tmp_path / "file" / "abi.prom")}, ambient=False)
    with telemetry.publishing(ws, config):
        pass
    assert capsys.readouterr().err.startswith("metrics   not written: Expected a place that can be written")


def test_the_command(ws, config, ledger, capsys, monkeypatch):
    import json

    from flows import cli

    monkeypatch.delenv("ABI_WORKSPACE", raising=False)
    words = ["metrics", "--workspace", str(ws.root), "--set", f"telemetry.metrics={config.telemetry.metrics}"]
    assert cli.execute(words) == 0
    printed = capsys.readouterr().out
    assert sample(read(printed), "abi_ledger_entries") == 7
    assert config.telemetry.metrics.read_text() == printed
    assert cli.execute([*words, "-q"]) == 0
    assert capsys.readouterr().out == ""  # the file has it
    assert cli.execute([*words[:3], "-q"]) == 0
    assert capsys.readouterr().out == printed
    assert cli.execute([*words, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)["metrics"]
    assert {"name": "abi_champion_version", "labels": {"model": "shop"}, "value": 7} in plain
