"""Stage: what the kept model is worth on held-out rows, beside the uniform control and the baseline."""

from __future__ import annotations

from abi.documents import find
from abi.evaluation.baseline import fit_baseline
from abi.evaluation.evaluate import Contender
from abi.evaluation.evaluate import evaluate as evaluate_contenders
from abi.outcomes import Trained
from abi.report.summary import verdict
from abi.scoring.terms import text_columns
from abi.training.rounds import best_round
from tasks.data import load_rows
from tasks.models import load_model
from tasks.progress import say
from tasks.stage import Call, Stage


def evaluate(call: Call, control: str, *rounds: str) -> str:
    """Trained control and trained rounds -> Evaluation of the best round."""
    ws, config = call.ws, call.settings
    trained = [find(ws.get(one), Trained) for one in rounds]
    kept, even = trained[best_round(trained)], find(ws.get(control), Trained)
    problem = kept.plan.attention.scores.problem
    train, validation, test = (load_rows(call, problem, role) for role in ("train", "validation", "test"))
    schema = problem.schema
    texts = text_columns(schema).values()
    evaluation = evaluate_contenders(
        _contender(call, kept, len(rounds)),
        _contender(call, even, len(rounds)),
        fit_baseline(schema.task, len(schema.classes), [train, validation], test, config.seed, texts),
        test,
        config,
    )
    say(f"evaluate  {verdict(evaluation)}")
    return ws.put(evaluation)


def _contender(call: Call, trained: Trained, trials: int) -> Contender:
    return Contender(model=load_model(call, trained.artifact), trained=trained, trials=trials)


EVALUATE = Stage(evaluate, sections=("evaluation", "seed"))
