"""The `abi` command. Heavy imports wait until a command needs them, so that help answers at once."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

import tasks  # noqa: F401 - sets the environment before any library is imported
from flows import adapting, auditing, explaining, keys, observing, planning, promoting, scheduling, serving
from flows.common import Common
from flows.plan_module import ModuleFlags
from flows.words import sentence, with_stdin

INTERRUPTED = 130
AGAIN_S = 0.05
UNWRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
STOPPED = "Interrupted; finished stages are kept, and the same command goes on from there."

app = App(
    name="abi",
    help="ABI, the Attention Balance Instrument: capacity goes where the data pays for it, and every decision can be shown.",
    version="0.1.0",
    suppress_keyboard_interrupt=False,
)
config_app = App(name="config", help="Settings.")
app.command(config_app)


@app.command
def run(
    data: str,
    *,
    target: str,
    test: Path | None = None,
    name: str | None = None,
    budget: Annotated[list[str] | None, Parameter(negative="")] = None,
    gpus: str | None = None,
    source: Annotated[str | None, Parameter(name="--from")] = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    out: Path | None = None,
    common: Common = Common(),
) -> None:
    """Retrain on a table: check, score, fit attention, plan, train, compare, report, register.

    Args:
        data: CSV (also gzip) or Parquet file.
        target: Column to predict.
        test: File with held-out rows; a part of DATA is held out where it is not given.
        name: Name of the registered model (default: the data file's).
        budget: A limit, as parameters=200k, memory=8GiB, train_time=10min, run_time=1h, latency=2ms, energy=1kWh or cost=0.5; may be
            repeated.
        gpus: Devices of this machine to train on, as auto, cpu or 1xL4; with --dry-run any to plan for.
        source: A registered model of another domain to start from, as NAME, NAME/VERSION or NAME/champion; what both have in
            common is carried over, and a start from nothing is trained beside it.
        dry_run: Check the data and show the plan; train and register nothing.
        out: Folder that also gets metrics.json, plots and the report, for DVC.
        common: Flags that every command takes.
    """
    from flows import commands

    commands.run(data, target, test, name, budget or [], dry_run, out, common, gpus, source)


@app.command
def check(
    data: str, *, target: str, test: Path | None = None, name: str | None = None, common: Common = Common()
) -> None:
    """Snapshot the data and run its checks; exit 3 where a critical one fails.

    Args:
        data: CSV (also gzip) or Parquet file.
        target: Column to predict.
        test: File with held-out rows.
        name: Name of the model, which names its expectation suite.
        common: Flags that every command takes.
    """
    from flows import commands

    commands.check(data, target, test, name, common)


@app.command
def score(
    source: str,
    *,
    target: str | None = None,
    test: Path | None = None,
    name: str | None = None,
    common: Common = Common(),
) -> None:
    """Score every feature: relevance, discrimination, complexity.

    Args:
        source: What `abi check --json` printed (a file, or - for stdin), or a data file with --target.
        target: Column to predict, where SOURCE is a data file.
        test: File with held-out rows, where SOURCE is a data file.
        name: Name of the model.
        common: Flags that every command takes.
    """
    from flows import commands

    commands.score(source, target, test, name, common)


@app.command
def fit(source: str, *, common: Common = Common()) -> None:
    """Turn scores into attention; the temperature is chosen on validation rows.

    Args:
        source: What `abi score --json` printed (a file, or - for stdin).
        common: Flags that every command takes.
    """
    from flows import commands

    commands.stage("fit", source, common)


@app.command
def plan(
    source: str | None = None,
    *,
    budget: Annotated[list[str] | None, Parameter(negative="")] = None,
    asked: ModuleFlags = ModuleFlags(),
    common: Common = Common(),
) -> None:
    """Divide the envelope with the reason of each choice; or say how to run any torch module, before it runs.

    `abi plan ATTENTION.json` plans widths, layers and execution of the project's own networks. `abi plan --module
    package:factory --batch 'x=f32[B,128]' --gpus 2xL4` plans devices, precision, checkpointing,
    micro-batch and workers of anyone's module; with --measure it also runs a few steps of it here. With --explain both say
    what binds, what a little more of each limit would buy, and what lost; --what-if memory=16GiB shows the plan in another
    envelope beside it.

    Args:
        source: What `abi fit --json` printed (a file, or - for stdin).
        budget: A limit, as parameters=200k, memory=8GiB, train_time=2h, latency=2ms, energy=2kWh or cost=0.5; with --module
            no parameters, but host_memory; may be repeated.
        asked: What is said of a module; --gpus, --global-batch, --objective, --explain and --what-if go with both.
        common: Flags that every command takes.
    """
    from flows import plan_module, plan_own

    if plan_module.is_asked(source, asked):
        plan_module.plan(asked, budget or [], common)
    else:
        plan_own.plan(source or "", asked, budget or [], common)


@app.command
def train(source: str, *, common: Common = Common()) -> None:
    """Train exactly one plan; goes on from a checkpoint where it was stopped.

    Args:
        source: What `abi plan --json` printed (a file, or - for stdin).
        common: Flags that every command takes.
    """
    from flows import commands

    commands.stage("train", source, common)


@app.command(name="eval")
def evaluate(
    source: str, *, robust: Annotated[bool, Parameter(negative="")] = False, common: Common = Common()
) -> None:
    """Held-out quality of a trained model beside the uniform control and the baseline.

    Args:
        source: What `abi train --json` printed (a file, or - for stdin); or a registered model, as NAME, NAME/VERSION or
            NAME/champion, whose recorded figures are shown.
        robust: Also under noise, missing features and adversarial steps, and how steady attention is.
        common: Flags that every command takes.
    """
    from flows import commands

    commands.evaluate(source, robust, common)


@app.command
def report(source: str, *, out: Path | None = None, common: Common = Common()) -> None:
    """Write the HTML report of a run, or of an evaluation.

    Args:
        source: A run id, NAME/VERSION or NAME/ALIAS, or what `abi run --json` or `abi eval --json` printed (a file, or - for stdin).
        out: File to write (default: report.html in this folder).
        common: Flags that every command takes.
    """
    from flows import commands

    commands.report(source, out, common)


@app.command
def init(*, force: Annotated[bool, Parameter(negative="")] = False, common: Common = Common()) -> None:
    """Write a commented abi.yaml with the defaults.

    Args:
        force: Replace one that is there.
        common: Flags that every command takes.
    """
    from flows import commands

    commands.init(force, common)


@config_app.command
def schema() -> None:
    """Print the JSON Schema of abi.yaml."""
    from abi.config import Config
    from tasks.stdout import put

    put(json.dumps(Config.model_json_schema(), indent=2) + "\n")


@config_app.command
def show(*, common: Common = Common()) -> None:
    """Print the settings in effect.

    Args:
        common: Flags that every command takes.
    """
    from flows import commands

    commands.show_config(common)


@app.command
def doctor(*, common: Common = Common()) -> None:
    """Look at libraries, devices and the workspace; name what is missing and how to mend it.

    Args:
        common: Flags that every command takes.
    """
    from flows import commands

    commands.doctor(common)


@app.command
def demo(*, write: Path | None = None, out: Path | None = None, common: Common = Common()) -> None:
    """Run the whole pipeline on a real table that scikit-learn bundles.

    Args:
        write: Only write the table to this CSV file.
        out: Folder that also gets metrics.json, plots and the report, for DVC.
        common: Flags that every command takes.
    """
    from flows import commands

    commands.demo(write, out, common)


for group in (adapting, promoting, auditing, explaining, scheduling, serving, keys, observing, planning):
    group.register(app)


def main() -> None:
    """Entry point: errors become one sentence and an exit code; SIGTERM leaves by the way of Ctrl-C."""
    from tasks.stdout import prepare

    signal.signal(signal.SIGTERM, _interrupt)
    sys.unraisablehook = _once_more
    prepare()
    sys.exit(execute(sys.argv[1:]))


def execute(tokens: list[str]) -> int:
    """Run one command line and give its exit code."""
    from tasks.stdout import refusal

    try:
        code = _execute(tokens)
    except BrokenPipeError:
        code = 0
    refused = refusal()
    return code if refused is None else _refused(refused)


def _execute(tokens: list[str]) -> int:
    from abi.errors import AbiError, UsageError
    from tasks.stdout import stdout_console

    try:
        app(
            with_stdin(app, tokens),
            console=stdout_console(no_color=False),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        return _fail(sentence(error), UsageError.exit_code)
    except AbiError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail(STOPPED, INTERRUPTED)
    except BrokenPipeError:
        raise
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0
    except Exception as error:
        return _unexpected(error, verbose=bool({"-v", "--verbose"} & set(tokens)))
    return 0


def _unexpected(error: Exception, *, verbose: bool) -> int:
    from tasks.stdout import refusal

    # pydantic, which is not imported here, wraps what strikes in its serialiser
    if type(error).__name__ == "PydanticSerializationError" and "KeyboardInterrupt" in str(error):
        return _fail(STOPPED, INTERRUPTED)
    # an error with a file's name says it, and the workspace's writes have sentences of their own
    if isinstance(error, OSError) and error.filename is None and error.errno in UNWRITTEN:
        return _refused(refusal() or os.strerror(error.errno).lower())
    if verbose:
        raise error
    again = "(run again with -v for the traceback)."
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
        return _fail(f"Expected to read or write {name}, got {error.strerror.lower()} {again}", 1)
    told = str(error).splitlines()[0] if str(error) else "no message"
    return _fail(f"Unexpected {type(error).__name__}: {told} {again}", 1)


def _refused(why: str) -> int:
    return _fail(f"Expected room for the answer on standard output, got {why}: send it elsewhere.", 1)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _once_more(lost: sys.UnraisableHookArgs) -> None:
    """Send a signal again whose exception was raised where Python cannot pass it on, as in a callback of the garbage collector."""
    name = lost.exc_type.__name__  # Prefect's, which is not imported here, among them
    number = {"KeyboardInterrupt": signal.SIGINT, "TerminationSignal": signal.SIGTERM}.get(name)
    if number is None:
        sys.__unraisablehook__(lost)
        return
    again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


def _fail(told: str, code: int) -> int:
    """One line, whatever the names in it are made of."""
    line = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in told)
    print(f"abi: {line}", file=sys.stderr)
    return code
