from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from abi.outcomes import Gain
from abi.problem import Grid
from abi.report.axis import Axis
from abi.report.content import without_credentials
from abi.report.summary import headline, is_even, standing, terminal_summary, verdict
from abi.report.wording import clean, decimals, fit_sentence, interval, number, percent, plural
from abi.types import Estimate, TreesAttention, Trial
from tasks.result import macs

GAIN = Estimate(value=0.0031, low=0.0012, high=0.005)
NONE = Estimate(value=0.0004, low=-0.001, high=0.0018)
LOSS = Estimate(value=-0.012, low=-0.02, high=-0.004)


def printed(renderable, width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.1, 0.3, "better"), (-0.1, 0.3, "same"), (-0.3, -0.1, "worse"), (0.0, 0.1, "same"), (-0.1, 0.0, "same")],
)
def test_only_an_interval_without_zero_counts(low, high, expected):
    gain = Gain(metric="roc_auc", difference=Estimate(value=(low + high) / 2, low=low, high=high), relative=0.0)
    assert standing(gain) == expected


def test_verdict_of_a_gain(make_report):
    text = verdict(make_report(uniform=GAIN, baseline=GAIN).evaluation)
    assert text == (
        "On 6,512 held-out rows the model reaches ROC AUC 0.9263 (95% interval 0.9207 to 0.9319): "
        "better than the even split of the same envelope by 0.0031 (95% interval 0.0012 to 0.0050), "
        "and better than the baseline by 0.0031 (95% interval 0.0012 to 0.0050)."
    )


def test_verdict_of_no_gain(make_report):
    evaluation = make_report(uniform=NONE, baseline=NONE).evaluation
    assert (
        "not measurably different from the even split of the same envelope "
        "(ahead by 0.0004; the 95% interval −0.0010 to 0.0018 includes zero)"
    ) in verdict(evaluation)
    assert headline(evaluation).startswith("Attention brought no measurable gain.")


def test_verdict_of_a_loss(make_report):
    evaluation = make_report(uniform=LOSS, baseline=LOSS).evaluation
    assert "worse than the baseline by 0.012 (95% interval 0.004 to 0.020)" in verdict(evaluation)
    assert headline(evaluation) == "Attention made the model worse. The baseline is better than the model."


def test_verdict_is_about_the_gain_not_the_direction_of_the_metric(make_report):
    evaluation = make_report(task="regression", uniform=Estimate(value=512.3, low=20.1, high=1044.0)).evaluation
    assert "RMSE 46,213" in verdict(evaluation)
    assert "better than the even split of the same envelope by 512 (95% interval 20 to 1,044)" in verdict(evaluation)


def test_verdict_says_when_the_even_split_was_kept(make_report):
    evaluation = make_report(temperature=None, rounds=1).evaluation
    assert headline(evaluation).startswith("The even split was kept")


def test_a_blend_whose_trees_are_uneven_is_no_even_split(make_report, small_trees):
    evaluation = make_report(temperature=None, rounds=1).evaluation
    plan = evaluation.trained.plan
    for temperature, even in ((None, True), (0.4, False)):
        attention = replace(
            plan.attention, trees=TreesAttention(temperature=temperature, weights=plan.attention.weights)
        )
        blend = replace(plan, attention=attention, allocation="attention", trees=small_trees)
        assert is_even(blend) == even
        assert is_even(replace(blend, trees=None))  # the network alone


def test_what_was_chosen_is_not_said_to_have_the_least_loss_where_another_has_it(make_report):
    attention = make_report(temperature=None, rounds=1).evaluation.trained.plan.attention
    trials = (
        Trial(temperature=None, loss=0.5, metric=None),
        Trial(temperature=0.4, loss=0.49, metric=None, frugal=True),
    )
    assert fit_sentence(replace(attention, trials=())) == "the even split is taken"
    assert fit_sentence(replace(attention, trials=trials[:1])) == "the even split has the least validation loss"
    assert (
        fit_sentence(replace(attention, trials=trials))
        == "the even split is kept, as validation rows do not tell it from temperature 0.4, frugal, which has the least loss"
    )


def test_verdict_of_the_very_same_model(make_report):
    evaluation = make_report(uniform=Estimate(value=0.0, low=0.0, high=0.0)).evaluation
    assert "no different from the even split of the same envelope (the difference is exactly zero)" in verdict(
        evaluation
    )


def test_verdict_without_controls(make_report):
    evaluation = replace(make_report().evaluation, controls=())
    assert verdict(evaluation).endswith("nothing was trained to compare it with.")
    assert headline(evaluation) == "There is no even split to compare with."


def test_terminal_summary_says_the_same(make_report):
    report = make_report()
    text = printed(terminal_summary(report, "/tmp/report.html"), 200)
    assert verdict(report.evaluation)[:80] in text
    assert "/tmp/report.html" in text
    assert "6 more" in text  # 14 features, 8 shown
    for word in ("even split", "baseline", "ROC AUC", "training time", "74.3 s", "3 min", "relationship"):
        assert word in text


