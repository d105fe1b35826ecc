from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import rfc8785

from abi.outcomes import Convergence
from abi.problem import Check, SetAside
from abi.report import charts
from abi.report.embed import pack, unpack
from abi.report.page import draw, render
from abi.types import Envelope, Estimate, LayerSplit, Pruning, ScoreBlend, Trial

SECTIONS = ["verdict", "checks", "scores", "attention", "plan", "actual", "where", "quality", "provenance"]
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects what a browser would: open elements, ids, requests, script texts, plain text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.sections: list[str] = []
        self.requests: list[str] = []
        self.scripts: list[dict[str, str | None]] = []
        self.json = ""
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        self._note(tag, found)

    def handle_startendtag(self, tag, attrs):
        self._note(tag, dict(attrs))

    def _note(self, tag, found):
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "section":
            self.sections.append(found["id"])
        if tag == "script":
            self.scripts.append(found)
        assert not any(name.startswith("on") for name in found), "no event handlers"
        for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            if name in found and not found[name].startswith("#"):
                self.requests.append(found[name])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.json += data
        elif not (self.open and self.open[-1] == "style"):
            self.text += data


def names(count):
    return {f"sensor_{i:04d}": (i * 37 % 101) / 101 for i in range(count)}


@pytest.fixture(scope="module")
def report(make_report):
    return make_report()


@pytest.fixture(scope="module")
def page(report):
    return Page(render(report))


def test_the_sections_stand_in_the_order_of_the_argument(page):
    assert page.sections == SECTIONS
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))


def test_no_request_to_any_other_place(report, page):
    html = render(report)
    assert page.requests == ["data:,"]
    assert [script["type"] for script in page.scripts] == ["application/json"]
    assert "@import" not in html
    targets = re.findall(r"url\(([^)]*)\)", html)
    assert targets
    assert all(target.startswith("#chart-") for target in targets)
    assert re.sub(r'xmlns(:xlink)?="[^"]*"', "", html).count("http") == 1  # the name http-equiv
    assert "default-src 'none'" in html


def test_references_inside_the_charts_lead_somewhere(report, page):
    html = render(report)
    wanted = set(re.findall(r'url\(#([^)]*)\)|xlink:href="#([^"]*)"', html))
    assert {a or b for a, b in wanted} <= set(page.ids)
    assert html.count('role="img"') == 3


def test_the_embedded_json_is_the_report(report, page):
    assert unpack(page.json) == report
    assert page.scripts[0]["id"] == "abi-report"


def test_each_value_is_embedded_once_by_its_id(report, page):
    stored = json.loads(page.json)["values"]
    kinds = [entry["kind"] for entry in stored.values()]
    # two rounds of Scores, Attention, Plan, Trained, and the control's plan, which shares the last attention
    assert sorted(kinds) == sorted(
        ["Snapshot", "Problem", "Checks", "Evaluation", *["Scores", "Attention", "Trained"] * 2, *["Plan"] * 3]
    )
    for key in (report.plan.id, report.checks.id, report.evaluation.id):
        assert key in stored
        assert key in page.text


def test_a_changed_value_is_noticed(page):
    changed = json.loads(page.json)
    entry = next(e for e in changed["values"].values() if e["kind"] == "Evaluation")
    entry["value"]["rows"] += 1
    with pytest.raises(Exception, match="changed after it was written"):
        unpack(json.dumps(changed))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"report": {}}'])
def test_other_json_is_refused(text):
    with pytest.raises(Exception, match="Expected the JSON of an ABI report"):
        unpack(text)


def test_same_report_same_bytes(make_report):
    assert render(make_report()) == render(make_report())


def test_sections_that_are_drawn_already_make_the_same_page(make_report):
    report = make_report()
    final = replace(report, provenance={"model": "models:/shop/7", **report.provenance})
    assert render(final, draw(report)) == render(final) != render(report)


def test_names_cannot_break_out(make_report):
    evil = [
        "<script>alert(1)</script>",
        "</script><img src=x onerror=alert(1)>",
        '" onclick="x',
        "{{ 7*7 }}",
        "a\u202eb\x1b[0m",
    ]
    report = make_report(
        dict.fromkeys(evil, 0.5),
        name="</title><script>x</script>",
        data_name="<b>.csv",
        provenance={"<i>": "</script>"},
        config={"k": "</pre></script><script>"},
        timings_s={"<u>": 1.0},
    )
    html = render(report)
    page = Page(html)
    assert len(page.scripts) == 1
    assert page.requests == ["data:,"]
    assert page.sections == SECTIONS
    assert evil[0] in page.text
    assert "{{ 7*7 }}" in page.text
    assert "\u202e" not in page.text
    assert "\x1b" not in html
    assert unpack(page.json) == report


