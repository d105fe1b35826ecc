"""What the commands do: read values, run stages, print values."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abi.documents import find, read_document
from abi.errors import UsageError
from abi.outcomes import Evaluation, Trained
from abi.problem import Checks
from abi.sections import without_passwords
from abi.types import Plan, Scores
from abi.units import show_seconds
from abi.values import Value
from flows.session import emit, open_call, print_value, read_plain, read_value, settings_of, workspace_of
from flows.words import STDIN
from tasks import progress
from tasks.stage import Call, Clock
from tasks.workspace import Workspace, disk_errors

if TYPE_CHECKING:
    from flows.common import Common

DATA_ENDINGS = (".csv", ".csv.gz", ".parquet")


def run(
    data: str,
    target: str,
    test: Path | None,
    name: str | None,
    budget: list[str],
    dry_run: bool,
    out: Path | None,
    common: Common,
    gpus: str | None = None,
    source: str | None = None,
) -> None:
    """`abi run`."""
    from tasks import orchestration

    ws, call = open_call(common, name, data, budget, gpus)
    if out is not None:
        with disk_errors(out, "--out"):
            out.mkdir(parents=True, exist_ok=True)
    # the server of a flow starts while the rest is imported
    with ws.lock(timeout_s=0), nullcontext() if dry_run else orchestration.in_prefect(ws) as run_flow:
        from flows.retrain import Request, retrain
        from tasks.lineage import lineage
        from tasks.planning import expect_devices
        from tasks.preflight import preflight
        from tasks.telemetry import publishing

        request = Request(call, target, data, None if test is None else str(test), source)
        if run_flow is None:
            _dry_run(call, preflight(call, data, request.test, target, source), common)
            return
        expect_devices(call)
        with publishing(ws, call.settings), lineage(call, data, request.test) as known:
            known.posed(preflight(call, data, request.test, target, source))
            started, clock = time.time(), Clock()
            folder = Path(run_flow(call, clock, lambda stage: retrain(stage, request), f"retrain {call.name}"))
            known.recorded(folder)
        asked_s = call.settings.envelope.run_time
        if asked_s is not None:
            took_s = time.time() - started
            progress.say(f"time      the run took {show_seconds(took_s)} of {show_seconds(asked_s)}")
    _answer(folder, clock, started, out, common)


def _dry_run(call: Call, problem_id: str, common: Common) -> None:
    from tasks.checks import validate
    from tasks.planning import divide_or_name
    from tasks.preflight import dry_run_attention
    from tasks.scoring import score

    ws = call.ws
    checks = validate(call, problem_id)
    plan = divide_or_name(call, dry_run_attention(find(ws.get(score(call, checks)), Scores), call.settings))
    progress.say("dry run   nothing was trained or registered; a run also tries other temperatures")
    print_value(plan, common)


def _answer(folder: Path, clock: Clock, started: float, out: Path | None, common: Common) -> None:
    from abi.execution.meter import high_water
    from tasks.outputs import read_report, write_outputs

    written = folder / "run.json"
    result: dict[str, Any] = json.loads(written.read_bytes())
    result |= {
        "status": "reused" if written.stat().st_mtime < started else "completed",
        "timings_s": clock.seconds,
        "peak_memory_bytes": high_water(),
    }
    if out is not None:
        write_outputs(folder, result, out)
    if common.json:
        emit(result)
    elif not common.quiet:
        from abi.report.summary import terminal_summary
        from tasks.stdout import print_whole, stdout_console
        from tasks.terminal import has_bars

        read, console = read_report(folder), stdout_console(no_color=common.no_color)
        print_whole(console, terminal_summary(read, Path(result["report"]), bars=has_bars(console)))
        if read.evaluation.trained.transfer is not None:
            from abi.report.transfer import transfer_sentence

            print(transfer_sentence(read.evaluation))
        if read.evaluation.robustness is not None:
            from tasks.terminal import show_robustness

            show_robustness(read.evaluation.robustness, no_color=common.no_color)


def check(data: str, target: str, test: Path | None, name: str | None, common: Common) -> None:
    """`abi check`."""
    _, call = open_call(common, name, data, [])
    print_value(_checked(call, data, target, test), common)


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
    if target is None and test is not None:
        msg = f"Expected --test beside a data file with --target, got {source}, whose rows `abi check` has divided: leave --test out, or give it to `abi check`."
        raise UsageError(msg)
    from tasks.scoring import score as score_stage

    given = find(read_value(source), Checks) if target is None else None
    ws, call = open_call(common, name, source, [])
    checks = given or _checked(call, source, str(target), test)
    print_value(ws.get(score_stage(call, ws.put(checks))), common)


def stage(verb: str, source: str, common: Common) -> None:
    """`abi fit`, `train` and `eval`: one value in, one value out."""
    needs, function = _verb(verb)
    value = read_value(source)
    find(value, needs)
    ws, call = open_call(common, None, source, [])
    print_value(ws.get(function(call, ws.put(value))), common)


def evaluate(source: str, robust: bool, common: Common) -> None:
    """`abi eval`."""
    if robust:
        common = replace(common, set=[*(common.set or []), "evaluation.robust=true"])
    if source == STDIN or Path(source).is_file() or source.endswith(".json"):
        stage("eval", source, common)
        return
    from tasks.robustness import of_registered

    _, call = open_call(common, None, source, [], reading=True)
    print_value(of_registered(call, source), common)


def _verb(name: str) -> tuple[type[Value], Any]:
    """What a verb needs, and its stage; each stage's libraries are imported for it alone."""
    if name == "fit":
        from tasks.attention import fit

        return Scores, fit
    from tasks.training import train, train_control

    if name == "train":
        return Plan, train
    from tasks.attention import move
    from tasks.evaluation import evaluate

    def compare(call: Call, trained: str) -> str:
        return evaluate(call, train_control(call, move(call, trained)), trained)

    return Trained, compare


