"""Stage: report, record in MLflow, register one model version. Registering comes last and happens once."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import math
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np

from abi.attention.simplex import distance
from abi.data.derive import raw_columns
from abi.documents import document, find
from abi.execution.meter import high_water
from abi.families.sizes import outputs
from abi.modality import OF_TABLE
from abi.outcomes import Conditions, Evaluation, Move, Trained
from abi.planning.forecast import Forecast, forecast
from abi.problem import Checks
from abi.report.collect import collect
from abi.report.content import Report
from abi.report.content import Round as ReportRound
from abi.report.exhibits import Exhibits
from abi.report.page import draw, render
from abi.report.summary import verdict
from abi.sections import masked, without_passwords
from abi.training.rounds import best_round
from abi.types import Cost
from abi.values import Value
from tasks import residuals
from tasks.data import load_rows, open_reader
from tasks.devices import cluster
from tasks.fresh_process import frame_of, plain_rows
from tasks.models import load_model, load_predictor_of
from tasks.patience import insist
from tasks.planning import machine
from tasks.progress import say
from tasks.records import Dataset, Record, Recorded, Round
from tasks.reference import make_reference
from tasks.registration import connect, reconciled, register, registered
from tasks.result import macs, result_document
from tasks.snapshot import written_names
from tasks.stage import Call, Stage, code_id, versions
from tasks.validation import docs_folder

EXAMPLE_ROWS = 5
SERIES_ROWS = 40
EXAMPLE_BYTES = 2**20
SERVING = (
    "cryptography", "jaxtyping", "lightgbm", "model-signing", "numpy", "pandas", "pyarrow", "pydantic", "pyopenssl",
    "rfc8785", "safetensors", "tabm", "torch",
)  # fmt: skip
CONDITIONS = "conditions"
"""Name of the document that says what decisions rest on."""


def record(call: Call, data_name: str, checks: str, evaluation: str, control: str, *moves: str) -> str:
    """Evaluation and all it was made from -> path of the run's folder, with `run.json` and `report.html`.

    The operation id is made of the evaluation and the model's name, so that a repeated run answers with the version
    that is there.
    """
    ws, config = call.ws, call.settings
    value, found = find(ws.get(evaluation), Evaluation), find(ws.get(checks), Checks)
    rounds = [find(ws.get(one), Move) for one in moves]
    operation = hashlib.sha256(f"{evaluation}:{checks}:{call.name}:{config.digest()}".encode()).hexdigest()[:32]
    folder = ws.runs / operation[:16]
    written = (folder / "run.json").is_file() and (folder / "report.html").is_file()
    entry = registered(call, operation) if written else None
    if entry is not None:
        say(f"record    already there: {entry.detail['uri']}")
        return str(folder)
    reconciled(call)
    even = find(ws.get(control), Trained)
    report = compose(call, data_name, found, value, even, rounds)
    values: dict[str, Value] = {
        "checks": found,
        "evaluation": value,
        "control": even,
        "reference": make_reference(call, value, rounds[0].trained.plan.attention),
        CONDITIONS: conditions(call, value),
    }
    values |= {f"round-{i}": move for i, move in enumerate(rounds, 1)}
    ids = {name: ws.put(one) for name, one in values.items()}
    sections = draw(report)
    ws.write(folder / "report.html", render(report, sections).encode())
    recorded = register(call, _record(call, operation, report, folder, values))
    final = _with_provenance(report, recorded)
    ws.write(folder / "report.html", render(final, sections).encode())
    ws.write(folder / "report.json", json.dumps(document(final), ensure_ascii=False).encode())
    insist(
        lambda: connect(call).attach(recorded.run_id, folder / "report.html"),
        config.tracking.patience,
    )
    result = result_document(final, recorded, folder / "report.html") | {"values": ids}
    ws.write(folder / "run.json", json.dumps(result, ensure_ascii=False, indent=1).encode())
    residuals.keep(ws, [even.judged, *(move.trained for move in rounds), value.trained.judged])
    say(f"record    {recorded.uri}")
    return str(folder)


def command_line() -> str:
    """The words of this process, without passwords."""
    return shlex.join(["abi", *map(masked, sys.argv[1:])])


def conditions(call: Call, evaluation: Evaluation) -> Conditions:
    """What the run's decisions rest on beside the data."""
    problem = evaluation.trained.plan.attention.scores.problem
    return Conditions(
        settings=call.settings.recorded(),
        machine=machine(call, problem).to_json(),
        train_rows=len(load_rows(call, problem, "train")),
        validation_rows=len(load_rows(call, problem, "validation")),
        code=code_id(),
        libraries=versions(),
    )


