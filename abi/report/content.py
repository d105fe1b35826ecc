"""What a report is made of: the values of one run."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from abi.attention.trees import trees_view
from abi.outcomes import Choice, Convergence, Evaluation, Trained
from abi.planning.forecast import Forecast
from abi.problem import Checks
from abi.report.exhibits import Exhibits
from abi.types import NO_NETWORK, Attention, Plan, Scores
from abi.values import Late, Value

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True, kw_only=True)
class Round(Value):
    """One turn of the loop: score, fit, plan, train. `why_stopped` is empty where another round followed.

    `convergence` is what would have moved after it, None where no model was asked.
    """

    scores: Scores
    attention: Attention
    plan: Plan
    trained: Trained
    kept: bool
    why_stopped: str = ""
    convergence: Convergence | None = None

    @property
    def split(self) -> Attention:
        """The attention of the part that was trained: where that is trees alone, theirs."""
        return trees_view(self.attention) if self.trained.family == "trees" else self.attention


@dataclass(frozen=True, kw_only=True)
class Excerpt(Value):
    """What a report leaves out, so that a page can carry it: the terms of texts that none of its models lists.

    A value with fewer terms is another value, so it has an id of its own.

    Attributes:
        left_out: text -> how many of its terms are left out.
        whole: id of a value in the report -> id of the whole value, as the run recorded it.
    """

    left_out: dict[str, int]
    whole: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Report(Value):
    """Everything that the page shows.

    `evaluation.trained.plan` is the kept plan, `control_plan` the even split of the same envelope (None where no
    control was trained). `created` is an ISO 8601 time; `provenance` names what else is needed to run it again:
    run id, model version and URI, hashes, library versions, hardware, command. `excerpt` is there where the report
    came from a page that carries fewer terms than the run has. `forecast` is what was predicted beside the plan's cost,
    `exhibits` what is shown of pictures, texts and modalities.
    """

    name: str
    created: str
    data_name: str
    checks: Checks
    rounds: tuple[Round, ...]
    evaluation: Evaluation
    control_plan: Plan | None
    timings_s: dict[str, float]
    peak_memory_bytes: int
    provenance: dict[str, str]
    config: dict[str, Any]
    excerpt: Excerpt | None = None
    forecast: Late[Forecast | None] = None
    exhibits: Late[Exhibits | None] = None

    @property
    def plan(self) -> Plan:
        """The plan of the kept model, without what was planned for a family that was not kept."""
        trained = self.evaluation.trained
        kept = trained.plan
        if trained.family == "trees":
            return replace(kept, capacity=NO_NETWORK, attention=trees_view(kept.attention))
        return kept if trained.family == "blend" else replace(kept, trees=None)

    @property
    def decision(self) -> Choice | None:
        """Why this family: the first round decides, and the others follow it."""
        return self.rounds[0].trained.choice if self.rounds else self.evaluation.trained.choice

    def whole_id(self, value: Value) -> str:
        """The id of that value of the report as the run recorded it."""
        return value.id if self.excerpt is None else self.excerpt.whole.get(value.id, value.id)


def without_credentials(report: Report) -> Report:
    """The same report, with ``user:password@`` cut from every URL in its provenance and settings."""
    return replace(report, provenance=_cut(report.provenance), config=_cut(report.config))


def _cut(plain: Any) -> Any:
    if isinstance(plain, str):
        return _CREDENTIALS.sub("", plain)
    if isinstance(plain, dict):
        return {key: _cut(item) for key, item in plain.items()}
    if isinstance(plain, list | tuple):
        return [_cut(item) for item in plain]
    return plain