def test_terminal_summary_fits_a_narrow_terminal(make_report):
    lines = printed(terminal_summary(make_report(), "/a/very/long/path" * 8), 80).splitlines()
    assert max(len(line) for line in lines) == 80


def test_without_room_for_bars_there_are_none_and_the_path_is_whole(make_report):
    path = "/a/very/long/path" * 8
    text = printed(terminal_summary(make_report(), path, bars=False), 60)
    assert "━" not in text
    assert "6 more" in text
    assert path in "".join(line.strip("│ ") for line in text.splitlines())


def test_terminal_summary_prints_no_control_characters_and_no_markup(make_report):
    text = printed(terminal_summary(make_report({"[red]a\x1b[31m\x07": 0.9, "b": 0.1}), "[bold]p"))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]a·[31m·" in text
    assert "[bold]p" in text


def test_credentials_are_cut_from_urls(make_report):
    report = make_report(provenance={"uri": "https://me:secret@host/x"}, config={"list": ["s3://key:pw@b"]})
    cut = without_credentials(report)
    assert cut.provenance["uri"] == "https://host/x"
    assert cut.config == {"list": ["s3://b"]}


def test_numbers_read_well():
    assert number(-0.00004, 2) == "0.00"
    assert number(-1234.5, 1) == "−1,234.5"
    assert number(0.5, 2, sign=True) == "+0.50"
    assert [number(v) for v in (0.00012345, -0.000012345, 4e-8, 0)] == ["0.000123", "−1.234e−05", "4e−08", "0.0000"]
    assert [number(v, sign=True) for v in (999_999_999_999, 1e12, -2.34567e15)] == [
        "+999,999,999,999",
        "+1e+12",
        "−2.346e+15",
    ]
    assert [decimals(v) for v in (0, 48_213, 123.4, 5.3, 0.91, 0.0123)] == [4, 0, 1, 3, 4, 5]
    assert [percent(v) for v in (0, 1, 0.1234, 0.0123, 0.00012)] == ["0.000%", "100%", "12.3%", "1.23%", "0.012%"]
    assert plural(1, "row") == "1 row"
    assert plural(2000, "row") == "2,000 rows"


def test_an_edge_beside_zero_does_not_look_like_zero():
    assert interval(Estimate(value=0.01, low=0.0002, high=0.02), significant=2) == ("0.0100", "0.0002 to 0.0200")
    tiny, huge = Estimate(value=2e-8, low=-1.234567e-8, high=5e-8), Estimate(value=3e13, low=0, high=3.00001e13)
    assert interval(tiny, sign=True) == ("+2e−08", "−1.235e−08 to +5e−08")
    assert interval(huge) == ("3e+13", "0 to 3e+13")


def test_clean_keeps_scripts_and_drops_controls():
    assert clean("日本語 é") == "日本語 é"
    assert clean("a\u202eb\x00\n") == "a·b··"
    assert len(clean("x" * 10_000)) == 60


def test_axis_places_values_and_clips_them():
    axis = Axis(0.0, 4.0)
    assert [axis.at(v) for v in (-1, 0, 1, 4, 9)] == [0, 0, 25, 100, 100]
    assert axis.span(1, 3) == (25, 50)
    assert Axis.upto([]).at(0.5) == 50
    assert Axis.over([2.0, 2.0]).at(2.0) == 50


def test_regions_are_one_line_with_what_they_were_given(make_report):
    grid = Grid(
        column="photo", medium="image", channels=3, height=64, width=64, rows=8, cols=8, mean=(90.0,) * 3, deviation=(40.0,) * 3
    )  # fmt: skip
    report = make_report({"age": 0.4}, grids=(grid,))
    text = printed(terminal_summary(report))
    assert text.count("photo") == 2
    assert "64 regions" in text
    assert "of the multiply-accumulates" in text
    line = next(line for line in text.splitlines() if "multiply-accumulates  " in line)
    # an even split: 161,280 multiply-accumulates in each region with 8 channels of the first stage, and 1M in the backbone
    assert "even 11.3M" in line
    assert "multiply-accumulates  " not in printed(terminal_summary(make_report()))


def test_multiply_accumulates_beside_the_even_splits(make_report):
    grid = Grid(
        column="photo", medium="image", channels=3, height=16, width=16, rows=2, cols=2, mean=(90.0,) * 3, deviation=(40.0,) * 3
    )  # fmt: skip
    # levels 0, 1, 2 and 3 of 4: 12,672 + 43,776 + 93,312; the even split: 4 times 161,280; 1M in the backbone
    assert macs(make_report({"age": 0.4}, grids=(grid,))) == {
        "model": 1_149_760,
        "control": 1_645_120,
        "ratio": pytest.approx(1_149_760 / 1_645_120),
    }
    assert macs(make_report({"age": 0.4}, grids=(grid,), control_plan=None)) == {"model": 1_149_760}
    assert macs(make_report()) == {}
