"""What a notebook shows of a fitted estimator: self-contained HTML, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from abi.report.wording import LOWER_IS_BETTER, clean, metric_name, number, percent, plural, refit_sentence, split_name
from abi.units import show_bytes, show_count, show_seconds

if TYPE_CHECKING:
    import pandas as pd

    from abi.outcomes import Trained

SHOWN: Final = 12
NAME_LETTERS: Final = 32

# text takes the page's own colour; blues and greys are legible on white and on black
_STYLE: Final = """
.abi-panel{font:13px/1.45 system-ui,sans-serif;color:inherit;max-width:46em;border:1px solid rgba(128,128,128,.4);border-radius:8px;padding:.7em 1em;margin:.3em 0}
.abi-panel .abi-head{font:600 12.5px/1.5 ui-monospace,monospace;overflow-wrap:anywhere}
.abi-panel .abi-facts{display:flex;flex-wrap:wrap;gap:.2em 1.6em;margin:.5em 0 .7em;padding:0}
.abi-panel .abi-facts div{white-space:nowrap}
.abi-panel .abi-facts span,.abi-panel .abi-note,.abi-panel .abi-cols{opacity:.68}
.abi-panel .abi-row{display:grid;grid-template-columns:minmax(7em,13em) 1fr 4.6em 3em;gap:.8em;align-items:center}
.abi-panel .abi-row>:first-child{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.abi-panel .abi-num{text-align:right;font-variant-numeric:tabular-nums}
.abi-panel .abi-track{background:rgba(128,128,128,.18);border-radius:3px;height:.75em}
.abi-panel .abi-bar{background:#3d85d1;border-radius:3px;height:100%}
.abi-panel .abi-note{margin-top:.6em;font-size:12px}
"""


def panel(title: str, kept: Trained, rounds: Sequence[Trained], attention: pd.Series[float], metric: str) -> str:
    """Head, facts of the kept training beside the envelope, and the features with the most attention.

    Args:
        title: the estimator as Python writes it.
        kept: the round that is used.
        rounds: all of them.
        attention: weight per feature.
        metric: name of the primary metric.
    """
    facts = "".join(f"<div><span>{escape(name)}</span> {escape(value)}</div>" for name, value in _facts(kept, metric))
    top = attention.sort_values(ascending=False, kind="stable")[:SHOWN]
    widths = {f.feature: f.width for f in kept.plan.capacity.features}
    highest = max(float(top.max()), 1e-12)
    bars = "".join(
        _bar(str(name), float(weight), float(weight) / highest, widths.get(str(name))) for name, weight in top.items()
    )
    return (
        f'<style>{_STYLE}</style><div class="abi-panel"><div class="abi-head">{escape(title)}</div>'
        f'<div class="abi-facts">{facts}</div>'
        '<div class="abi-row abi-cols"><div>feature</div><div></div><div class="abi-num">attention</div><div class="abi-num">width</div></div>'
        f'{bars}<div class="abi-note">{escape(_note(kept, rounds, len(attention)))}</div></div>'
    )


def _facts(kept: Trained, metric: str) -> list[tuple[str, str]]:
    measured, limits = kept.measured, kept.plan.envelope
    value = "not defined" if kept.metric is None else number(kept.metric)
    better = "lower" if metric in LOWER_IS_BETTER else "higher"

    def of(spent: str, limit: str | None) -> str:
        return spent if limit is None else f"{spent} of {limit}"

    return [
        (f"validation {metric_name(metric)} ({better} is better)", value),
        ("parameters", of(show_count(measured.parameters), _shown(limits.parameters, show_count))),
        ("memory", of(show_bytes(measured.memory_bytes), _shown(limits.memory_bytes, show_bytes))),
        ("training", of(show_seconds(measured.train_time_s), _shown(limits.train_time_s, show_seconds))),
        ("latency", of(show_seconds(measured.latency_s), _shown(limits.latency_s, show_seconds))),
    ]


def _shown(limit: float | int | None, show: Callable[[float], str]) -> str | None:
    return None if limit is None else show(limit)


def _bar(name: str, weight: float, share: float, width: int | None) -> str:
    return (
        f'<div class="abi-row"><div title="{escape(clean(name, 200))}">{escape(clean(name, NAME_LETTERS))}</div>'
        f'<div class="abi-track"><div class="abi-bar" style="width:{share:.1%}"></div></div>'
        f'<div class="abi-num">{percent(weight)}</div><div class="abi-num">{"–" if width is None else width}</div></div>'
    )


def _note(kept: Trained, rounds: Sequence[Trained], features: int) -> str:
    """What else there is to say, in one line."""
    parts = [f"{plural(features - SHOWN, 'more feature')}." if features > SHOWN else ""]
    attention = kept.plan.attention
    start = split_name(attention)
    number = rounds.index(kept.judged) + 1
    parts.append(f"Attention started from {start}; round {number} of {len(rounds)} is kept.")
    if kept.refit is not None:
        parts.append(f"Then it was trained once more: {refit_sentence(kept.family, kept.refit)}.")
    aside = kept.plan.attention.scores.problem.schema.set_aside
    if aside:
        named = ", ".join(f"{clean(one.column, NAME_LETTERS)} ({one.kind})" for one in aside[:5])
        parts.append(f"Set aside: {named}{f' and {len(aside) - 5} more' if len(aside) > 5 else ''}.")  # noqa: PLR2004
    return " ".join(part for part in parts if part)