def compose(
    call: Call, data_name: str, checks: Checks, evaluation: Evaluation, control: Trained | None, moves: list[Move]
) -> Report:
    """The report of a run, without what recording adds to its provenance."""
    trained = [move.trained for move in moves]
    best = best_round(trained)
    snapshot = checks.problem.snapshot
    return Report(
        name=call.name,
        created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        data_name=Path(data_name).name,
        checks=checks,
        rounds=tuple(
            ReportRound(
                scores=t.plan.attention.scores,
                attention=t.plan.attention,
                plan=t.plan,
                trained=t,
                kept=i == best,
                why_stopped="" if move.continues else move.reason,
                convergence=move.convergence,
            )
            for i, (t, move) in enumerate(zip(trained, moves, strict=True))
        ),
        evaluation=evaluation,
        control_plan=control.plan if control is not None else None,
        timings_s={},
        peak_memory_bytes=high_water(),
        provenance={
            "data": data_name,
            "snapshot SHA-256": snapshot.train.sha256,
            "snapshot MD5 (DVC)": snapshot.train.md5,
            "expectation suite SHA-256": checks.suite_sha256,
            "weights SHA-256": evaluation.trained.artifact,
            "code": code_id(),
            "settings": call.settings.digest(),
            "seed": str(call.settings.seed),
            "command": command_line(),
            "Python": platform.python_version(),
            **versions(),
            "hardware": f"{platform.machine()}, {evaluation.trained.plan.execution.threads} threads, {evaluation.trained.plan.execution.device}",
        },
        config=without_passwords(call.settings.model_dump(mode="json")),
        forecast=ahead(call, evaluation.trained),
        exhibits=exhibited(call, evaluation.trained),
    )


def exhibited(call: Call, trained: Trained) -> Exhibits | None:
    """What the report shows of pictures, texts and modalities."""
    problem = trained.plan.attention.scores.problem
    if all(f.kind in OF_TABLE for f in problem.schema.features):
        return None
    train, validation, test = (load_rows(call, problem, role) for role in ("train", "validation", "test"))
    return collect(problem.schema, load_model(call, trained.artifact), train, validation, test)


def ahead(call: Call, trained: Trained) -> Forecast:
    """What was to be expected of a training beside its plan's cost, on the device that it ran on."""
    problem, run = trained.plan.attention.scores.problem, trained.plan.execution
    here = cluster(call.ws, call.settings, "cpu" if trained.family == "trees" or run.device == "cpu" else "auto")
    rows = len(load_rows(call, problem, "train"))
    return forecast(trained, machine(call, problem), here, rows, outputs(problem.schema))


def _with_provenance(report: Report, recorded: Recorded) -> Report:
    first = {"model": recorded.uri, "MLflow run": recorded.run_id}
    return Report(**{**_fields(report), "provenance": {**first, **report.provenance}})


def _fields(report: Report) -> dict[str, Any]:
    return {name: getattr(report, name) for name in type(report).__dataclass_fields__}


def _record(call: Call, operation: str, report: Report, folder: Path, values: dict[str, Value]) -> Record:
    ws, evaluation = call.ws, report.evaluation
    kept = evaluation.trained
    model_dir = ws.models / kept.artifact
    rows = plain_rows(_example(call, report))
    example = frame_of(rows)
    output = load_predictor_of(call, kept.artifact).predict(example)
    checks = report.checks
    docs = docs_folder(ws, call.name, checks.problem, checks.suite_sha256, tuple(call.settings.data.columns))
    files = {"report.html": folder / "report.html", "tensorboard": ws.runs / "tensorboard" / kept.plan.id[:16]}
    if docs.is_dir():
        files["data_docs"] = docs
    problem = report.checks.problem
    return Record(
        operation_id=operation,
        name=call.name,
        run_name=f"{call.name} {report.created[:16]}",
        dataset=Dataset(snapshot=problem.snapshot, name=report.data_name, target=problem.schema.target),
        model_dir=model_dir,
        example=example,
        output=output,
        requirements=[f"{name}=={public_version(name)}" for name in SERVING],
        written=written_names(ws, problem.snapshot.train),
        params=report.config,
        metrics=_metrics(evaluation, report.forecast) | {f"macs/{name}": float(v) for name, v in macs(report).items()},
        tags={
            "snapshot_sha256": problem.snapshot.train.sha256,
            "plan": kept.plan.id,
            "evaluation": evaluation.id,
            "abi.settings": call.settings.digest(),
            "abi.code": code_id(),
        },
        rounds=[_round(i, r) for i, r in enumerate(report.rounds)],
        documents={f"values/{kind}.json": document(value) for kind, value in values.items()}
        | {"example.json": {"input": rows, "output": plain_rows(output)}},
        files={name: path for name, path in files.items() if path.exists()},
        description=verdict(evaluation),
    )


