"""Stage: what the kept model is worth on held-out rows, beside the uniform control and the baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Int64

from abi.data.behaviour import user_codes
from abi.data.columns import Columns
from abi.data.derive import derive_rows, raw_columns, stored
from abi.documents import find
from abi.evaluation.bootstrap import block_rows, bootstrap, gain
from abi.evaluation.evaluate import Contender
from abi.evaluation.evaluate import evaluate as evaluate_contenders
from abi.families.family import judged
from abi.metrics import score
from abi.outcomes import Evaluation, Gain, Trained
from abi.problem import Problem
from abi.report.summary import verdict
from abi.scoring.tail import leans
from abi.training.fitted import groups_in
from abi.training.rounds import best_round
from tasks.data import load_rows, open_reader
from tasks.models import load_model, load_predictor_of
from tasks.progress import say
from tasks.robustness import baseline_of, with_robustness
from tasks.stage import Call, Stage

if TYPE_CHECKING:
    import pandas as pd

LATENCY_ROWS: Final = 8
"""Held-out rows whose columns are derived again and again to time a prediction."""


def evaluate(call: Call, control: str, *rounds: str) -> str:
    """Trained control and trained rounds, the best one's refit last where there is one -> Evaluation of the best."""
    ws, config = call.ws, call.settings
    trained = [find(ws.get(one), Trained) for one in rounds]
    rounds_only = [one for one in trained if one.refit is None]
    kept = next((one for one in trained if one.refit is not None), rounds_only[best_round(rounds_only)])
    even = find(ws.get(control), Trained)
    problem = kept.plan.attention.scores.problem
    contenders = _contender(call, kept, len(rounds_only)), _contender(call, even, len(rounds_only))
    train, validation, test = (load_rows(call, problem, role) for role in ("train", "validation", "test"))
    schema, baseline = problem.schema, baseline_of(call, problem, config.seed)
    groups, users = groups_in(train, schema), _users(call, problem, test)
    tail = leans(train, schema, groups) if groups is not None else ()
    derive = deriving(call, kept, test)
    evaluation = evaluate_contenders(
        *contenders, baseline, test, config, [train, validation], groups, users, tail, derive
    )
    if config.evaluation.robust:
        evaluation = with_robustness(call, config, evaluation, contenders[0].model, contenders[1].model, baseline)
    if kept.transfer is not None and not kept.transfer.obstacle:
        evaluation = replace(evaluation, transfer=_against_cold(call, evaluation))
    say(f"evaluate  {verdict(evaluation)}")
    return ws.put(evaluation)


def deriving(call: Call, kept: Trained, test: Columns) -> Callable[[int], object] | None:
    """Derives the columns of one of a few held-out rows, from the row as it comes to be predicted; None where nothing is derived."""
    problem = kept.plan.attention.scores.problem
    schema = problem.schema
    if schema.derivation is None:
        return None
    reader = open_reader(call, problem)
    table = stored(reader.train if reader.test is None else reader.test)
    names = [name for name in table.names if name in {*raw_columns(schema), schema.derivation.order}]
    rows: list[pd.DataFrame] = []
    for number in test.row_numbers[:LATENCY_ROWS].tolist():
        rows += [batch.to_pandas() for _, batch in table.batches(names, part=range(number, number + 1))]
    history = load_predictor_of(call, kept.artifact).history
    return lambda turn: derive_rows(schema, rows[turn % len(rows)], history)


def _users(call: Call, problem: Problem, test: Columns) -> Int64[np.ndarray, " rows"] | None:
    """Which user each held-out row is of; None where the rows have none."""
    derivation = problem.schema.derivation
    if derivation is None or derivation.behaviour is None:
        return None
    reader = open_reader(call, problem)
    table = reader.train if reader.test is None else reader.test
    return user_codes(table, derivation.behaviour.user, test.row_numbers)


def _against_cold(call: Call, evaluation: Evaluation) -> Gain | None:
    """The gain of the training from another model over the one from nothing, on held-out rows."""
    found, config = evaluation.trained.transfer, call.settings
    assert found is not None
    problem = evaluation.trained.plan.attention.scores.problem
    test, task, groups = load_rows(call, problem, "test"), problem.schema.task, evaluation.groups
    assert test.target is not None
    predictions = {
        name: judged(load_model(call, begun.artifact), test)
        for name, begun in (("warm", found.warm), ("cold", found.cold))
    }
    block = block_rows(len(test)) if problem.split.order else 1
    draws = bootstrap(task, test.target, predictions, config.evaluation.resamples, config.seed, block, groups)
    name = evaluation.primary
    values = {who: score(task, test.target, p, groups)[name] for who, p in predictions.items()}
    return gain(name, values["warm"], values["cold"], draws["warm"][name], draws["cold"][name])


def _contender(call: Call, trained: Trained, trials: int) -> Contender:
    return Contender(model=load_model(call, trained.artifact), trained=trained, trials=trials)


EVALUATE = Stage(evaluate, sections=("evaluation", "seed", "scoring", "attention.temperatures"))
