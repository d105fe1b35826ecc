"""What `abi adapt` does with its flags: one flow, and its answer."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.adapting import Stream, follow
from flows.session import emit, open_call
from tasks import orchestration
from tasks.stage import Clock
from tasks.telemetry import publishing
from tasks.workspace import disk_errors

if TYPE_CHECKING:
    from flows.common import Common


def adapt(
    data: str, target: str, test: str | None, model: str | None, out: Path | None, common: Common, *, register: bool
) -> None:
    """`abi adapt`."""
    ws, call = open_call(common, model, data, [])
    stream = Stream(call, target, data, test, register)
    with ws.lock(timeout_s=0), orchestration.in_prefect(ws) as run_flow, publishing(ws, call.settings):
        started, clock = time.time(), Clock()
        folder = Path(run_flow(call, clock, lambda run: follow(run, stream), f"adapt {call.name}"))
    result: dict[str, Any] = json.loads((folder / "stream.json").read_bytes())
    result["timings_s"] = clock.seconds
    if out is not None:
        with disk_errors(out):
            out.mkdir(parents=True, exist_ok=True)
            (out / "stream.json").write_text(json.dumps(result, ensure_ascii=False, indent=1))
            (out / "report.html").write_bytes((folder / "report.html").read_bytes())
    if common.json:
        emit(result)
    elif not common.quiet:
        _show(result, started, no_color=common.no_color)


def _show(result: dict[str, Any], started: float, *, no_color: bool) -> None:
    from abi.report.wording import plural
    from abi.units import show_seconds
    from tasks.terminal import print_table

    named = {
        "adapted": result["adapted"],
        **result["controls"],
        **{f"{k} alone": v for k, v in result["experts"].items()},
    }
    rows = [(name, f"{value:.4f}") for name, value in named.items()]
    print_table(("", f"prequential {result['metric']}"), rows, no_color=no_color, numbers={1})
    print(
        f"{plural(result['scored'], 'row')} scored from row {result['begin'] + 1:,} on, {plural(len(result['adaptations']), 'decision')}, {show_seconds(time.time() - started)}. Report: {result['report']}"
    )
    for note in result["notes"]:
        print(f"{note[:1].upper()}{note[1:]}.")
    version = result["version"]
    print(
        f"Registered as {version['uri']}, a challenger: `abi promote` holds it against its gates."
        if version
        else f"Not registered: {result['unregistered']}."
    )
