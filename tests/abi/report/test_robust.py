"""How changed inputs are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from abi.report.page import render
from abi.report.robust import lines, names, robust_verdict, robustness, steadiness
from abi.robustness import Perturbed, Robustness, Stability, Suffered
from abi.types import Estimate


def _estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.01, high=value + 0.01)


def _found() -> Robustness:
    def suffered(name: str, value: float, loss: float) -> Suffered:
        return Suffered(contender=name, value=_estimate(value), loss=_estimate(loss))  # type: ignore[arg-type]

    both = (suffered("model", 0.8, 0.1), suffered("baseline", 0.7, 0.15))
    return Robustness(
        metric="accuracy",
        rows=1234,
        clean={"model": _estimate(0.9), "baseline": _estimate(0.85)},
        perturbed=(
            Perturbed(kind="noise", what="numbers ± 0.3 deviations", contenders=both, strength="middle"),
            Perturbed(kind="missing", what="<b>age</b> missing", contenders=both, feature="<b>age</b>"),
            Perturbed(kind="adversarial", what="FGSM", contenders=both[:1], strength="middle"),
        ),
        stability=(
            Stability(kind="resampled", what="random halves", refits=10, rank=0.987, moved=0.021, moved_most=0.05),
            Stability(kind="noise", what="words", refits=1, rank=None, moved=0.0, moved_most=0.0, strength="weak"),
        ),
    )


def test_the_middle_strengths_are_the_verdict() -> None:
    told = robust_verdict(_found())
    assert told == "accuracy 0.9000; at middle strength 0.8000 under noise, 0.8000 under an adversarial step"
    assert robust_verdict(replace(_found(), clean={})) == "accuracy is not defined on these rows"


def test_lines_have_a_cell_for_each_contender_that_there_is() -> None:
    found = _found()
    assert names(found) == {"model": "model", "baseline": "baseline"}
    assert lines(found) == [
        ["as they are", "0.9000", "0.8500"],
        ["numbers ± 0.3 deviations", "0.8000 (−0.100)", "0.7000 (−0.150)"],
        ["<b>age</b> missing", "0.8000 (−0.100)", "0.7000 (−0.150)"],
        ["FGSM", "0.8000 (−0.100)", "–"],
    ]


def test_steadiness_is_told_with_and_without_ranks() -> None:
    first, second = _found().stability
    assert steadiness(first) == ["random halves", "0.987", "2.10%", "5.00%", "10"]
    assert steadiness(second)[1] == "–"


def test_the_page_has_the_section_where_it_was_measured(make_report: Any) -> None:
    census = make_report()
    plain = render(census)
    assert 'id="robustness"' not in plain
    page = render(replace(census, evaluation=replace(census.evaluation, robustness=_found())))
    assert page.count('id="robustness"') == 1
    assert "&lt;b&gt;age&lt;/b&gt; missing" in page
    assert "loses +0.10 (+0.09 to +0.11)" in page
    assert "1,234 held-out rows" in page
    assert robustness(None) is None
