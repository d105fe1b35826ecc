"""What `abi explain` and `abi diff` are asked about: a feature, a run, or a plan in a file."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from abi.documents import KINDS, find, read_document
from abi.errors import TrackingError, UsageError, clip, listed
from abi.execution.types import ExecutionPlan
from abi.types import Plan
from flows.session import read_plain
from flows.words import STDIN
from tasks.runs import is_reference, load_run, newest_run

if TYPE_CHECKING:
    from abi.audit.record import RunRecord
    from abi.config import Config
    from tasks.workspace import Workspace


COMPARED = {**KINDS, "ExecutionPlan": ExecutionPlan}


@dataclass(frozen=True)
class Side:
    """One of two plans, of a run or of a module; `run` is None where it comes from a file."""

    title: str
    plan: Plan | ExecutionPlan
    run: RunRecord | None


def is_file(reference: str) -> bool:
    """Whether a plan is read from there."""
    return reference == STDIN or Path(reference).is_file()


def side(ws: Workspace, config: Config, reference: str) -> Side:
    """The plan that a file, or a run, is or was made from.

    Raises:
        UsageError: there is neither such a file nor such a run.
    """
    if is_file(reference):
        value = read_document(read_plain(reference), COMPARED)
        plan = value if isinstance(value, ExecutionPlan) else find(value, Plan)
        return Side(clip(Path(reference).name), plan, None)
    if not is_reference(reference):
        msg = f"Expected a run (its id, NAME/VERSION or NAME/ALIAS) or a file that `abi plan --json` printed, got {clip(reference)!r}: there is no such file; `abi run --json` prints run_id and model of a run."
        raise UsageError(msg)
    record = load_run(ws, config, reference)
    return Side(record.title, record.evaluation.trained.plan, record)


def resolve(
    ws: Workspace, config: Config, what: str, feature: str | None, run: str | None
) -> tuple[RunRecord, str | None]:
    """The run and the feature that are meant; no feature where the run's plan is.

    Raises:
        UsageError: no such run or feature, with near names; or the word is both.
    """
    if feature is not None:
        if run is not None:
            msg = f"Expected one run, got {clip(what)!r} and --run {clip(run)!r}: leave one out."
            raise UsageError(msg)
        return load_run(ws, config, what), feature
    if run is not None:
        return load_run(ws, config, run), what
    newest = newest_run(ws, config)
    known = [] if newest is None else [f.name for f in newest.problem.schema.features]
    named = _run(ws, config, what, patient=what not in known) if is_reference(what) else None
    if named is not None and what in known:
        msg = f"Expected a feature or a run, got {clip(what)!r}, which is both: say `abi explain {what} --run RUN` or `abi explain {what} FEATURE`."
        raise UsageError(msg)
    if named is not None:
        return named, None
    if what in known:
        assert newest is not None
        return newest, what
    near = difflib.get_close_matches(what, known, n=3, cutoff=0.5)
    if newest is None and not is_reference(what):
        msg = f"Expected a run in {ws.root} that {clip(what)!r} is a feature of, found none: run `abi run` first, or name its --workspace or --run."
        raise UsageError(msg)
    if newest is None or (is_reference(what) and not near):
        return load_run(ws, config, what), None  # its error says what a run is called
    hint = f"did you mean {listed(near)}?" if near else f"the features are {listed(known)}."
    msg = f"Expected a run, or a feature of the newest run {newest.title}, got {clip(what)!r}: {hint}"
    raise UsageError(msg)


def _run(ws: Workspace, config: Config, reference: str, *, patient: bool) -> RunRecord | None:
    """The run of that name; a word that is a feature as well need not wait for an MLflow that does not answer."""
    try:
        return load_run(ws, config, reference)
    except UsageError:
        return None
    except TrackingError:
        if patient:
            raise
        return None
