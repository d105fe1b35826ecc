"""The retraining flow: order only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tasks.attention import FIT, MOVE
from tasks.checks import SNAPSHOT, SUITE, VALIDATE
from tasks.evaluation import EVALUATE
from tasks.planning import PLAN
from tasks.recording import RECORD
from tasks.scoring import SCORE
from tasks.stage import Call, continues
from tasks.training import REFIT, REFIT_CONTROL, TRAIN, TRAIN_CONTROL
from tasks.transfer import ADOPT, INHERIT
from tasks.tuning import TUNE

Run = Callable[..., str]


@dataclass(frozen=True)
class Request:
    """What is to be retrained from which files; `source` is a registered model of another domain to start from."""

    call: Call
    target: str
    train: str
    test: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Judged:
    """Ids of what was found before anything is recorded."""

    checks: str
    moves: tuple[str, ...]
    control: str
    evaluation: str


def retrain(run: Run, request: Request) -> str:
    """All stages; a run's document is what they end with.

    Args:
        run: runs a stage: `tasks.orchestration.as_tasks` or `in_process`.
        request: the files and settings.

    Returns:
        Path of the run's result document.
    """
    found = judge(run, request)
    return run(RECORD, request.train, found.checks, found.evaluation, found.control, *found.moves)


def judge(run: Run, request: Request) -> Judged:
    """Snapshot, validate, tune encoders where that is asked for, score, fit attention, then rounds of plan, train and move, control, evaluate."""
    problem = run(SNAPSHOT, request.train, request.test or "", request.target)
    checks = run(VALIDATE, problem, run(SUITE, problem))
    if any(encoder.tune is not None for encoder in request.call.settings.data.encoders.values()):
        checks = run(TUNE, checks)
    scores = run(SCORE, checks)
    attention = run(FIT, scores)
    start: tuple[str, ...] = ()
    if request.source is not None:
        start = (run(ADOPT, request.source),)
        attention = run(INHERIT, attention, *start)
    rounds: list[str] = []
    moves: list[str] = []
    while not moves or continues(request.call, moves[-1]):
        plan = run(PLAN, moves[-1] if moves else attention)
        rounds.append(run(TRAIN, plan, *start))
        moves.append(run(MOVE, *rounds))
    control = run(TRAIN_CONTROL, *moves)
    if request.call.settings.training.refit:
        rounds.append(run(REFIT, start[0] if start else "", *rounds))
        control = run(REFIT_CONTROL, control, rounds[-1])
    evaluation = run(EVALUATE, control, *rounds)
    return Judged(checks, tuple(moves), control, evaluation)
