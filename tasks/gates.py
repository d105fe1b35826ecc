"""Measure what the gates judge: the recorded figures, champion and candidate on the same rows, a load in a fresh process."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from abi.audit.entry import Aliases
from abi.data.columns import Columns
from abi.data.derive import open_problem, stored
from abi.data.history import History
from abi.data.reader import Reader
from abi.data.taught import untaught
from abi.documents import find, read_document
from abi.errors import DataError, TrackingError, UsageError, WorkspaceError
from abi.evaluation.bootstrap import bootstrap, gain
from abi.evaluation.gates import Facts, Gates, judge
from abi.families.family import judged
from abi.families.stored import Predictor
from abi.metrics import Prediction, score
from abi.outcomes import Evaluation, Gain
from abi.problem import Checks, Problem, Schema, Snapshot, Split
from tasks.data import expect_columns
from tasks.fresh_process import predict_afresh
from tasks.model_registry import Version, find_version
from tasks.registered import read_predictor
from tasks.snapshot import fetch_snapshot, take_snapshot
from tasks.stage import Call
from tasks.tracking import Tracking

EVALUATION, CHECKS, EXAMPLE = "values/evaluation.json", "values/checks.json", "example.json"
TOLERANCE = 1e-6
FEWEST = 30
"""Fresh rows on which champion and candidate are compared, or held-out ones where the champion learned from others of them."""


def examine(call: Call, tracking: Tracking, version: Version, aliases: Aliases, data: Path | None = None) -> Gates:
    """All gates of a version, held against the champion of `aliases`.

    Args:
        call: workspace and settings.
        tracking: MLflow.
        version: the candidate.
        aliases: the champion to beat, and the entry that set it.
        data: fresh rows with the target; the candidate's own held-out rows where None.

    Raises:
        ArtifactRefused: a model's files are not what was signed.
        DataError: the fresh rows cannot be used.
    """
    evaluation = read_document(tracking.document(version.run_id, EVALUATION))
    checks = read_document(tracking.document(version.run_id, CHECKS))
    assert isinstance(evaluation, Evaluation)
    assert isinstance(checks, Checks)
    before, rows, learned = None, evaluation.rows, 0
    rival: Gain | str | None = None
    with tempfile.TemporaryDirectory() as place:
        folder = tracking.fetch(version.uri, Path(place) / "candidate")
        if aliases.champion is not None:
            found = _champion(tracking, version.name, aliases.champion)
            if isinstance(found, str):
                rival = found
            else:
                champion, their = found
                before = attention_of(their)
                rival = None if data is not None else _along(evaluation, their, aliases.champion)
                if rival is None:
                    models = (
                        read_predictor(folder),
                        read_predictor(tracking.fetch(champion.uri, Path(place) / "champion")),
                    )
                    rival, rows, learned = compare(call, checks.problem, *models, evaluation, their, data)
        loads = _loads(folder, tracking.document(version.run_id, EXAMPLE)) if call.settings.gates.loads else None
    facts = Facts(
        evaluation=evaluation,
        checks=checks,
        rival=rival,
        rival_rows=rows,
        learned_rows=learned,
        fresh=data is not None,
        attention=attention_of(evaluation),
        champion_attention=before,
        loads=loads,
    )
    return Gates(
        model=version.name,
        version=version.number,
        champion=aliases.champion,
        champion_seq=aliases.champion_seq,
        rows=rows,
        results=judge(facts, call.settings.gates),
    )


def _champion(tracking: Tracking, model: str, number: int) -> tuple[Version, Evaluation] | str:
    """The champion and what its run recorded; a sentence where MLflow has them no more."""
    try:
        champion = find_version(tracking, model, number)
        their = read_document(tracking.document(champion.run_id, EVALUATION))
    except (UsageError, TrackingError) as error:
        if isinstance(error, TrackingError) and error.transient:
            raise
        return f"no figure: version {number}, the champion, is not whole in MLflow any more ({str(error).partition(': ')[0]})"
    assert isinstance(their, Evaluation)
    return champion, their


def _along(candidate: Evaluation, champion: Evaluation, number: int) -> Gain | str | None:
    """The gain where one of both followed a stream, from rows that neither had learned from when it predicted them.

    Those are a stream's rows, against the version that it began with; where that is another than the champion, a sentence.
    None where the candidate's held-out rows will do.
    """
    files = [{file.sha256 for file in find(one, Snapshot).files} for one in (candidate, champion)]
    if candidate.along is not None:
        if candidate.along.champion == number:
            return candidate.along.gain
        begun = "cold" if candidate.along.champion is None else f"from version {candidate.along.champion}"
        return (
            f"no figure: it followed its stream {begun} on, and the champion is {number}: give fresh rows with --data"
        )
    if champion.along is not None and files[0] & files[1]:
        return "no figure: the champion learned from the held-out rows as it followed them: give fresh rows with --data"
    return None


def attention_of(evaluation: Evaluation) -> dict[str, float]:
    """Feature -> weight that the kept model was planned by."""
    return {w.feature: w.weight for w in evaluation.trained.plan.attention.weights}


def compare(
    call: Call,
    problem: Problem,
    candidate: Predictor,
    champion: Predictor,
    evaluation: Evaluation,
    their: Evaluation,
    data: Path | None,
) -> tuple[Gain | str, int, int]:
    """(the candidate's paired gain over the champion on the same rows, how many these are, how many the champion had learned from).

    The last are left out, as what a model remembers is no measure of it; of fresh rows it is believed that they are fresh. A
    sentence in place of the gain where the champion cannot read the rows, or too few are left.
    """
    reader, primary = _fresh(call, problem, data, candidate.history), evaluation.primary
    schema = problem.schema
    rows = reader.load("test")
    assert rows.target is not None
    if champion.schema.task != schema.task:
        return f"the champion is for a {champion.schema.task} target", len(rows.target), 0
    theirs = replace(champion.schema, target=schema.target, classes=schema.classes)
    try:
        tables = stored(reader.train), None if reader.test is None else stored(reader.test)
        seen = open_problem(replace(reader.problem, schema=theirs), *tables, champion.history).load("test")
    except DataError as error:
        return f"the champion cannot read these rows: {error}", len(rows.target), 0
    learned = 0
    if data is None:
        try:
            fair = _untaught(call, reader, rows, their)
        except WorkspaceError as error:
            return f"no figure: which held-out rows the champion learned from cannot be told ({error}): give fresh rows with --data", len(rows.target), 0  # fmt: skip
        learned = int((~fair).sum())
        rows, seen = rows.take(fair), seen.take(np.isin(seen.row_numbers, rows.row_numbers[fair]))
    if (learned or data is not None) and len(rows) < FEWEST:
        return _too_few(len(rows), learned), len(rows), learned
    assert rows.target is not None
    predictions = {
        "model": judged(candidate.model, rows),
        "champion": _in_order(judged(champion.model, seen), champion.schema, schema),
    }
    groups = evaluation.groups
    values = {name: score(schema.task, rows.target, found, groups)[primary] for name, found in predictions.items()}
    if not all(np.isfinite(value) for value in values.values()):
        if learned:
            return f"no figure: the champion learned from {learned} of the {learned + len(rows)} held-out rows, and the target of the other {len(rows)} does not vary: give fresh rows with --data", len(rows), learned  # fmt: skip
        msg = f"Expected fresh rows for which {primary} is defined, got {len(rows.target)} rows whose target does not vary: give more rows with --data."
        raise DataError(msg)
    draws = bootstrap(
        schema.task, rows.target, predictions, call.settings.evaluation.resamples, call.settings.seed, groups=groups
    )
    pair = gain(primary, values["model"], values["champion"], draws["model"][primary], draws["champion"][primary])
    return pair, len(rows.target), learned


def _too_few(rows: int, learned: int) -> str:
    if not learned:
        return f"no figure: {rows} of the fresh rows have a target, and at least {FEWEST} are needed: give more with --data"
    return f"no figure: the champion learned from {learned} of the {learned + rows} held-out rows, and the other {rows} are too few: give fresh rows with --data"


def _untaught(call: Call, reader: Reader, rows: Columns, their: Evaluation) -> Bool[np.ndarray, " rows"]:
    """Which of these held-out rows the champion has learned nothing from."""
    earlier, here = find(their, Problem), reader.problem
    if (earlier.snapshot, earlier.split) == (here.snapshot, here.split) and their.along is None:
        return np.ones(len(rows), bool)
    table, _ = fetch_snapshot(call.ws, earlier.snapshot, call.settings.tracking.remote)
    own = stored(reader.train if reader.test is None else reader.test)
    return untaught(rows.row_numbers, own, here, earlier, table, followed=their.along is not None)


def _fresh(call: Call, problem: Problem, data: Path | None, history: History | None) -> Reader:
    """A reader whose test rows are the fresh ones, of whose users and items the `history` is known."""
    remote = call.settings.tracking.remote
    if data is None:
        train, test = fetch_snapshot(call.ws, problem.snapshot, remote)
        return open_problem(problem, train, test)  # the rows before them tell the history
    snapshot: Snapshot = take_snapshot(call.ws, data, None, remote, call.settings.data)
    table, _ = fetch_snapshot(call.ws, snapshot, remote, problem.schema.spelled)
    expect_columns(problem, table, data, with_target=True)
    every = Split(seed=problem.split.seed, validation=0.0, test=1.0)
    return open_problem(replace(problem, snapshot=snapshot, split=every), table, None, history)


def _in_order(prediction: Prediction, theirs: Schema, ours: Schema) -> Prediction:
    """Probabilities in the order of our classes; a class that they do not know has none."""
    if ours.task == "regression" or theirs.classes == ours.classes:
        return prediction
    ordered = np.zeros((len(prediction), len(ours.classes)))
    for place, name in enumerate(ours.classes):
        if name in theirs.classes:
            ordered[:, place] = prediction[:, theirs.classes.index(name)]
    return ordered


def _loads(folder: Path, example: Any) -> str | None:
    """None where a fresh process predicts what was recorded; else what came."""
    answer = predict_afresh(folder, example["input"])
    if isinstance(answer, str):
        return answer
    recorded: dict[str, list[Any]] = example["output"]
    for name, expected in recorded.items():
        got = answer.get(name)
        if got is None or len(got) != len(expected) or not all(map(_equal, got, expected)):
            return f"other predictions in column {name!r}: {json.dumps(got)[:80]} for {json.dumps(expected)[:80]}"
    return None


def _equal(got: object, expected: object) -> bool:
    if isinstance(got, (int, float)) and isinstance(expected, (int, float)):
        return bool(np.isclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE))
    return got == expected
