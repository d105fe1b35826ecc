"""Stages: fit attention to the scores; move it by what the trained model showed."""

from __future__ import annotations

from abi.documents import find
from abi.outcomes import Move, Trained
from abi.planning.run_time import run_time_sentence
from abi.report.wording import fit_sentence
from abi.training.revise import revise
from abi.training.rounds import converge, decide
from abi.training.trees_pilots import fit_families
from abi.types import Scores
from tasks.data import load_rows
from tasks.models import load_model
from tasks.planning import divide
from tasks.progress import say
from tasks.stage import Call, Stage


def fit(call: Call, scores: str) -> str:
    """Scores -> Attention: each family's temperature is chosen by short trainings on validation rows."""
    value = find(call.ws.get(scores), Scores)
    problem = value.problem
    if call.settings.envelope.run_time is not None:
        say(f"time      {run_time_sentence(call.settings)}")
    attention = fit_families(
        value,
        call.settings,
        lambda candidate, family: divide(call, candidate, family=family),
        load_rows(call, problem, "train"),
        load_rows(call, problem, "validation"),
    )
    top = max(attention.weights, key=lambda w: w.weight)
    say(f"fit       {fit_sentence(attention)}; most attention: {top.feature} ({top.weight:.0%})")
    return call.ws.put(attention)


def move(call: Call, *rounds: str) -> str:
    """Trained models of all rounds so far -> Move: where attention goes next, and whether another round pays."""
    trained = [find(call.ws.get(one), Trained) for one in rounds]
    last = trained[-1]
    attention = last.plan.attention
    model = load_model(call, last.artifact)
    config = call.settings
    validation = load_rows(call, attention.scores.problem, "validation")
    moved = revise(model, validation, attention, config)
    following = divide(call, moved, family=last.family)
    continues, reason = decide(trained, following, config)
    convergence = converge(moved, last.plan, following, config)
    say(f"rescore   {'another round' if continues else 'rounds end'}: {reason}")
    return call.ws.put(Move(trained=last, attention=moved, continues=continues, reason=reason, convergence=convergence))


FIT = Stage(
    fit, sections=("scoring", "attention", "training", "envelope", "devices", "iterate", "evaluation.metric", "seed")
)
MOVE = Stage(move, sections=("attention", "training", "envelope", "devices", "iterate", "evaluation.metric", "seed"))
