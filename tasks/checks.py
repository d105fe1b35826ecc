"""Stages: snapshot and pose the problem; find the expectation suite; run the data checks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from abi.data.order_checks import order_checks, order_sentence
from abi.documents import find
from abi.problem import Problem
from tasks.data import open_reader
from tasks.expectations import derive_suite
from tasks.preflight import pose_problem
from tasks.progress import say
from tasks.stage import Call, Stage
from tasks.validation import demand, suite_file
from tasks.validation import validate as run_suite


def snapshot(call: Call, train: str, test: str, target: str) -> str:
    """Files and target -> Problem; the files are under DVC then."""
    value = pose_problem(call, train, test or None, target)
    problem = find(call.ws.get(value), Problem)
    file, schema = problem.snapshot.train, problem.schema
    say(f"snapshot  {file.rows} rows, {len(schema.features)} features, {schema.task} ({file.sha256[:12]})")
    if problem.split.order:
        say(f"          {order_sentence(problem)}")
    for grid in schema.grids:
        if call.settings.data.media.mirror_predictions and grid.medium == "image" and grid.views is None:
            say(
                f"          predictions see {grid.column!r} alone: that left and right mean nothing there was not found"
            )
    for aside in schema.set_aside:
        say(f"          set aside {aside.column!r}: {aside.reason}")
    return value


def suite(call: Call, problem: str) -> str:
    """Problem -> SHA-256 of the model's expectation suite, which is derived from the data where there is none."""
    path = suite_file(call.ws, call.name)
    if not path.exists():
        reader = open_reader(call, find(call.ws.get(problem), Problem))
        derived = derive_suite(reader, call.settings.checks, call.name)
        call.ws.write(path, (json.dumps(derived, ensure_ascii=False, indent=2) + "\n").encode())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def validate(call: Call, problem: str, suite_sha256: str = "") -> str:  # noqa: ARG001 - the cache key holds it
    """Problem -> Checks; a critical failure stops the run here.

    Raises:
        DataError: a critical check failed.
    """
    suite(call, problem)
    config = call.settings
    reader = open_reader(call, find(call.ws.get(problem), Problem))
    checks = run_suite(call.ws, reader, call.name, config.checks, tuple(config.data.columns))
    checks = replace(checks, results=(*checks.results, *order_checks(reader)))
    warnings = checks.failed("warning")
    passed = sum(r.status == "passed" for r in checks.results)
    say(f"validate  {passed} of {len(checks.results)} data checks passed, {len(warnings)} warnings")
    for warning in warnings[:5]:
        say(
            f"          {warning.name}{f' of {warning.column!r}' if warning.column else ''}: expected {warning.expected}, got {warning.observed}"
        )
    demand(checks, suite_file(call.ws, call.name))
    return call.ws.put(checks)


SNAPSHOT = Stage(snapshot, cached=False)
SUITE = Stage(suite, cached=False)
VALIDATE = Stage(validate, sections=("data", "checks"), named=True)