def test_five_thousand_features_stay_under_500_kb(make_report):
    results = tuple(
        Check(
            name="range", column=f"sensor_{i:04d}", severity="warning", status="failed", expected="0 to 1", observed="2"
        )
        for i in range(5000)
    )
    report = make_report(names(5000), rounds=1)
    html = render(replace(report, checks=replace(report.checks, results=results)))
    page = Page(html)
    assert len(html.encode()) < 500_000
    assert "All 5,000 features as CSV" in page.text
    left_out = json.loads(page.json)["left_out"]
    assert {"Problem", "Scores"} <= {entry["kind"] for entry in left_out}
    assert report.plan.attention.scores.id in {entry["id"] for entry in left_out}
    with pytest.raises(Exception, match="leaves out"):
        unpack(page.json)


def test_very_long_texts_stay_under_500_kb(make_report):
    long = {f"{'名' * 10_000}{i}": 0.5 for i in range(40)}
    report = make_report(
        long,
        rounds=1,
        data_name="d" * 10_000,
        provenance={f"k{i}": "v" * 10_000 for i in range(5)},
        config={"columns": dict.fromkeys(long, "numeric")},
    )
    html = render(report)
    assert len(html.encode()) < 500_000
    assert "名" * 59 + "…" in Page(html).text
    assert "名" * 200 not in Page(html).text


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_tasks_without_calibration_or_slices(make_report, task):
    page = Page(render(make_report(task=task)))
    assert page.sections == SECTIONS
    assert "Calibration" not in page.text
    assert ("Slices" in page.text) == (task == "multiclass")


def test_one_feature(make_report):
    page = Page(render(make_report({"x": 0.4}, rounds=1)))
    assert "The one feature has all the weight." in page.text
    assert "1 feature to predict" in page.text


def test_zero_signal_is_said(make_report):
    page = Page(render(make_report(dict.fromkeys("abc", 0.0), rounds=1, temperature=None)))
    assert "No feature tells more about the target than a shuffled one would" in page.text
    assert "Every feature has the same weight" in page.text
    assert page.text.count("no signal") == 3


def test_a_feature_that_tells_something_beside_others_alone_is_marked(make_report):
    report = make_report({"a": 0.8, "b": 0.0}, rounds=1)
    first, second = report.plan.attention.scores.features
    features = (first, replace(second, carries_signal=True, beside=0.001))
    attention = replace(report.plan.attention, scores=replace(report.plan.attention.scores, features=features))
    trained = replace(report.evaluation.trained, plan=replace(report.plan, attention=attention))
    page = Page(render(replace(report, evaluation=replace(report.evaluation, trained=trained))))
    assert page.text.count("beside others") == 1 + 1  # the tag, and the list's column
    assert "1 tells nothing alone, but something beside the others." in page.text
    assert "no signal" not in page.text


def test_a_feature_that_gets_nothing_is_marked_and_comes_last(make_report):
    report = make_report({"first": 0.5, "second": 0.5, "third": 0.5}, rounds=1, temperature=None)
    first, *others = report.plan.capacity.features
    capacity = replace(report.plan.capacity, features=(replace(first, width=0), *others))
    trained = replace(report.evaluation.trained, plan=replace(report.plan, capacity=capacity))
    page = Page(render(replace(report, evaluation=replace(report.evaluation, trained=trained))))
    assert page.text.count("no width") == 1
    section = page.text[page.text.index("how the scores became weights") :]
    assert section.index("second") < section.index("third") < section.index("first no width")


def test_without_controls_checks_curves_and_limits(make_report):
    report = make_report(rounds=1)
    trained = replace(report.evaluation.trained, history=(), plan=replace(report.plan, envelope=Envelope()))
    bare = replace(
        report,
        control_plan=None,
        rounds=(),
        checks=replace(report.checks, results=()),
        evaluation=replace(report.evaluation, trained=trained, controls=(), slices=(), calibration=None),
        timings_s={},
        provenance={},
        config={},
    )
    page = Page(render(bare))
    assert page.sections == SECTIONS
    assert "nothing was trained to compare it with" in page.text
    assert "No limits were set." in page.text
    assert unpack(page.json) == bare


def test_warnings_are_written_out_and_counted(page):
    text = re.sub(r"\s+", " ", page.text)
    assert "15 passed 2 warnings 0 failed" in text  # 14 null checks and the duplicates; leak and overlap warn
    assert "expected at most 0.99 of the target told by one feature; found 0.994" in text
    assert "test overlap (could not be evaluated)" in text
    assert "a different value in almost every row: 21,648 of 32,561" in text


