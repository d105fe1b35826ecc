"""How a kept model bears changed inputs, beside its controls."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from abi.config import Config
from abi.errors import UsageError
from abi.evaluation.baseline import Baseline, fit_baseline, of_columns
from abi.evaluation.robustness import Contenders, measure
from abi.evaluation.stability import stability
from abi.report.robust import robust_verdict
from tasks.data import load_rows, open_reader
from tasks.progress import say
from tasks.registered import read_registered
from tasks.stage import Call
from tasks.vectors import bare_encoders

if TYPE_CHECKING:
    from abi.data.columns import Columns
    from abi.families.family import Model
    from abi.outcomes import Evaluation
    from abi.problem import Problem


def with_robustness(
    call: Call,
    config: Config,
    evaluation: Evaluation,
    model: Model,
    uniform: Model | None,
    baseline: Baseline,
) -> Evaluation:
    """The same evaluation with what changed inputs do to the model, to its uniform control if it is there, and the baseline.

    Args:
        call: where the rows are.
        config: how it is measured, and the settings that the attention was fitted with.
        evaluation: of the model on the rows as they are.
        model: that was kept.
        uniform: its control.
        baseline: fitted on the same rows.
    """
    attention = evaluation.trained.plan.attention
    problem = attention.scores.problem
    train, test = (load_rows(call, problem, role) for role in ("train", "test"))
    contenders = Contenders(
        models={"model": model, **({} if uniform is None else {"uniform": uniform})},
        others={"baseline": baseline.predict},
    )
    vectors = bare_encoders(call.ws, config)  # changed texts will not come again
    steady = stability(open_reader(call, problem), attention, train, config, vectors)
    found = replace(measure(contenders, attention, train, test, config, vectors), stability=steady)
    say(f"robust    {robust_verdict(found)}")
    return replace(evaluation, robustness=found)


def of_registered(call: Call, reference: str) -> Evaluation:
    """What a registered model's run recorded of it, with its robustness where the settings ask for it.

    Raises:
        UsageError: it is asked of a version that followed a stream, of which no rows were held out.
    """
    found = read_registered(call, reference)
    if not call.settings.evaluation.robust:
        return found.evaluation
    config = call.settings
    if found.conditions is not None:
        recorded = Config.restore(found.conditions.settings)
        config = recorded.model_copy(update={"evaluation": config.evaluation})
        # its rows are read as they were read then, and by the encoders of then
        call = Call.of(call.ws, call.name, call.settings.model_copy(update={"data": recorded.data}))
    if found.evaluation.along is not None:
        msg = f"Expected a version with held-out rows, got {found.recorded.uri}, which learned from every row of its stream: measure robustness of one that `abi run` trained."
        raise UsageError(msg)
    uniform = found.uniform(call)
    if uniform is None:
        say("robust    the uniform control's model is not in this workspace: it is left out")
    problem = found.evaluation.trained.plan.attention.scores.problem
    baseline = baseline_of(call, problem, config.seed)
    return with_robustness(call, config, found.evaluation, found.model, uniform, baseline)


def baseline_of(call: Call, problem: Problem, seed: int) -> Baseline:
    """The baseline, fitted on the rows that models train on and decide by."""
    schema = problem.schema
    read, texts = of_columns(schema)

    def its(columns: Columns) -> Columns:
        return replace(columns, categorical=tuple(columns.categorical[i] for i in read))

    train, validation, test = (its(load_rows(call, problem, role)) for role in ("train", "validation", "test"))
    found = fit_baseline(schema.task, len(schema.classes), [train, validation], test, seed, texts)
    return replace(found, predict=lambda rows: found.predict(its(rows)))
