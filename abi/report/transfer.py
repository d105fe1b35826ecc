"""Whether another domain's model helped, in sentences."""

from __future__ import annotations

from abi.outcomes import Evaluation
from abi.report.summary import no_difference, standing
from abi.report.wording import clean, interval, metric_name, number, plural

_WORDS = {"better": "It helped", "same": "No measurable difference", "worse": "It harmed"}


def transfer_sentence(evaluation: Evaluation) -> str:
    """What was carried over, and how a start from it compares with one from nothing; empty where there was none."""
    found = evaluation.trained.transfer
    if found is None:
        return ""
    inherited = evaluation.trained.plan.attention.inherited
    prior = (
        ""
        if inherited is None
        else f" Of its attention {inherited.share:.0%} was taken over on {plural(len(inherited.matched), 'matched feature')}."
    )
    if found.obstacle:
        return f"Started from {clean(found.source)}: {found.obstacle}.{prior}"
    value, span = interval(found.gain, sign=True, significant=2)
    parts = [plural(len(found.features), "feature"), plural(found.terms, "term"), plural(found.layers, "layer"), plural(found.outputs, "output")]  # fmt: skip
    head = (
        f"Started from {clean(found.source)} with {', '.join(parts)} carried over. Beside a cold start of the same plan, schedule "
        f"and seed the validation loss is {number(found.warm.loss)} in place of {number(found.cold.loss)} (gain by row {value}, "
        f"95% {span}), so the {found.kept} one was kept."
    )
    gain = evaluation.transfer
    if gain is None:
        return head + prior
    if no_difference(gain):
        return f"{head} On held-out rows both are alike.{prior}"
    value, span = interval(gain.difference, sign=True, significant=2)
    return f"{head} {_WORDS[standing(gain)]} on held-out rows: {metric_name(gain.metric)} {value} (95% {span}).{prior}"
