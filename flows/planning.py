"""Commands of the resource planner: calibrate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.common import Common

if TYPE_CHECKING:
    from cyclopts import App


def register(app: App) -> None:
    """Put the commands on `app`."""
    app.command(calibrate)


def calibrate(
    *, device: Annotated[str | None, Parameter(allow_leading_hyphen=False)] = None, common: Common = Common()
) -> None:
    """Measure what a device of this machine reaches, and keep it for plans: copies, matrix products, launches, links, power.

    Args:
        device: cpu, or a GPU as cuda:0 (default: the first GPU, where there is one).
        common: Flags that every command takes.
    """
    from flows.session import emit, settings_of, workspace_of
    from tasks import progress
    from tasks.devices import measure
    from tasks.terminal import print_table
    from tasks.workspace import Workspace

    progress.set_up(quiet=common.quiet, verbose=common.verbose, no_color=common.no_color)
    ws, config = Workspace.open(workspace_of(common)), settings_of(common, [])
    found, path = measure(ws, device, config.devices)
    if common.json:
        emit({"calibration": found.to_json(), "file": str(path)})
        return
    if not common.quiet:
        from tasks.device_table import rows

        print_table(
            ("figure", "measured", "peak or typical", "share"), rows(found), no_color=common.no_color, numbers={1, 2, 3}
        )
        print(f"{found.device.name}: {found.device.source}; kept in {path}")