def report(source: str, out: Path | None, common: Common) -> None:
    """`abi report`."""
    from tasks.outputs import find_run, report_of_evaluation, write_report
    from tasks.runs import is_reference, run_id_of

    of_run = is_reference(source) and not Path(source).exists()
    plain = None if of_run else read_plain(source)
    run_id = str(plain["run_id"]) if isinstance(plain, dict) and "run_id" in plain else None
    evaluation = find(read_document(plain), Evaluation) if not of_run and run_id is None else None
    ws, call = open_call(common, None, source, [], reading=evaluation is None)
    if evaluation is not None:
        made = report_of_evaluation(call, evaluation)
    else:
        made = find_run(ws, run_id or run_id_of(ws, call.settings, source))
    path = write_report(ws, made, out or Path("report.html"))
    if common.json:
        emit({"report": str(path)})
    else:
        print(path)


def init(force: bool, common: Common) -> None:
    """`abi init`."""
    from tasks.settings_file import commented

    path = common.config or Path("abi.yaml")
    if path.exists() and not force:
        msg = f"Expected no {path} here, got one: edit it, or replace it with --force."
        raise UsageError(msg)
    with disk_errors(path, "--config"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commented(), encoding="utf-8")
    progress.say(f"wrote {path}")
    if common.json:
        emit({"config": str(path)})


def show_config(common: Common) -> None:
    """`abi config show`."""
    emit(without_passwords(settings_of(common, []).model_dump(mode="json")))


def doctor(common: Common) -> None:
    """`abi doctor`: exit 1 where something must be mended."""
    from tasks.doctor import examine

    findings = examine(workspace_of(common), lambda: settings_of(common, []))
    if common.json:
        emit({"findings": findings})
    else:
        for finding in findings:
            print(f"{'ok  ' if finding['ok'] else 'MEND'}  {finding['name']}: {finding['found']}")
            if not finding["ok"]:
                print(f"      {finding['remedy']}")
    if not all(finding["ok"] for finding in findings):
        sys.exit(1)


def demo(write: Path | None, out: Path | None, common: Common) -> None:
    """`abi demo`."""
    from tasks.demo import SETTINGS, TARGET, write_table

    if write is not None:
        if out is not None:
            msg = f"Expected --write or --out, got {write} and {out}: leave one out, as --write runs nothing."
            raise UsageError(msg)
        progress.set_up(quiet=common.quiet, verbose=common.verbose, no_color=common.no_color)
        write_table(write)
        progress.say(f"wrote {write}")
        if common.json:
            emit({"data": str(write)})
        return
    table = Workspace.open(workspace_of(common)).root / "demo" / "breast_cancer.csv"
    write_table(table, "--workspace")
    run(str(table), TARGET, None, None, [], False, out, replace(common, config=common.config or SETTINGS))
