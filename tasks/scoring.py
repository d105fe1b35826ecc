"""Stage: score the features, on training rows alone."""

from __future__ import annotations

from abi.documents import find
from abi.problem import Checks
from abi.scoring.score import score as score_features
from tasks.data import open_reader
from tasks.progress import say
from tasks.stage import Call, Stage


def score(call: Call, checks: str) -> str:
    """Checks -> Scores."""
    problem = find(call.ws.get(checks), Checks).problem
    tail = call.settings.attention.tail > 0
    scores = score_features(open_reader(call, problem), call.settings.scoring, tail=tail)
    carrying = sum(f.carries_signal for f in scores.features)
    beside = sum(f.only_beside for f in scores.features)
    say(
        f"score     {carrying} of {len(scores.features)} features tell more about {problem.schema.target!r} than a shuffled target"
        + (f", {beside} of them only beside the others" if beside else "")
    )
    if tail:
        told = sum(bool(selection.features) for selection in scores.tail)
        say(f"tail      features are selected for {told} of {len(scores.tail)} classes of the tail")
    return call.ws.put(scores)


SCORE = Stage(score, sections=("scoring", "attention.tail"))
