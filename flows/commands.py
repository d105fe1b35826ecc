"""What the commands do: read values, run stages, print values."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abi.config import Config, load_config
from abi.documents import document, find, read_document
from abi.errors import UsageError
from abi.problem import Checks
from abi.types import Attention, Evaluation, Plan, Scores, Trained
from abi.values import Value
from tasks import progress
from tasks.stage import Call, Clock
from tasks.workspace import Workspace, disk_errors

if TYPE_CHECKING:
    from flows.cli import Common

STDIN = "/dev/stdin"
BUDGETS = ("parameters", "memory", "train_time", "latency")
DATA_ENDINGS = (".csv", ".csv.gz", ".parquet")
DEFAULT_WORKSPACE = Path(".abi")


def run(
    data: str,
    target: str,
    test: Path | None,
    name: str | None,
    budget: list[str],
    dry_run: bool,
    out: Path | None,
    common: Common,
) -> None:
    """`abi run`."""
    from flows.retrain import Request, retrain
    from tasks.orchestration import in_prefect
    from tasks.preflight import preflight

    ws, call = _open(common, name, data, budget)
    if out is not None:
        with disk_errors(out):
            out.mkdir(parents=True, exist_ok=True)
    request = Request(call, target, data, None if test is None else str(test))
    with ws.lock(timeout_s=0):
        posed = preflight(call, data, request.test, target)
        if dry_run:
            _dry_run(call, posed, common)
            return
        started, clock = time.time(), Clock()
        folder = Path(in_prefect(call, clock, lambda stage: retrain(stage, request), f"retrain {call.name}"))
    _answer(folder, clock, started, out, common)


def _dry_run(call: Call, problem_id: str, common: Common) -> None:
    from tasks.checks import validate
    from tasks.planning import divide
    from tasks.preflight import dry_run_attention
    from tasks.scoring import score

    ws = call.ws
    checks = validate(call, problem_id)
    plan = divide(call, dry_run_attention(find(ws.get(score(call, checks)), Scores), call.settings))
    progress.say("dry run   nothing was trained or registered; a run also tries other temperatures")
    _print(plan, common)


def _answer(folder: Path, clock: Clock, started: float, out: Path | None, common: Common) -> None:
    from tasks.outputs import read_report, write_outputs
    from tasks.recording import peak_memory_bytes

    written = folder / "run.json"
    result: dict[str, Any] = json.loads(written.read_bytes())
    result |= {
        "status": "reused" if written.stat().st_mtime < started else "completed",
        "timings_s": clock.seconds,
        "peak_memory_bytes": peak_memory_bytes(),
    }
    if out is not None:
        write_outputs(folder, result, out)
    if common.json:
        _emit(result)
    elif not common.quiet:
        from rich.console import Console

        from abi.report.summary import terminal_summary

        Console(no_color=common.no_color, highlight=False).print(
            terminal_summary(read_report(folder), Path(result["report"]))
        )


def check(data: str, target: str, test: Path | None, name: str | None, common: Common) -> None:
    """`abi check`."""
    _, call = _open(common, name, data, [])
    _print(_checked(call, data, target, test), common)


def _checked(call: Call, data: str, target: str, test: Path | None) -> Checks:
    from tasks.checks import validate
    from tasks.preflight import pose_problem

    problem = pose_problem(call, data, None if test is None else str(test), target)
    checks: Checks = find(call.ws.get(validate(call, problem)), Checks)
    return checks


def score(source: str, target: str | None, test: Path | None, name: str | None, common: Common) -> None:
    """`abi score`."""
    if target is None and source.lower().endswith(DATA_ENDINGS):
        msg = f"Expected --target COLUMN beside the data file {source}: name the column to predict, or give what `abi check --json` printed."
        raise UsageError(msg)
    from tasks.scoring import score as score_stage

    ws, call = _open(common, name, source, [])
    checks = find(_read(source), Checks) if target is None else _checked(call, source, target, test)
    _print(ws.get(score_stage(call, ws.put(checks))), common)


def stage(verb: str, source: str, common: Common, budget: list[str] | None = None) -> None:
    """`abi fit`, `plan`, `train` and `eval`: one value in, one value out."""
    needs, function = _verbs()[verb]
    value = _read(source)
    find(value, needs)
    ws, call = _open(common, None, source, budget or [])
    _print(ws.get(function(call, ws.put(value))), common)


def _verbs() -> dict[str, tuple[type[Value], Any]]:
    from tasks.attention import fit, move
    from tasks.evaluation import evaluate
    from tasks.planning import plan
    from tasks.training import train, train_control

    def compare(call: Call, trained: str) -> str:
        return evaluate(call, train_control(call, move(call, trained)), trained)

    return {"fit": (Scores, fit), "plan": (Attention, plan), "train": (Plan, train), "eval": (Trained, compare)}


def report(source: str, out: Path | None, common: Common) -> None:
    """`abi report`."""
    from tasks.outputs import find_run, report_of_evaluation, write_report

    ws, call = _open(common, None, source, [])
    if re.fullmatch(r"[0-9a-f]{8,64}", source) and not Path(source).exists():
        made = find_run(ws, source)
    else:
        plain = _plain(source)
        if isinstance(plain, dict) and "run_id" in plain:
            made = find_run(ws, str(plain["run_id"]))
        else:
            made = report_of_evaluation(call, find(read_document(plain), Evaluation))
    path = write_report(ws, made, out or Path("report.html"))
    if common.json:
        _emit({"report": str(path)})
    else:
        print(path)


def init(force: bool, common: Common) -> None:
    """`abi init`."""
    from tasks.settings_file import commented

    path = common.config or Path("abi.yaml")
    if path.exists() and not force:
        msg = f"Expected no {path} here, got one: edit it, or replace it with --force."
        raise UsageError(msg)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commented(), encoding="utf-8")
    progress.say(f"wrote {path}")
    if common.json:
        _emit({"config": str(path)})


def show_config(common: Common) -> None:
    """`abi config show`."""
    _emit(_config(common, []).model_dump(mode="json"))


def doctor(common: Common) -> None:
    """`abi doctor`: exit 1 where something must be mended."""
    from tasks.doctor import examine

    findings = examine(_workspace(common))
    if common.json:
        _emit({"findings": findings})
    else:
        for finding in findings:
            print(f"{'ok  ' if finding['ok'] else 'MEND'}  {finding['name']}: {finding['found']}")
            if not finding["ok"]:
                print(f"      {finding['remedy']}")
    if not all(finding["ok"] for finding in findings):
        sys.exit(1)


def demo(write: Path | None, out: Path | None, common: Common) -> None:
    """`abi demo`."""
    from dataclasses import replace

    from tasks.demo import SETTINGS, TARGET, write_table

    ws = Workspace.open(_workspace(common))
    if write is not None:
        write_table(ws, write.resolve())
        return
    run(str(write_table(ws)), TARGET, None, None, [], False, out, replace(common, config=common.config or SETTINGS))


def _workspace(common: Common) -> Path:
    return common.workspace or DEFAULT_WORKSPACE


def _open(common: Common, name: str | None, source: str, budget: list[str]) -> tuple[Workspace, Call]:
    """Workspace and call; sets up what a person sees."""
    config = _config(common, budget)
    progress.set_up(quiet=common.quiet, verbose=common.verbose, no_color=common.no_color)
    ws = Workspace.open(_workspace(common))
    return ws, Call.of(ws, _model_name(name or config.name, source), config)


def _model_name(name: str | None, source: str) -> str:
    """The given name, or the data file's: what MLflow takes as a name is kept of it."""
    if name is not None:
        if not re.fullmatch(r"[^/:.%\"'\s][^/:.%\"']{0,99}", name):
            msg = f"Expected a model name of at most 100 characters without / : . % and quotes, got {name!r}."
            raise UsageError(msg)
        return name
    path = Path(source)
    stem = path.name.split(".")[0]
    generic = stem in {"train", "data", "training", ""} and path.resolve().parent.name
    return re.sub(r"[^\w-]+", "_", generic or stem)[:100] or "model"


