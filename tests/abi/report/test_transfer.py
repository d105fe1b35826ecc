"""Whether another model helped, in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from abi.outcomes import Begun, Evaluation, Gain, Transfer
from abi.report.page import render
from abi.report.transfer import transfer_sentence
from abi.types import Estimate


def _told(
    make_report: Any, obstacle: str = "", held: tuple[float, float, float] | None = None
) -> tuple[Any, Evaluation]:
    report = make_report()
    found = Transfer(
        source="models:/other/3", artifact="0" * 64, features=("age", "sex"), terms=120, layers=2, outputs=1,
        parameters=999, cold=Begun(artifact="a", loss=0.5, metric=0.8), warm=Begun(artifact="b", loss=0.4, metric=0.9),
        gain=Estimate(value=0.1, low=0.05, high=0.15), kept="warm", obstacle=obstacle,
    )  # fmt: skip
    gain = None
    if held is not None:
        gain = Gain(metric="roc_auc", difference=Estimate(value=held[0], low=held[1], high=held[2]), relative=0.0)
    trained = replace(report.evaluation.trained, transfer=found)
    return report, replace(report.evaluation, trained=trained, transfer=gain)


def test_a_gain_on_held_out_rows_is_told_with_its_interval(make_report: Any) -> None:
    _, evaluation = _told(make_report, held=(0.02, 0.01, 0.03))
    told = transfer_sentence(evaluation)
    assert "Started from models:/other/3 with 2 features, 120 terms, 2 layers, 1 output carried over." in told
    assert "0.4000 in place of 0.5000" in told
    assert "It helped on held-out rows: ROC AUC +0.020 (95% +0.010 to +0.030)." in told


def test_noise_and_harm_are_told_as_such(make_report: Any) -> None:
    assert "No measurable difference on held-out rows" in transfer_sentence(
        _told(make_report, held=(0.0, -0.01, 0.02))[1]
    )
    assert "It harmed on held-out rows" in transfer_sentence(_told(make_report, held=(-0.02, -0.03, -0.01))[1])
    assert "both are alike" in transfer_sentence(_told(make_report, held=(0.0, 0.0, 0.0))[1])


def test_where_nothing_could_be_carried_over_the_reason_is_told(make_report: Any) -> None:
    told = transfer_sentence(_told(make_report, obstacle="trees have no weights to carry over")[1])
    assert told == "Started from models:/other/3: trees have no weights to carry over."


def test_the_page_says_it_where_there_was_a_source(make_report: Any) -> None:
    report, evaluation = _told(make_report, held=(0.02, 0.01, 0.03))
    assert "Against starting cold" not in render(report)
    assert "Against starting cold" in render(replace(report, evaluation=evaluation))
