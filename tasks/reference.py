"""What a run keeps of its training rows, for new rows to be held against."""

from __future__ import annotations

from abi.monitored import Reference
from abi.monitoring.reference import refer
from abi.outcomes import Evaluation
from abi.types import Attention
from tasks.data import load_rows
from tasks.models import load_model
from tasks.stage import Call


def make_reference(call: Call, evaluation: Evaluation, first: Attention) -> Reference:
    """The reference of the kept model.

    Args:
        call: workspace and settings.
        evaluation: of the kept model.
        first: attention of the first round, whose scores are the data's.
    """
    kept = evaluation.trained
    problem = kept.plan.attention.scores.problem
    predicted = load_model(call, kept.artifact).predict_columns(load_rows(call, problem, "test"))
    return refer(problem, load_rows(call, problem, "train"), predicted, first, kept.artifact, call.settings)
