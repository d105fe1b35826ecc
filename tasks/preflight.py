"""Before a run starts anything slow: can the data be used, and does the envelope fit?

The same work is needed by the first stages, which find it done; so a mistake is answered in a second, and not after a
server has come up.
"""

from __future__ import annotations

from pathlib import Path

from abi.attention.fit import fit
from abi.config import Config
from abi.documents import find
from abi.errors import PlanInfeasible
from abi.problem import Problem
from abi.types import Attention, FeatureScore, Scores
from tasks.data import pose
from tasks.planning import divide, divide_or_name
from tasks.snapshot import take_snapshot
from tasks.stage import Call
from tasks.transfer import expect_overlap


def pose_problem(call: Call, train: str, test: str | None, target: str) -> str:
    """Files and target -> id of the Problem."""
    remote, config = call.settings.tracking.remote, call.settings.data
    snapshot = take_snapshot(call.ws, Path(train), Path(test) if test else None, remote, config)
    return call.ws.put(pose(call, snapshot, target))


def preflight(call: Call, train: str, test: str | None, target: str, source: str | None = None) -> str:
    """Read the data and plan the even split, or else one that may leave features out; gives the Problem's id.

    Where the run starts from another domain's model, see that it is there, whole, and has something in common.

    Raises:
        AbiError: what the run would stumble over.
    """
    problem_id = pose_problem(call, train, test, target)
    problem = find(call.ws.get(problem_id), Problem)
    unscored, config = _unscored(problem), call.settings.attention
    try:
        divide(call, fit(unscored, None, config), "even")
    except PlanInfeasible:
        divide_or_name(call, fit(unscored, None, config, frugal=True))
    if source is not None:
        expect_overlap(call, problem, source)
    return problem_id


def dry_run_attention(scores: Scores, config: Config) -> Attention:
    """Attention without trials: the flattest candidate temperature."""
    return fit(scores, max(config.attention.temperatures, default=None), config.attention)


def _unscored(problem: Problem) -> Scores:
    """Scores that know nothing, so that each feature may turn out to tell something."""
    features = tuple(
        FeatureScore(
            feature=f.name, relevance=0.0, discrimination=0.0, redundancy=0.0, complexity=0.0, score=0.0,
            low=0.0, high=0.0, null=0.0, p_value=1.0, carries_signal=True,
        )
        for f in problem.schema.features
    )  # fmt: skip
    return Scores(problem=problem, source="data", rows=0, features=features)
