"""Lost, late, cut and refused replies of a real MLflow server: one version for each operation, one entry, no run open."""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
from chaos_kill import READY, Trial
from chaos_proxy import FAULTS, Plan, Proxy
from chaos_servers import mlflow_server
from chaos_world import World

MODEL = "replies"
CLIENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
}
LATE_S = 2.5


def replies(world: World, count: int, seed: int) -> tuple[list[Trial], dict[str, Any]]:
    """Register as many small models, one request of each disturbed; in a fork, since it needs threads."""
    server = mlflow_server(world.root / "server").start()
    answer = world.root / "replies.json"
    try:
        world.reset(READY)

        def work() -> int:
            answer.write_text(json.dumps(_register_all(world, server.port, count, seed)))
            return 0

        ended = world.fork(work)
    finally:
        server.kill()
    if ended.code:
        return [Trial("replies", False, [ended.said[-600:]], ended.seconds)], {}
    plain = json.loads(answer.read_text())
    return [Trial(**trial) for trial in plain["trials"]], {**plain["figures"], "wall_s": ended.seconds}


def _register_all(world: World, port: int, count: int, seed: int) -> dict[str, Any]:
    from chaos_inspect import call_of

    from tasks.registration import connect, reconcile, register

    proxy = Proxy(port, LATE_S)
    call = replace(call_of(world, f"http://127.0.0.1:{port}"), name=MODEL)
    through = replace(call_of(world, proxy.url), name=MODEL)
    draw, trials, met = random.Random(seed), [], dict.fromkeys(FAULTS, 0)
    _record_little(world)
    register(call, _record(world, "first"))
    proxy.seen = []
    register(through, _record(world, "second"))
    usual = list(proxy.seen)
    writes = [asked for asked in usual if not asked.startswith("GET")]
    os.environ.update(CLIENT)
    for number in range(count):
        fault = FAULTS[number % len(FAULTS)]
        asked = draw.choice(writes if number % 2 else usual)  # half of the faults meet a request that writes
        plan = proxy.plan = Plan(fault, draw.randint(1, usual.count(asked)), asked)
        start, problems = time.monotonic(), []
        try:
            register(through, _record(world, f"operation-{number:03}"))
        except Exception as error:
            problems.append(f"{type(error).__name__}: {error}"[:600])
        proxy.plan = None
        met[fault] += plan.met
        where = f"{fault}: {asked}, number {plan.number}{'' if plan.met else ', not met'}"
        trials.append(Trial(where, plan.met, problems, round(time.monotonic() - start, 2)))
    for thread in proxy.late:
        thread.join()
    tracking = connect(call)
    early = _counts(tracking)
    done = reconcile(call, tracking, MODEL)
    for number, trial in enumerate(trials):
        trial.problems.extend(_wrong(call, tracking, f"operation-{number:03}"))
    figures = {
        "faults met": met,
        "operations with a second version before the reconciler ran": sum(n > 1 for n in early.values()),
        "removed by it": len(done["removed"]),
        "reconciler": done,
    }
    return {"trials": [vars(trial) for trial in trials], "figures": figures}


def _counts(tracking: Any) -> dict[str, int]:
    from tasks.model_registry import versions

    found: dict[str, int] = {}
    for version in versions(tracking, MODEL):
        found[str(version.operation)] = found.get(str(version.operation), 0) + 1
    return found


def _wrong(call: Any, tracking: Any, operation: str) -> list[str]:
    """What is wrong with one operation."""
    from tasks.decisions import open_ledger

    entry = open_ledger(call).find(f"registration:{operation}")
    query = f"tags.`abi.operation_id` = '{operation}'"
    versions = tracking.client.search_model_versions(query)
    runs = tracking.client.search_runs([tracking.experiment_id], query)
    status = sorted(run.info.status for run in runs)
    problems = []
    if [int(v.version) for v in versions] != [entry and entry.detail["version"]]:
        problems.append(f"versions {[v.version for v in versions]}, entry {entry and entry.detail['version']}")
    if status.count("FINISHED") != 1 or "RUNNING" in status:
        problems.append(f"runs {status}")
    return problems


def _record_little(world: World) -> None:
    """Take a small package along in the place of the real one: what is measured is the talk with the server."""
    import tasks.mlflow_runs as module

    package = world.root / "code" / "abi"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    module.abi = SimpleNamespace(__file__=str(package / "__init__.py"))  # type: ignore[assignment,attr-defined]


def _record(world: World, operation: str) -> Any:
    """A small record with the documents of a real run."""
    from abi.documents import read_document
    from tasks.records import Dataset, Record, Round

    folder = next(path.parent for path in world.workspace.rglob("values/evaluation.json"))
    documents = {f"values/{name}.json": json.loads((folder / f"{name}.json").read_bytes()) for name in ("evaluation", "checks")}  # fmt: skip
    checks: Any = read_document(documents["values/checks.json"])
    model = world.root / "model"
    model.mkdir(exist_ok=True)
    (model / "model.json").write_text('{"factor": 2}')
    page = Path(world.root / "page.html")
    page.write_text("<p>")
    return Record(
        operation_id=operation,
        name=MODEL,
        run_name="run",
        dataset=Dataset(snapshot=checks.problem.snapshot, name="shop", target="label"),
        model_dir=model,
        example=pd.DataFrame({"size": [1.0, 2.0]}),
        output=pd.DataFrame({"prediction": ["yes", "no"]}),
        requirements=["pandas"],
        params={"seed": 1},
        metrics={"test/roc_auc": 0.9},
        tags={"abi.settings": "s", "abi.code": "c"},
        rounds=[Round(name="round 1", metrics={"loss": 0.5})],
        documents=documents,
        files={"report.html": page},
        description="for a test",
    )
