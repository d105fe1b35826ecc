"""The rows of a problem, from the tables in the workspace."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from abi.data.columns import Columns, expect_numbers
from abi.data.derive import open_problem, raw_columns
from abi.data.infer import expect_media
from abi.data.infer import pose as pose_problem
from abi.data.reader import Reader
from abi.errors import lacking_columns
from abi.metrics import expect_metric
from abi.problem import Problem, Role, Snapshot
from tasks.snapshot import fetch_snapshot
from tasks.vectors import encoders_of

if TYPE_CHECKING:
    from pathlib import Path

    from abi.config import Config
    from abi.data.table import Tabular
    from tasks.stage import Call
    from tasks.workspace import Workspace


def pose(call: Call, snapshot: Snapshot, target: str) -> Problem:
    """What is to be learned: schema and split, from the snapshot and the settings.

    Raises:
        UsageError: a setting does not fit the data.
        DataError: the data cannot be learned from.
    """
    train, test = fetch_snapshot(call.ws, snapshot, call.settings.tracking.remote)
    problem = pose_problem(snapshot, target, call.settings, train, test)
    expect_metric(problem.schema.task, call.settings.evaluation.metric)
    return problem


def open_reader(call: Call, problem: Problem) -> Reader:
    """A reader over the problem's tables; they are fetched from the remote where this machine lacks them."""
    held = _Held(problem, call.settings)
    return _reader(call.ws, call.settings.tracking.remote, problem.id, held)


def load_rows(call: Call, problem: Problem, role: Role) -> Columns:
    """All rows of a role; the last few that were asked for stay in memory, since several stages need the same."""
    return _rows(call.ws, call.settings.tracking.remote, problem.id, role, _Held(problem, call.settings))


def count_rows(call: Call, problem: Problem, role: Role) -> int:
    """How many rows of a role there are; only the target is read."""
    return _count(call.ws, call.settings.tracking.remote, problem.id, role, _Held(problem, call.settings))


def expect_columns(problem: Problem, table: Tabular, place: str | Path, *, with_target: bool = False) -> None:
    """See that new rows have what the model reads.

    Raises:
        DataError: a column is lacking, or holds text throughout where numbers are read.
    """
    schema, names = problem.schema, set(table.names)
    wanted = [*raw_columns(schema), *([schema.target] if with_target else [])]
    lacking = tuple(dict.fromkeys(name for name in wanted if name not in names))
    if lacking:
        raise lacking_columns(lacking, str(place))
    texts = [column.name for column in table.profile.columns if column.type == "string" and column.name in wanted]
    if texts:
        expect_numbers(table.sample(texts), schema)
    expect_media(schema, table, place)


class _Held:
    """Carries the problem, and where its encoders lie, past the cache, whose key is the problem's id."""

    def __init__(self, problem: Problem, settings: Config) -> None:
        self.problem, self.settings = problem, settings

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=3)
def _rows(ws: Workspace, remote: str | None, problem_id: str, role: Role, held: _Held) -> Columns:
    return _reader(ws, remote, problem_id, held).load(role)


@functools.lru_cache(maxsize=16)
def _count(ws: Workspace, remote: str | None, problem_id: str, role: Role, held: _Held) -> int:
    return len(_reader(ws, remote, problem_id, held).of(()).load(role))


@functools.lru_cache(maxsize=2)
def _derived(ws: Workspace, remote: str | None, problem_id: str, held: _Held) -> Reader:  # noqa: ARG001 - problem_id is the key
    reader = open_problem(held.problem, *fetch_snapshot(ws, held.problem.snapshot, remote))
    return replace(reader, vectors=encoders_of(ws, held.settings))


def _reader(ws: Workspace, remote: str | None, problem_id: str, held: _Held) -> Reader:
    """A reader; the last few with derived columns are kept, since these are made of all rows."""
    if held.problem.schema.derivation is not None:
        return _derived(ws, remote, problem_id, held)
    reader = open_problem(held.problem, *fetch_snapshot(ws, held.problem.snapshot, remote))
    return replace(reader, vectors=encoders_of(ws, held.settings))
