"""The gates before champion: what a version must show, each held against its setting.

A gate is pure: it gets facts that were measured elsewhere (`tasks.gates`) and says what was expected, what came, and whether
that will do. One that is turned off, or that has nothing to compare with, says so and stands in nobody's way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from abi.attention.simplex import distance
from abi.errors import clip
from abi.metrics import LOWER_IS_BETTER
from abi.outcomes import Calibration, Evaluation, Gain
from abi.problem import Checks
from abi.types import Estimate
from abi.units import show_bytes, show_seconds
from abi.values import Value

if TYPE_CHECKING:
    from abi.operations import GatesConfig

Status = Literal["passed", "failed", "off"]
Judgement = tuple[Status, str, str]


@dataclass(frozen=True, kw_only=True)
class GateResult(Value):
    """One gate: what was expected and what came. `waived` where a person approved what did not pass."""

    name: str
    status: Status
    expected: str
    got: str
    waived: bool = False


@dataclass(frozen=True, kw_only=True)
class Gates(Value):
    """All gates of one version, and the entry of the champion that it was held against (0: there was none)."""

    model: str
    version: int
    champion: int | None
    champion_seq: int
    rows: int
    results: tuple[GateResult, ...]

    @property
    def failed(self) -> tuple[GateResult, ...]:
        """Those that stand in the way."""
        return tuple(r for r in self.results if r.status == "failed" and not r.waived)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a candidate.

    Attributes:
        evaluation: its held-out figures, with those of the uniform control and the baseline.
        checks: the data checks of its run.
        rival: the paired gain over the champion on the same fresh rows, or why it could not be had; None without champion.
        rival_rows: how many rows that is on,
        learned_rows: and how many more are held out, which the champion had learned from.
        fresh: whether they are none of the candidate's held-out rows.
        attention: feature -> weight of the candidate.
        champion_attention: the same of the champion.
        loads: None where the artifact loaded in a fresh process and predicted what was recorded; else what came.
    """

    evaluation: Evaluation
    checks: Checks
    rival: Gain | str | None
    attention: Mapping[str, float]
    champion_attention: Mapping[str, float] | None
    loads: str | None
    rival_rows: int = 0
    learned_rows: int = 0
    fresh: bool = False


def judge(facts: Facts, config: GatesConfig) -> tuple[GateResult, ...]:
    """Every gate, in the order of `GATES`."""
    results = []
    for name, gate in GATES.items():
        status, expected, got = gate(facts, config)
        results.append(GateResult(name=name, status=status, expected=expected, got=got))
    return tuple(results)


def calibration_noise(found: Calibration) -> float:
    """The calibration error that a perfectly calibrated model is expected to show on so few rows.

    A bin of n rows with chance p is off by sqrt(2 p (1 - p) / (pi n)) on average (the mean of a half-normal).
    """
    rows = sum(b.rows for b in found.bins)
    gaps = [b.rows * math.sqrt(2 * max(b.predicted * (1 - b.predicted), 0.0) / (math.pi * b.rows)) for b in found.bins]
    return sum(gaps) / rows


