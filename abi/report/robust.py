"""How the model bears changed inputs, in a sentence, in a table, and as the page's section."""

from __future__ import annotations

from typing import Any, Final

from abi.report.wording import CONTROLS, LOWER_IS_BETTER, clean, interval, metric_name, number, percent
from abi.robustness import Contender, Perturbed, Robustness, Stability

KINDS: Final = {"noise": "noise", "missing": "missing features", "adversarial": "an adversarial step"}
CONTENDERS: Final[tuple[Contender, ...]] = ("model", "uniform", "baseline")


def robust_verdict(found: Robustness) -> str:
    """The middle strengths in one sentence."""
    clean_value = found.clean.get("model")
    if clean_value is None:
        return f"{metric_name(found.metric)} is not defined on these rows"
    parts = [
        f"{number(own.value.value)} under {KINDS[p.kind]}" for p in found.middle if (own := p.of("model")) is not None
    ]
    return f"{metric_name(found.metric)} {number(clean_value.value)}; at middle strength {', '.join(parts)}"


def names(found: Robustness) -> dict[Contender, str]:
    """The contenders that there are, as a reader calls them."""
    return {name: CONTROLS.get(name, name) for name in CONTENDERS if name in found.clean}


def lines(found: Robustness) -> list[list[str]]:
    """A row of text for each change: its name, then value and loss of each contender."""
    who = names(found)
    first = ["as they are", *(number(found.clean[name].value) for name in who)]
    return [first, *([title(p), *(_cell(p, name) for name in who)] for p in found.perturbed)]


def title(change: Perturbed) -> str:
    """What was changed."""
    return clean(change.what, 80)


def _cell(change: Perturbed, name: Contender) -> str:
    own = change.of(name)
    if own is None:
        return "–"
    value, loss = number(own.value.value), number(-own.loss.value, sign=True, places=_places(own.loss.value))
    return f"{value} ({loss})"


def _places(value: float) -> int:
    return 3 if abs(value) < 10 else 0  # noqa: PLR2004 - accuracies, or errors in the target's unit


def steadiness(found: Stability) -> list[str]:
    """What was changed, rank correlation of the scores, attention that moved on average and at most, refits."""
    rank = "–" if found.rank is None else number(found.rank, 3)
    return [clean(found.what, 100), rank, percent(found.moved), percent(found.moved_most), str(found.refits)]


def robustness(found: Robustness | None) -> dict[str, Any] | None:
    """The page's section; None where nothing was measured."""
    if found is None:
        return None
    who = names(found)
    return {
        "rows": found.rows,
        "verdict": robust_verdict(found),
        "metric": metric_name(found.metric),
        "direction": "lower is better" if found.metric in LOWER_IS_BETTER else "higher is better",
        "names": list(who.values()),
        "clean": [_figures(number(found.clean[name].value), interval(found.clean[name])[1]) for name in who],
        "changes": [
            {"name": title(p), "strength": p.strength or "", "cells": [_section_cell(p, name) for name in who]}
            for p in found.perturbed
        ],
        "stability": [steadiness(s) for s in found.stability],
    }


def _section_cell(change: Perturbed, name: Contender) -> dict[str, str]:
    own = change.of(name)
    if own is None:
        return _figures("–", "")
    lost, span = interval(own.loss, sign=True, significant=2)
    return _figures(number(own.value.value), f"loses {lost} ({span})")


def _figures(value: str, note: str) -> dict[str, str]:
    return {"value": value, "note": note}
