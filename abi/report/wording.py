"""Names and numbers as a reader wants them: ``roc_auc`` -> ROC AUC, 0.00312 -> 0.0031, long names clipped."""

from __future__ import annotations

import math

from abi.errors import clip
from abi.outcomes import Refit, Trained
from abi.types import Attention, Estimate, Family, ScoreBlend, Trial
from abi.units import show_seconds

METRICS = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "f1_macro": "macro F1",
    "f1_micro": "micro F1",
    "subset_accuracy": "subset accuracy",
    "head_accuracy": "head accuracy",
    "medium_accuracy": "medium accuracy",
    "tail_accuracy": "tail accuracy",
    "in_scope_accuracy": "accuracy in scope",
    "out_of_scope_recall": "recall out of scope",
    "out_of_scope_precision": "precision out of scope",
    "out_of_scope_auroc": "ROC AUC of being out of scope",
    "log_loss": "log loss",
    "brier": "Brier score",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
}
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "rmse", "mae"})
CONTROLS = {"uniform": "even split", "baseline": "baseline"}

MOST_DECIMALS = 6
LEAST, MOST = 1e-4, 1e12
"""Figures of less or more are written with a power of ten."""
_JOINERS = frozenset("\u200c\u200d")  # zero-width joiners shape letters and emoji, and change nothing else


def split_name(split: Attention | Trial) -> str:
    """How a candidate divides: ``'even split'``, ``'pruned split'``, ``'fitted blend at temperature 0.4, frugal'``."""
    structure = "pruned" if split.pruned else "frugal" if split.frugal else ""
    lean = "lean" if split.lean else ""
    if split.temperature is None:
        return f"{lean and 'lean '}{structure or 'even'} split"
    blended = split.blended if isinstance(split, Trial) else split.blend is not None
    return f"{'fitted blend at ' if blended else ''}{', '.join(filter(None, (f'temperature {split.temperature:.3g}', structure, lean)))}"


def fit_sentence(attention: Attention) -> str:
    """Which split was chosen, and whether it is the one with the least validation loss or the flattest that cannot be told from that."""
    chosen = _called(attention)
    if not attention.trials:
        return f"{chosen} is taken"
    least = _called(min(attention.trials, key=lambda trial: trial.loss))
    if least == chosen:
        return f"{chosen} has the least validation loss"
    return f"{chosen} is kept, as validation rows do not tell it from {least}, which has the least loss"


def _called(split: Attention | Trial) -> str:
    name = split_name(split)
    return f"the {name}" if name.endswith("split") else name


def blend_sentence(blend: ScoreBlend) -> str:
    """Which blend of terms the weights are of, and how much closer it is to what a model showed."""
    return (
        f"The scores' blend was fitted to how much a short-trained model of the flat split used each feature: relevance counts "
        f"{percent(blend.relevance)}, discrimination {percent(blend.discrimination)}, and complexity adds up to "
        f"{percent(blend.complexity)}. The divergence from the model's own shares is {number(blend.divergence, 3)} nats, "
        f"with the settings' blend {number(blend.divergence_default, 3)}."
    )


def metric_name(metric: str) -> str:
    """``'roc_auc'`` -> ``'ROC AUC'``."""
    return METRICS.get(metric, metric.replace("_", " "))


def clean(text: str, limit: int = 60) -> str:
    """Clip, and show characters that would steer a terminal or turn the direction of writing as ``·``."""
    return "".join(c if c.isprintable() or c in _JOINERS else "·" for c in clip(text, limit))


def decimals(largest: float | int, significant: int = 4) -> int:
    """Digits after the point at which `largest` shows `significant` digits (0 to 6)."""
    if largest == 0:
        return significant
    return min(max(significant - 1 - math.floor(math.log10(abs(largest))), 0), MOST_DECIMALS)


def number(value: float | int, places: int | None = None, sign: bool = False) -> str:
    """A figure with a true minus; `sign` writes the plus as well. A tiny or huge one has a power of ten, without `places`."""
    if places is None and _needs_power(value):
        return _with_power(value, sign)
    text = f"{value:{'+' if sign else ''},.{decimals(value) if places is None else places}f}"
    if not text.strip("+-0.,"):
        text = text.lstrip("+-")  # no sign on a zero
    return text.replace("-", "−")


def interval(estimate: Estimate, sign: bool = False, significant: int = 4) -> tuple[str, str]:
    """Value and ``low to high``, with the same digits, and as many as an edge beside zero needs not to look like zero."""
    figures = (estimate.value, estimate.low, estimate.high)
    if _needs_power(max(abs(figure) for figure in figures)):
        value, low, high = (_with_power(figure, sign, significant) for figure in figures)
        return value, f"{low} to {high}"
    places = decimals(max(abs(figure) for figure in figures), significant)
    while places < MOST_DECIMALS and any(figure and round(figure, places) == 0 for figure in figures[1:]):
        places += 1
    low, high = (number(edge, places, sign) for edge in (estimate.low, estimate.high))
    return number(estimate.value, places, sign), f"{low} to {high}"


def _needs_power(figure: float | int) -> bool:
    return figure != 0 and not LEAST <= abs(figure) < MOST


def _with_power(figure: float | int, sign: bool, significant: int = 4) -> str:
    return f"{figure:{'+' if sign and figure else ''}.{significant}g}".replace("-", "−")


def percent(share: float | int, sign: bool = False) -> str:
    """0.1234 -> ``'12.3%'``; three digits, at most three of them after the point."""
    return number(100 * share, min(decimals(100 * share, 3), 3), sign) + "%"


def alignment_sentence(trained: Trained) -> str:
    """How a network's modalities were aligned and what that reached; empty where they were not, or the network was not kept."""
    alignment = trained.plan.execution.alignment
    if alignment is None or trained.family == "trees":
        return ""
    found = "; ".join(
        f"{clean(r.modalities[0])} and {clean(r.modalities[1])} find their own row among {r.batch_rows} in {percent(r.accuracy)} of {r.rows:,} validation rows (chance {percent(1 / r.batch_rows)})"
        for r in trained.retrieval
    )
    return f"weight {alignment.weight:g} at temperature {alignment.temperature:g}; {found or 'there was no pair of modalities to align'}"


def refit_sentence(family: Family, again: Refit) -> str:
    """Rows, length and time of training once more."""
    length = f"{plural(again.epochs, 'round')} of boosting" if family == "trees" else plural(again.epochs, "epoch")
    return f"{again.rows:,} rows, {length}, {show_seconds(again.train_time_s)}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """``'1 row'``, ``'2,000 rows'``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