def test_many_set_aside_columns_are_capped(make_report):
    report = make_report(rounds=1)
    schema = report.checks.problem.schema
    many = tuple(SetAside(column=f"id_{i}", kind="id", reason="an id") for i in range(3000))
    problem = replace(report.checks.problem, schema=replace(schema, set_aside=many))
    page = Page(render(replace(report, checks=replace(report.checks, problem=problem))))
    assert "2,990 more columns set aside" in page.text
    assert "id_199" in page.text
    assert "id_200" not in page.text


def test_over_the_envelope_is_named(make_report):
    report = make_report(rounds=1)
    plan = replace(report.plan, envelope=Envelope(parameters=150_000, train_time_s=60.0))
    evaluation = replace(report.evaluation, trained=replace(report.evaluation.trained, plan=plan))
    page = Page(render(replace(report, evaluation=evaluation)))
    assert "Over the envelope: training time." in page.text


def test_credentials_do_not_reach_the_page(make_report):
    uri = "postgresql://robot:hunter2@db:5432/mlflow"
    html = render(make_report(config={"tracking": {"uri": uri}}, provenance={"tracking": uri}))
    assert "hunter2" not in html
    assert html.count("postgresql://db:5432/mlflow") == 4  # shown and embedded, twice each


def test_pack_keeps_to_its_limit(report):
    whole = pack(report, 10**9)
    for limit in (len(whole) // 3, 2 * len(whole) // 3):
        part = pack(report, limit)
        assert len(part) < limit
        assert json.loads(part)["left_out"]
    assert json.loads(whole)["left_out"] == []


def test_charts_carry_no_colour_font_or_rule_of_their_own(report):
    svg = charts.loss_curve(report.evaluation.trained.history, 14)
    assert "var(--model)" in svg
    assert "currentColor" in svg or "var(--muted)" in svg
    assert not re.search(r"#0\d0\d0\d|DejaVu|<style|<metadata|<\?xml|<!DOCTYPE", svg)
    assert 'viewBox="' in svg
    assert " width=" not in svg[: svg.index(">")]


def test_a_single_epoch_is_drawn_as_a_point(report):
    svg = charts.metric_curve([report.evaluation.trained.history[:1]], 0, "roc_auc")
    assert "<use" in svg


def test_gain_marks_stand_on_their_side_of_zero(make_report):
    html = render(
        make_report(
            uniform=Estimate(value=0.2, low=0.1, high=0.3),
            baseline=Estimate(value=-0.2, low=-0.3, high=-0.1),
        )
    )
    gains = html[html.index('class="forest gains"') : html.index("</ul>")]
    zero = float(re.search(r'class="zero" style="left:([\d.]+)%', gains)[1])
    dots = [float(x) for x in re.findall(r'class="dot" style="left:([\d.]+)%', gains)]
    assert zero == pytest.approx(50)  # symmetric values
    assert dots == [pytest.approx(50 + 0.2 / 0.672 * 100, abs=0.01), pytest.approx(50 - 0.2 / 0.672 * 100, abs=0.01)]


def test_one_feature_has_no_bars_of_attention_and_an_output_layer_alone_no_backbone(make_report):
    report = make_report({"x": 0.4}, rounds=1)
    kept = report.evaluation.trained
    size = replace(
        kept.plan.capacity,
        blocks=0,
        block_width=0,
        layers=LayerSplit(feature_extraction=900, middle=0, output=7),
    )
    kept = replace(kept, plan=replace(kept.plan, capacity=size))
    html = render(replace(report, evaluation=replace(report.evaluation, trained=kept), control_plan=None))
    section = html[html.index('id="attention"') : html.index('id="plan"')]
    assert 'class="bars' not in section
    assert "No backbone" in html
    assert "0 blocks" not in html
    assert "0.000%" not in html


def test_no_difference_at_all_is_said_without_an_interval(make_report):
    page = Page(render(make_report(uniform=Estimate(value=0.0, low=0.0, high=0.0))))
    gains = page.text[page.text.index("over the even split") : page.text.index("over the baseline")]
    assert gains.split()[-3:] == ["0", "no", "difference"]


def test_a_frugal_split_is_not_called_even(make_report):
    report = make_report(rounds=1, temperature=None)
    assert "Every feature has the same weight" in Page(render(report)).text
    kept = report.evaluation.trained
    attention = replace(
        kept.plan.attention,
        frugal=True,
        trials=(
            Trial(temperature=None, loss=0.5, metric=0.5),
            Trial(temperature=None, loss=0.4, metric=0.6, frugal=True),
            Trial(temperature=0.4, loss=0.45, metric=0.6, frugal=True),
        ),
    )
    kept = replace(kept, plan=replace(kept.plan, attention=attention, allocation="attention"))
    turn = replace(report.rounds[0], attention=attention, trained=kept)
    html = render(replace(report, rounds=(turn,), evaluation=replace(report.evaluation, trained=kept)))
    page = Page(html)
    assert "Every feature has the same weight" not in page.text
    assert "The even split was kept" not in page.text
    assert "at temperature None" not in page.text
    assert "The split is frugal" in page.text
    assert "frugal split chosen" in page.text
    assert html.count(">chosen<") == 1
    assert "temperature 0.4, frugal" in page.text
    assert "The features have equal weights." in page.text
    assert "the flatter one is taken" not in page.text  # the chosen one has the least loss


def test_a_choice_that_has_not_the_least_loss_is_explained(make_report):
    report = make_report(rounds=1, temperature=1.0)  # a loss of 0.2866, where temperature 0.4 has 0.2849
    assert "the flatter one is taken" in Page(render(report)).text


def test_equal_weights_have_no_whiskers_and_stand_in_the_order_that_training_gave_them(make_report):
    report = make_report({"a": 0.1, "b": 0.1}, rounds=1, temperature=None)
    kept = report.evaluation.trained
    flat = tuple(replace(w, low=w.weight, high=w.weight) for w in kept.plan.attention.weights)
    plan = replace(kept.plan, attention=replace(kept.plan.attention, weights=flat))
    kept = replace(kept, plan=plan, attention=(0.4, 0.6))
    html = render(replace(report, evaluation=replace(report.evaluation, trained=kept), rounds=()))
    section = html[html.index('id="attention"') : html.index('id="plan"')]
    assert "50.0% to 50.0%" not in section
    assert "whiskers follow" not in section
    assert section.index("<bdi>b</bdi>") < section.index("<bdi>a</bdi>")


def test_a_fitted_blend_is_told_with_what_it_brought(make_report):
    report = make_report()
    kept = report.evaluation.trained
    blend = ScoreBlend(relevance=0.2, discrimination=0.8, complexity=0.5, divergence=0.0417, divergence_default=0.193)
    trials = (
        Trial(temperature=None, loss=0.5, metric=0.5),
        Trial(temperature=0.4, loss=0.45, metric=0.6),
        Trial(temperature=0.4, loss=0.4, metric=0.6, blended=True),
    )
    attention = replace(kept.plan.attention, blend=blend, trials=trials)
    kept = replace(kept, plan=replace(kept.plan, attention=attention))
    html = render(replace(report, evaluation=replace(report.evaluation, trained=kept)))
    text = Page(html).text
    assert "relevance counts 20.0%, discrimination 80.0%, and complexity adds up to 50.0%" in text
    assert "0.042 nats, with the settings' blend 0.193" in text
    assert "fitted blend at temperature 0.4 chosen" in text
    assert html.count(">chosen<") == 1
    assert "blend was fitted" not in Page(render(report)).text


@pytest.mark.parametrize(("converged", "word"), [(True, "has converged"), (False, "has not converged")])
def test_the_rounds_show_what_still_moved(make_report, converged, word):
    report = make_report()
    ends = [
        Convergence(movement=0.12, plan_change=0.3, converged=False),
        Convergence(movement=0.034, plan_change=0.015, converged=converged),
    ]
    turns = tuple(replace(r, convergence=c) for r, c in zip(report.rounds, ends, strict=True))
    text = Page(render(replace(report, rounds=turns))).text
    assert f"Attention {word}: the last model would move 3.40% of attention and 1.50% of the plan." in text
    assert "12.0%" in text
    assert "converged:" not in Page(render(report)).text


def test_a_pruned_plan_shows_what_training_left(make_report):
    report = make_report()
    assert "left" not in Page(render(report)).text.partition("Width of each feature")[2].partition("Plan against")[0]
    kept = report.evaluation.trained
    names = [f.feature for f in kept.plan.capacity.features]
    left = tuple(1_000 + i for i in range(len(names)))
    capacity = replace(kept.plan.capacity, pruning=Pruning(parameters=9_000, macs=50_000))
    attention = replace(kept.plan.attention, frugal=True, pruned=True)
    kept = replace(
        kept,
        plan=replace(kept.plan, capacity=capacity, attention=attention),
        kept=left,
        layers=LayerSplit(feature_extraction=4_000, middle=4_500, output=500),
    )
    text = Page(render(replace(report, evaluation=replace(report.evaluation, trained=kept)))).text
    assert "It is pruned" in text
    assert "what training left 9k parameters" in text
    assert "1k of" in text
    widths = text.partition("Width of each feature")[2]
    assert widths.index(names[-1]) < widths.index(names[0]), "what kept most comes first"


def test_a_report_is_written_as_the_library_writes_all_of_it(make_report):
    report = make_report()
    assert report.rounds[0].plan.attention.written in report.rounds[0].plan.written
    assert report.canonical() == rfc8785.dumps(report.to_json())
