"""What must hold of a workspace after a restart, whatever had stopped before. Each violation is one line."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from chaos_world import SETTINGS, World

from abi.errors import AbiError

if TYPE_CHECKING:
    from tasks.stage import Call


def inspect(world: World, wanted: dict[str, Any], uri: str | None = None, database: Path | None = None) -> list[str]:
    """What is wrong. `wanted` adds to what `facts` must be equal to."""
    try:
        found = survey(world, uri, database)
    except RuntimeError as error:
        return [str(error)]
    expected = {
        "running": 0, "aliases_follow": True, "audit": "whole", "left": [], "report": True, "verified": True,
        "entered_once": True, **wanted,
    }  # fmt: skip
    return [
        f"expected {name} {value!r}, got {found[name]!r}" for name, value in expected.items() if found[name] != value
    ]


def survey(world: World, uri: str | None = None, database: Path | None = None) -> dict[str, Any]:
    """`facts`, in a fork.

    Raises:
        RuntimeError: they cannot be told.
    """
    answer = world.root / "facts.json"

    def work() -> int:
        answer.write_text(json.dumps(facts(world, uri, database)))
        return 0

    ended = world.fork(work)
    if ended.code:
        msg = f"the workspace could not be read: {ended.said[-800:]}"
        raise RuntimeError(msg)
    plain: dict[str, Any] = json.loads(answer.read_text())
    return plain


def call_of(world: World, uri: str | None = None) -> Call:
    """The call that commands of this world make; MLflow at `uri`."""
    from abi.config import load_config
    from tasks.stage import Call
    from tasks.workspace import Workspace

    settings = {key: yaml.safe_load(text) for key, _, text in (s.partition("=") for s in SETTINGS)}
    return Call.of(Workspace(world.workspace), "shop", load_config(None, {**settings, "tracking.uri": uri}))


def facts(world: World, uri: str | None = None, database: Path | None = None) -> dict[str, Any]:
    """What there is, from MLflow's database, the ledger and the files; of a server at `uri` its database."""
    from tasks.decisions import open_ledger
    from tasks.registration import connect

    call = call_of(world, uri)
    ws, ledger = call.ws, open_ledger(call)
    registered = list(ledger.entries(kinds=("registration",)))
    with _read(database or ws.mlflow_db) as rows:
        versions = rows("select version from model_versions where current_stage <> 'Deleted_Internal'")
        operations = rows("select value from model_version_tags where key = 'abi.operation_id'")
        running = rows("select count(*) from runs where status = 'RUNNING'")[0][0]
        aliases = dict(rows("select alias, version from registered_model_aliases"))
    now = ledger.aliases("shop")
    wanted = {name: getattr(now, name) for name in ("champion", "challenger", "previous")}
    return {
        "versions": len(versions),
        "entered": sorted(entry.detail["version"] for entry in registered),
        "entered_once": sorted(e.detail["version"] for e in registered) == sorted(v[0] for v in versions)
        and len({o[0] for o in operations}) == len(versions),
        "artifact": registered[-1].detail["artifact"] if registered else None,
        "promotions": len(list(ledger.entries(kinds=("promotion",)))),
        "rollbacks": len(list(ledger.entries(kinds=("rollback",)))),
        "champion": now.champion,
        "running": running,
        "aliases_follow": {k: v for k, v in wanted.items() if v is not None} == aliases,
        "audit": _audit(ledger),
        "left": _left(world),
        "report": all(_whole(folder) for folder in ws.runs.iterdir() if folder.name != "tensorboard"),
        "verified": _verified(world, connect(call), [entry.detail["uri"] for entry in registered]),
    }


def _audit(ledger: Any) -> str:
    try:
        ledger.verify()
    except AbiError as error:
        return str(error)
    return "whole"


def _left(world: World) -> list[str]:
    """Temporary files and folders in the workspace, and the run's lock."""
    found = [path for path in world.workspace.rglob(".*") if path.name not in {".gitignore", ".dvc", ".dvcignore"}]
    found += [*world.workspace.rglob("*.tmp"), *world.workspace.glob("lock.json")]
    dvc = world.workspace / "snapshots" / ".dvc"
    return sorted(
        {
            str(path.relative_to(world.workspace))
            for path in found
            if path.suffix != ".lock" and not path.is_relative_to(dvc)
        }
    )


def _whole(folder: Path) -> bool:
    try:
        plain = json.loads((folder / "run.json").read_bytes())
    except (OSError, ValueError):
        return False
    return bool(plain["run_id"]) and (folder / "report.html").read_text().rstrip().endswith("</html>")


def _verified(world: World, tracking: Any, uris: list[str]) -> bool:
    for number, uri in enumerate(uris):
        tracking.fetch(uri, world.temporary / f"fetched-{number}")
        shutil.rmtree(world.temporary / f"fetched-{number}")
    return True


@contextlib.contextmanager
def _read(database: Path) -> Iterator[Any]:
    connection = sqlite3.connect(database)
    try:
        yield lambda query: connection.execute(query).fetchall()
    finally:
        connection.close()
