"""Held-out texts on the page, their words coloured by what the network made of them (`abi.report.text_examples`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from abi.report.exhibits import TextExample
from abi.report.wording import clean, number, percent

if TYPE_CHECKING:
    from abi.report.content import Report


def texts(report: Report) -> dict[str, Any]:
    """The held-out texts of each column, their words coloured on one scale."""
    exhibits = report.exhibits
    shown = exhibits.texts if exhibits is not None else ()
    columns: dict[str, list[TextExample]] = {}
    for example in shown:
        columns.setdefault(example.feature, []).append(example)
    regression = report.checks.problem.schema.task == "regression"
    return {
        "readings": [
            {"name": clean(feature), "examples": [_shown(one, _most(examples), regression) for one in examples]}
            for feature, examples in columns.items()
        ],
        "exact": bool(exhibits is not None and exhibits.exact),
        "value": regression,
        "part": report.evaluation.trained.family == "blend",
    }


def _most(examples: Sequence[TextExample]) -> float:
    return max((abs(v) for one in examples for v in one.contributions), default=0.0) or 1.0


def _shown(example: TextExample, most: float, regression: bool) -> dict[str, Any]:
    terms = list(zip(example.terms, example.shares, strict=True))
    return {
        "truth": clean(example.truth, 40),
        "predicted": clean(example.predicted, 40),
        "sure": "" if example.probability is None else percent(example.probability),
        "right": None if regression else example.right,
        "words": [
            {
                "text": _visible(word),
                "side": "for" if value > 0 else "against",
                "strength": round(100 * abs(value) / most),
                "value": number(value, 2, sign=True),
            }
            for word, value in zip(example.words, example.contributions, strict=True)
        ],
        "cut": example.cut,
        "for": [(clean(t, 30), number(v, 2, sign=True)) for t, v in terms if v > 0],
        "against": [(clean(t, 30), number(v, 2, sign=True)) for t, v in reversed(terms) if v < 0],
    }


def _visible(word: str) -> str:
    """A word with the space before it, without characters that would steer the page's direction."""
    body = word.lstrip()
    return (" " if body != word else "") + clean(body, 40)
