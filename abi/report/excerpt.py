"""A report short enough for its page: of the terms of each text, those that its models list.

A text has up to 65,000 terms, and every value from the scores on holds them. Shortened, they are other values with other
ids; `Excerpt` says what is gone and which whole value each stands for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, get_args, get_type_hints

from abi.report.content import Excerpt, Report
from abi.report.embed import STORED
from abi.types import TermScores
from abi.values import Value


def excerpt(report: Report) -> Report:
    """The report with only the terms that a model in it lists; the same report where those are all."""
    if report.excerpt is not None:
        return report
    models = [report.evaluation.trained, *(turn.trained for turn in report.rounds)]
    shortening = _Shortening({(t.feature, t.term) for trained in models for t in trained.terms})
    short: Report = shortening.of(report)
    if short is report:
        return report
    return replace(short, excerpt=Excerpt(left_out=shortening.left_out, whole=shortening.whole))


@dataclass
class _Shortening:
    """A walk through a report that touches only what holds terms. `done` keeps what is shared shared."""

    listed: set[tuple[str, str]]
    left_out: dict[str, int] = field(default_factory=dict)
    whole: dict[str, str] = field(default_factory=dict)
    done: dict[int, Any] = field(default_factory=dict)

    def of(self, part: Any) -> Any:
        """`part` itself where it holds no terms to leave out."""
        if isinstance(part, tuple):
            items = tuple(self.of(item) for item in part)
            return part if all(a is b for a, b in zip(items, part, strict=True)) else items
        if not isinstance(part, Value):
            return part
        if id(part) not in self.done:
            short = self._terms(part) if isinstance(part, TermScores) else self._fields(part)
            if short is not part and type(part).__name__ in STORED:
                self.whole[short.id] = part.id
            self.done[id(part)] = short
        return self.done[id(part)]

    def _fields(self, part: Any) -> Any:
        old = {name: getattr(part, name) for name in _ways(type(part))}
        new = {name: self.of(held) for name, held in old.items()}
        changed = {name: held for name, held in new.items() if held is not old[name]}
        return replace(part, **changed) if changed else part

    def _terms(self, part: TermScores) -> TermScores:
        kept = [i for i, term in enumerate(part.terms) if (part.feature, term) in self.listed]
        if len(kept) == len(part.terms):
            return part
        self.left_out[part.feature] = len(part.terms) - len(kept)
        return replace(
            part,
            terms=tuple(part.terms[i] for i in kept),
            rows=tuple(part.rows[i] for i in kept),
            scores=tuple(part.scores[i] for i in kept),
            errors=tuple(part.errors[i] for i in kept),
            tail=tuple(part.tail[i] for i in kept) if part.tail else (),
        )


_WAYS: dict[type[Any], tuple[str, ...]] = {}


def _ways(kind: type[Any]) -> tuple[str, ...]:
    """Fields of a class of values through which terms may be reached: a wide table's features have none."""
    if kind not in _WAYS:
        hints = get_type_hints(kind)
        _WAYS[kind] = tuple(name for name, hint in hints.items() if TermScores in _reached(hint, set()))
    return _WAYS[kind]


def _reached(hint: Any, seen: set[Any]) -> set[Any]:
    """`seen`, and all classes that an annotation names, themselves or in their fields."""
    for kind in _named(hint):
        if kind not in seen:
            seen.add(kind)
            for inner in get_type_hints(kind).values():
                _reached(inner, seen)
    return seen


def _named(hint: Any) -> Iterator[type[Any]]:
    """Classes of values in an annotation."""
    if isinstance(hint, type) and issubclass(hint, Value):
        yield hint
    for inner in get_args(hint):
        yield from _named(inner)