def _config(common: Common, budget: list[str]) -> Config:
    settings: dict[str, object] = {}
    for item in common.set or []:
        key, _, text = item.partition("=")
        if not key or not _:
            msg = f"Expected --set section.key=value, got {item!r}."
            raise UsageError(msg)
        settings[key.strip()] = _literal(text)
    for item in budget:
        key, _, text = item.partition("=")
        if key not in BUDGETS or not text:
            msg = f"Expected --budget as one of {', '.join(f'{b}=…' for b in BUDGETS)}, got {item!r}."
            raise UsageError(msg)
        settings[f"envelope.{key}"] = text
    if common.seed is not None:
        settings["seed"] = common.seed
    return load_config(common.config, settings)


def _literal(text: str) -> object:
    """A value as YAML would read it: 3, 0.5, true, null, [1, 2], or the text itself."""
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _plain(source: str) -> object:
    try:
        text = sys.stdin.read() if source == STDIN else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"Expected a JSON document that an `abi` stage printed at {source}, got: {getattr(error, 'strerror', None) or error}."
        raise UsageError(msg) from None
    try:
        return json.loads(text)
    except ValueError:
        msg = f"Expected a JSON document that an `abi` stage printed in {source}, got {'nothing' if not text.strip() else 'something else'}: run the stage before with --json."
        raise UsageError(msg) from None


def _read(source: str) -> Value:
    return read_document(_plain(source))


def _print(value: Value, common: Common) -> None:
    if common.json:
        _emit(document(value))
    elif not common.quiet:
        from tasks.terminal import show

        show(value, no_color=common.no_color)


def _emit(plain: object) -> None:
    json.dump(plain, sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")