def movement(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Total variation distance of two attentions, over the features of either."""
    names = sorted(set(before) | set(after))
    return distance(*(np.array([one.get(name, 0.0) for name in names]) for one in (before, after)))


def _signal(facts: Facts, config: GatesConfig) -> Judgement:
    if not config.signal:
        return "off", "", "turned off"
    found = facts.evaluation.signal
    if found is None:
        return "off", "", "an earlier ABI evaluated it without"
    where = "held-out rows" if facts.evaluation.along is None else "the stream's rows before they were learned from"
    expected = f"{found.gain.metric} better than chance ({found.chance:.4g}) on {where}, interval considered"
    return _passed(found.found), expected, f"a gain of {_interval(found.gain.difference)}"


Gate = Callable[[Facts, "GatesConfig"], Judgement]


def _champion(facts: Facts, config: GatesConfig) -> Judgement:
    if config.champion is None:
        return "off", "", "turned off"
    if facts.rival is None:
        return "off", "", "there is no champion yet"
    expected = f"gain over the champion above {-config.champion if config.champion else 0:g}, interval considered"
    if isinstance(facts.rival, str):
        return "failed", expected, facts.rival
    gained, learned = facts.rival.difference, facts.learned_rows
    left = f" on {facts.rival_rows} held-out rows; the champion learned from {learned} more" if learned else ""
    left = f" on {facts.rival_rows} fresh rows" if facts.fresh else left
    return _passed(gained.low > -config.champion), expected, f"{facts.rival.metric} {_interval(gained)}{left}"


def _control(name: str) -> Gate:
    def gate(facts: Facts, config: GatesConfig) -> Judgement:
        margin: float | None = getattr(config, name)
        if margin is None:
            return "off", "", "turned off"
        along = facts.evaluation.along
        gained = facts.evaluation.control(name).gain if along is None else along.baseline
        whose = f"the {name}'s" if along is None else "the last label's"
        expected, got = f"not below {-margin:.1%} of {whose} value", f"{gained.metric} {_interval(gained.difference)}"
        if gained.of_zero:  # any margin of it is nothing
            return _passed(gained.difference.value > 0), expected, got
        return _passed(gained.relative >= -margin), expected, f"{gained.relative:+.2%} ({got})"

    return gate


def _slices(facts: Facts, config: GatesConfig) -> Judgement:
    if config.slices is None:
        return "off", "", "turned off"
    evaluation = facts.evaluation
    overall, lower = evaluation.metrics[evaluation.primary].value, evaluation.primary in LOWER_IS_BETTER
    allowed = config.slices * abs(overall)
    floor = overall + allowed if lower else overall - allowed
    expected = f"{evaluation.primary} of every slice {'below' if lower else 'above'} {floor:.4g}, interval considered"
    if not math.isfinite(overall) and evaluation.slices:
        return "failed", expected, f"no figure: the {evaluation.primary} of all rows is not defined"
    below = [s for s in evaluation.slices if not (s.metric.low <= floor if lower else s.metric.high >= floor)]
    if below:
        worst = (max if lower else min)(below, key=lambda s: s.metric.value)
        more = f", and {len(below) - 1} more" if len(below) > 1 else ""
        return "failed", expected, f"{worst.metric.value:.4g} where {clip(worst.feature)} is {clip(worst.group)}{more}"
    if not evaluation.slices:
        return "passed", expected, "no slice has rows enough"
    edge = (max if lower else min)(s.metric.value for s in evaluation.slices)
    return "passed", expected, f"{edge:.4g} at worst, of {len(evaluation.slices)} slices"


def _calibration(facts: Facts, config: GatesConfig) -> Judgement:
    if config.calibration is None:
        return "off", "", "turned off"
    evaluation = facts.evaluation
    task = evaluation.trained.plan.attention.scores.problem.schema.task
    if evaluation.calibration is None or task == "regression":
        return "off", "", "no classification"
    error, noise = evaluation.calibration.error, calibration_noise(evaluation.calibration)
    expected = f"calibration error at most {config.calibration:g} above that of chance"
    return _passed(error - noise <= config.calibration), expected, f"{error:.4f} (chance {noise:.4f})"


def _latency(facts: Facts, config: GatesConfig) -> Judgement:
    limit = config.latency if config.latency is not None else facts.evaluation.trained.plan.envelope.latency_s
    evaluation = facts.evaluation
    derived = evaluation.trained.plan.attention.scores.problem.schema.derivation is not None
    got = f"{show_seconds(evaluation.latency_s)} per row{', its columns derived first' if derived else ''}"
    if limit is None:
        return "off", "", f"{got}, without a limit"
    return _passed(evaluation.latency_s <= limit), f"at most {show_seconds(limit)}", got


def _memory(facts: Facts, config: GatesConfig) -> Judgement:
    limit = facts.evaluation.trained.plan.envelope.memory_bytes
    measured = facts.evaluation.trained.measured.memory_bytes
    if not config.memory or limit is None:
        return "off", "", "turned off" if limit is not None else f"{show_bytes(measured)}, without a limit"
    return _passed(measured <= limit), f"training memory at most {show_bytes(limit)}", show_bytes(measured)


def _robustness(facts: Facts, config: GatesConfig) -> Judgement:
    if config.robustness is None:
        return "off", "", "turned off"
    found, expected = (
        facts.evaluation.robustness,
        f"at most {config.robustness:.0%} lost at middle strength, interval considered",
    )
    own = [] if found is None else [(p, s) for p in found.middle if (s := p.of("model")) is not None]
    if found is None or not own:
        return "failed", expected, "not measured: set evaluation.robust to true and train it again"
    clean = abs(found.clean["model"].value) or 1.0
    change, worst = max(own, key=lambda pair: pair[1].loss.low)
    got = f"{worst.loss.value / clean:.1%} of the {found.metric} with {change.what}"
    return _passed(worst.loss.low <= config.robustness * clean), expected, got


def _movement(facts: Facts, config: GatesConfig) -> Judgement:
    if config.movement is None:
        return "off", "", "turned off"
    if facts.champion_attention is None:
        gone = isinstance(facts.rival, str)
        return "off", "", "the champion's attention is not known" if gone else "there is no champion yet"
    moved = movement(facts.champion_attention, facts.attention)
    expected = f"attention moved by at most {config.movement:.0%}, or an approval with its reason"
    return _passed(moved <= config.movement), expected, f"{moved:.1%}"


def _checks(facts: Facts, config: GatesConfig) -> Judgement:
    if not config.checks:
        return "off", "", "turned off"
    failed = facts.checks.failed("critical")
    got = f"{sum(r.status == 'passed' for r in facts.checks.results)} of {len(facts.checks.results)} passed"
    if failed:
        got += f"; {failed[0].name}{f' of {clip(failed[0].column)}' if failed[0].column else ''} {failed[0].status}"
    return _passed(not failed), "every critical data check passed", got


def _loads(facts: Facts, config: GatesConfig) -> Judgement:
    if not config.loads:
        return "off", "", "turned off"
    expected = "the signed artifact loads in a fresh process and predicts what was recorded"
    return _passed(facts.loads is None), expected, facts.loads or "it does"


def _passed(holds: bool) -> Status:
    return "passed" if holds else "failed"


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:+.4f} [{estimate.low:+.4f}, {estimate.high:+.4f}]"


def _not_along(name: str, gate: Gate, lacking: str, *, status: Status = "off") -> Gate:
    """A gate whose figure no version has that followed a stream; `lacking` says why."""

    def judged(facts: Facts, config: GatesConfig) -> Judgement:
        asked = getattr(config, name)
        if facts.evaluation.along is None or asked is None or asked is False:
            return gate(facts, config)
        return status, "a figure" if status == "failed" else "", f"no figure: {lacking}"

    return judged


_UNMEASURED: Final = "it is not measured along a stream"
GATES: Final[Mapping[str, Gate]] = {
    "champion": _champion,
    "signal": _signal,
    "uniform": _not_along("uniform", _control("uniform"), "an even split is not trained along a stream"),
    "baseline": _control("baseline"),
    "slices": _not_along("slices", _slices, _UNMEASURED),
    "calibration": _not_along("calibration", _calibration, _UNMEASURED),
    "latency": _latency,
    "memory": _not_along("memory", _memory, _UNMEASURED),
    "robustness": _not_along("robustness", _robustness, _UNMEASURED, status="failed"),
    "movement": _movement,
    "checks": _not_along("checks", _checks, "a stream's rows are not held against the data checks"),
    "loads": _loads,
}
"""Name (as in the settings) -> gate."""
