"""`abi adapt`: a model goes on learning along a stream. The order of its stages, and the command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.common import Common

if TYPE_CHECKING:
    from cyclopts import App

    from tasks.stage import Call

Run = Callable[..., str]


@dataclass(frozen=True)
class Stream:
    """What is followed, in which files: the rows of `test`, where there is one, come after those of `data`.

    With `register`, what it ends with becomes a version of the model.
    """

    call: Call
    target: str
    data: str
    test: str | None = None
    register: bool = True


def follow(run: Run, stream: Stream) -> str:
    """Snapshot, start, adapt, record.

    Args:
        run: runs a stage: `tasks.orchestration.as_tasks` or `in_process`.
        stream: files and settings.

    Returns:
        Path of the folder with the result and the report.
    """
    from tasks.adapting import ADAPT, FIND_START, TAKE_STREAM
    from tasks.stream_recording import RECORD_STREAM

    snapshot = run(TAKE_STREAM, stream.data, stream.test or "")
    start = run(FIND_START, snapshot, stream.target)
    adapted = run(ADAPT, snapshot, stream.target, start)
    leave = () if stream.register else ("--no-register",)
    return run(RECORD_STREAM, Path(stream.data).name, snapshot, adapted, *leave)


def register(app: App) -> None:
    """Put the command on `app`."""
    app.command(adapt)


def adapt(
    data: str,
    *,
    target: str,
    test: Path | None = None,
    model: str | None = None,
    every: int | None = None,
    out: Path | None = None,
    register: bool = True,
    common: Common = Common(),
) -> None:
    """Follow a table as a stream: predict each block of rows, then learn from it; adapt where drift asks for it.

    It begins with the registered champion where there is one, and cold from the first rows (adapt.warmup) where there is
    none. Figures are prequential, beside the last label again, the majority and the model that never adapted. What it ends
    with is registered as a new version of the model, a challenger that `abi promote` can make champion.

    Args:
        data: CSV (also gzip) or Parquet file whose rows are in order of time.
        target: Column to predict; a row without it is predicted and not learned from.
        test: File whose rows come after those of DATA.
        model: Registered model to begin with (default: of the settings, or the data file's name).
        every: Rows of a block (default: adapt.every).
        out: Folder that also gets stream.json and the report.
        register: Register the adapted model as a new version.
        common: Flags that every command takes.
    """
    from dataclasses import replace

    from flows import stream_command

    chosen = common if every is None else replace(common, set=[*(common.set or []), f"adapt.every={every}"])
    stream_command.adapt(data, target, None if test is None else str(test), model, out, chosen, register=register)
