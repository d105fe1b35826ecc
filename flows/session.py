"""What commands share: settings and workspace from the flags, values read and printed."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from abi.config import Config, load_config
from abi.documents import document, read_document
from abi.errors import UsageError, clip
from abi.values import Value
from flows.words import STDIN
from tasks import progress
from tasks.stage import Call
from tasks.stdout import put
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from flows.common import Common

BUDGETS = ("parameters", "memory", "train_time", "run_time", "latency", "energy", "cost")
DEFAULT_WORKSPACE = Path(".abi")


def workspace_of(common: Common) -> Path:
    """The folder that the flags or the environment name."""
    return common.workspace or DEFAULT_WORKSPACE


def look(common: Common, config: Config) -> Workspace:
    """The workspace for a command that only reads; none is made, but a place for what is fetched from servers.

    Raises:
        UsageError: there is none, and the settings name no ledger and no MLflow elsewhere.
    """
    elsewhere = config.audit.url or config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    there = Workspace.open if elsewhere else Workspace.look
    return there(workspace_of(common))


def open_call(
    common: Common,
    name: str | None,
    source: str,
    budget: list[str],
    gpus: str | None = None,
    named: Mapping[str, object] | None = None,
    *,
    reading: bool = False,
    deciding: bool = False,
) -> tuple[Workspace, Call]:
    """Workspace and call; sets up what a person sees. `named` are other settings that flags of this command name.

    A command that is `reading` makes nothing; one that is `deciding` on what is recorded writes to a workspace, and makes none.

    Raises:
        UsageError: a setting is unknown or out of bounds, torchrun started this process among others, or there is no workspace
            for a command that makes none, or no ledger for one that decides.
    """
    expect_alone()
    config = settings_of(common, budget, gpus, named)
    progress.set_up(quiet=common.quiet, verbose=common.verbose, no_color=common.no_color)
    if reading or deciding:
        ws = look(common, config)
    if deciding:
        from tasks.ledger import Ledger

        Ledger.look(ws, config.audit).demand()
    if not reading:
        ws = Workspace.open(workspace_of(common))
    return ws, Call.of(ws, model_name(config.name if name is None else name, source), config)


def expect_alone() -> None:
    """See that torchrun did not start this command several times.

    Raises:
        UsageError: it did.
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if "TORCHELASTIC_RUN_ID" in os.environ and count != "1":
        msg = f"Expected one process, got {count} that torchrun started: leave torchrun out, as a training starts a process for each device of its plan by itself."
        raise UsageError(msg)


def model_name(name: str | None, source: str) -> str:
    """The given name, or the data file's: what MLflow takes as a name is kept of it."""
    if name is not None:
        if not re.fullmatch(r"[^/:.%\"'\s][^/:.%\"']{0,99}", name):
            msg = f"Expected a model name of at most 100 characters without / : . % and quotes, got {clip(name)!r}: choose another."
            raise UsageError(msg)
        return name
    path = Path(source)
    stem = path.name.split(".")[0]
    generic = stem in {"train", "data", "training", ""} and path.resolve().parent.name
    return re.sub(r"[^\w-]+", "_", generic or stem)[:100] or "model"


def settings_of(
    common: Common, budget: list[str], gpus: str | None = None, named: Mapping[str, object] | None = None
) -> Config:
    """Settings with those of the flags laid over them."""
    devices = {} if gpus is None else {"training.gpus": gpus}
    return load_config(common.config, flag_settings(common, budget) | devices | dict(named or {}))


def flag_settings(common: Common, budget: list[str]) -> dict[str, object]:
    """The dotted settings that the flags name."""
    settings: dict[str, object] = {}
    for item in common.set or []:
        key, _, text = item.partition("=")
        if not key or not _:
            msg = f"Expected --set section.key=value, got {item!r}."
            raise UsageError(msg)
        settings[key.strip()] = _literal(text)
    settings |= _limits(budget)
    if common.seed is not None:
        settings["seed"] = common.seed
    return settings


def _limits(budget: list[str]) -> dict[str, object]:
    """``['memory=8GiB,parameters=200k', 'latency=2ms']`` -> settings of the envelope, each given once."""
    limits: dict[str, object] = {}
    for item in (part.strip() for text in budget for part in text.split(",")):
        key, _, text = item.partition("=")
        if key not in BUDGETS or not text:
            msg = f"Expected --budget as one of {', '.join(f'{b}=…' for b in BUDGETS)}, got {item!r}."
            raise UsageError(msg)
        if limits.setdefault(f"envelope.{key}", text) != text:
            msg = f"Expected one value of --budget {key}, got {limits[f'envelope.{key}']} and {text}: they contradict each other, keep one."
            raise UsageError(msg)
    return limits


def _literal(text: str) -> object:
    """A value as YAML would read it: 3, 0.5, true, null, [1, 2], or the text itself."""
    import yaml

    from abi.settings_file import read

    try:
        return text if text in {"|", ">"} else read(text)  # to YAML these open a block
    except yaml.YAMLError:
        return text


def read_plain(source: str) -> object:
    """The JSON in a file or on stdin."""
    try:
        text = sys.stdin.buffer.read().decode() if source == STDIN else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"Expected a JSON document that an `abi` stage printed at {source}, got: {getattr(error, 'strerror', None) or error}."
        raise UsageError(msg) from None
    try:
        return json.loads(text)
    except ValueError:
        msg = f"Expected a JSON document that an `abi` stage printed in {source}, got {'nothing' if not text.strip() else 'something else'}: run the stage before with --json."
        raise UsageError(msg) from None


def read_value(source: str) -> Value:
    """The value that a stage printed to a file or stdin."""
    return read_document(read_plain(source))


def print_value(value: Value, common: Common) -> None:
    """Print a value: as JSON, as a table, or not at all."""
    if common.json:
        emit(document(value))
    elif not common.quiet:
        from tasks.terminal import show

        show(value, no_color=common.no_color)


def emit(plain: object) -> None:
    """Print one JSON document on stdout."""
    put(json.dumps(plain, ensure_ascii=False, indent=1) + "\n")