def _round(index: int, turn: ReportRound) -> Round:
    trained = turn.trained
    steps = [("validation_loss", e.epoch, e.validation_loss) for e in trained.history]
    steps += [("train_loss", e.epoch, e.train_loss) for e in trained.history if e.train_loss is not None]
    return Round(
        name=f"round {index + 1}",
        params={"temperature": turn.attention.temperature, "seed": trained.seed, "plan": turn.plan.id},
        metrics={
            "validation_loss_best": trained.loss,
            **({} if trained.metric is None else {"validation_metric": trained.metric}),
            **_costs(trained.measured),
            **_taken(trained),
            "attention_entropy": turn.attention.entropy,
            "attention_effective_features": turn.attention.effective,
            "attention_moved": turn.attention.moved,
            **_still_moving(turn),
        },
        steps=steps,
    )


def _still_moving(turn: ReportRound) -> dict[str, float]:
    """What moved in training, and what the round's model would move."""
    found = {}
    if turn.trained.family == "network":
        before = np.array([w.weight for w in turn.attention.weights])
        found["attention_moved_in_training"] = distance(before, np.array(turn.trained.attention))
    if turn.convergence is not None:
        found["attention_next_move"] = turn.convergence.movement
        found["plan_next_change"] = turn.convergence.plan_change
        found["attention_converged"] = float(turn.convergence.converged)
    return found


def _metrics(evaluation: Evaluation, forecast: Forecast | None) -> dict[str, float]:
    flat = {f"test/{name}": e.value for name, e in evaluation.metrics.items()}
    for control in evaluation.controls:
        flat |= {f"{control.name}/{name}": e.value for name, e in control.metrics.items()}
        flat[f"gain/{control.name}"] = control.gain.difference.value
    flat |= _robustness(evaluation)
    if evaluation.transfer is not None:
        flat["gain/transfer"] = evaluation.transfer.difference.value
    predicted = _costs(evaluation.trained.predicted)
    if forecast is not None:
        predicted |= {"step_s": forecast.step_s, "energy_j": forecast.energy_j}
    measured = _costs(evaluation.measured) | _taken(evaluation.trained)
    flat |= {f"predicted/{name}": value for name, value in predicted.items()}
    flat |= {f"measured/{name}": value for name, value in measured.items()}
    both = predicted.keys() & measured.keys()
    return flat | {f"ratio/{name}": measured[name] / predicted[name] for name in sorted(both) if predicted[name]}


def _robustness(evaluation: Evaluation) -> dict[str, float]:
    """Under each change the metric of each contender, and how steady attention is."""
    found = evaluation.robustness
    flat: dict[str, float] = {}
    for change in found.perturbed if found is not None else ():
        name = f"robust/{change.kind}/{change.strength or change.feature}"
        flat |= {f"{name}/{c.contender}": c.value.value for c in change.contenders if math.isfinite(c.value.value)}
    for steady in found.stability if found is not None else ():
        name = f"stability/{steady.strength or steady.kind}{'' if steady.feature is None else f'/{steady.feature}'}"
        flat |= {f"{name}/moved": steady.moved, **({} if steady.rank is None else {f"{name}/rank": steady.rank})}
    return flat


def _costs(cost: Cost) -> dict[str, float]:
    return {name: float(getattr(cost, name)) for name in ("parameters", "memory_bytes", "train_time_s", "latency_s")}


def _taken(trained: Trained) -> dict[str, float]:
    """What was measured beside the cost; what this machine does not tell is left out."""
    names = ("reserved_bytes", "process_bytes", "step_s", "step_p95_s", "energy_j")
    found = {name: getattr(trained.resources, name, None) for name in names}
    return {name: float(value) for name, value in found.items() if value is not None}


def _example(call: Call, report: Report) -> Any:
    """Some rows as the model gets them: the columns that its features come from. Large files are left out."""
    schema = report.checks.problem.schema
    names, table = list(raw_columns(schema)), open_reader(call, report.checks.problem).train
    if schema.derivation is not None:
        order = [schema.derivation.order] if schema.derivation.order in table.names else []
        rows = table.sample(list(dict.fromkeys([*names, *order]))).slice(0, SERIES_ROWS).drop_columns("__row")
    else:
        rows = table.sample(names).slice(0, EXAMPLE_ROWS).select(names)
    frame = rows.to_pandas()
    for name in schema.media:
        small = [cell if cell is not None and len(cell) <= EXAMPLE_BYTES else None for cell in frame[name]]
        frame[name] = np.array([*small, None], dtype=object)[:-1]
    return frame


def public_version(name: str) -> str:
    """The version without the local part that names a build (2.13.0+cpu)."""
    return importlib.metadata.version(name).split("+")[0]


RECORD = Stage(record, named=True, cached=False)
