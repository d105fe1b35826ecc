"""Commands for auditors: `abi audit ls`, `show`, `verify`, `export` and `rotate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from flows.common import Common

if TYPE_CHECKING:
    from tasks.ledger import Ledger

audit = App(name="audit", help="The ledger: who decided what, when, from what; and whether it is as it was written.")


def register(app: App) -> None:
    """Put the commands on `app`."""
    app.command(audit)


@audit.command(name="ls")
def ls(
    *,
    kind: str | None = None,
    model: str | None = None,
    value: str | None = None,
    last: int | None = None,
    common: Common = Common(),
) -> None:
    """List entries.

    Args:
        kind: Only entries of this kind (scores, attention, plan, promotion, …).
        model: Only entries about this model.
        value: Only entries that name this value, artifact, MLflow run or flow run (or the beginning of its id).
        last: Only the last so many.
        common: Flags that every command takes.
    """
    from flows.session import emit
    from tasks.audit import select

    found = select(_ledger(common), kind, model, value, last)
    if common.json:
        emit({"entries": [entry.to_json() for entry in found]})
        return
    if not found:
        print("No entries.")
        return
    from abi.audit.gist import gist
    from abi.errors import clip
    from tasks.terminal import is_narrow, print_table

    header = ["entry", "time (UTC)", "kind", "model", "who", "what"]
    rows = [
        [
            str(e.seq),
            e.time[:16].replace("T", " "),
            e.kind,
            clip(e.model, 24),
            clip(e.actor, 20),
            gist(e.kind, e.detail),
        ]
        for e in found
    ]
    if is_narrow():  # who comes last in the one column that may be broken
        header, rows = [*header[:4], "what"], [[*row[:4], f"{row[5]} ({row[4]})"] for row in rows]
    print_table(header, rows, no_color=common.no_color, numbers=(0,), whole=range(len(header) - 1))


@audit.command
def show(which: str, *, common: Common = Common()) -> None:
    """Print one entry whole.

    Args:
        which: Its number, or its operation.
        common: Flags that every command takes.
    """
    from flows.session import emit
    from tasks.audit import find_entry

    emit(find_entry(_ledger(common), which).to_json())


@audit.command
def verify(
    *,
    key: Annotated[list[Path] | None, Parameter(negative="")] = None,
    checkpoints: Path | None = None,
    common: Common = Common(),
) -> None:
    """Hold every entry against its hash, its signature and the checkpoints; exit 6 and name the first bad one.

    Args:
        key: Public key (PEM) to trust in place of the workspace's; may be repeated.
        checkpoints: Folder of checkpoints that were kept elsewhere.
        common: Flags that every command takes.
    """
    from flows.session import emit

    found = _ledger(common).verify(tuple(key or ()), checkpoints)
    if common.json:
        emit(found.to_json())
    else:
        from abi.report.wording import plural

        counted = f"{plural(found.entries, 'entry', 'entries')} and {plural(found.checkpoints, 'checkpoint')}"
        print(f"{counted} are as they were written (keys {', '.join(found.keys)}).")


@audit.command
def export(*, out: Path = Path("ledger-export"), common: Common = Common()) -> None:
    """Write the ledger, its public key and a script that verifies it without this software, to a folder.

    Args:
        out: The folder.
        common: Flags that every command takes.
    """
    from flows.session import emit
    from tasks.audit import export as write

    written = write(_ledger(common), out)
    if common.json:
        emit(written)
    else:
        print(f"{written['lines']} lines in {written['ledger']}")
        print(f"verify with: python {written['verifier']} {written['ledger']} {written['public_key']}")


@audit.command
def rotate(*, key: Path | None = None, common: Common = Common()) -> None:
    """Sign entries with a new key from now on; the old one signs that, and nothing after it.

    Args:
        key: File of the new private key, where audit.key names the present one.
        common: Flags that every command takes.
    """
    from flows.session import emit
    from tasks.ledger_keys import rotate as rotate_key

    _ledger(common).demand()
    entry = rotate_key(_ledger(common, writes=True), key)
    if common.json:
        emit(entry.to_json())
    else:
        print(f"Entry {entry.seq}: key {entry.detail['id']} signs from now on.")


def _ledger(common: Common, *, writes: bool = False) -> Ledger:
    from flows.session import look, settings_of, workspace_of
    from tasks import progress
    from tasks.ledger import Ledger
    from tasks.workspace import Workspace

    progress.set_up(quiet=common.quiet, verbose=common.verbose, no_color=common.no_color)
    config = settings_of(common, [])
    if writes:
        return Ledger.open(Workspace.open(workspace_of(common)), config.audit)
    return Ledger.look(look(common, config), config.audit)
