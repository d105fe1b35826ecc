"""The page of a run with texts: their terms, and an excerpt of their scores that can be read back."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from abi.outcomes import TermWidth
from abi.report.embed import unpack
from abi.report.page import render
from abi.report.text_examples import _said, chosen
from abi.types import FeatureCapacity, TermScores


class Page:
    """What a page carries: the text of its `abi-report` element, and all that is shown."""

    def __init__(self, html: str) -> None:
        shown, element = html.split('<script type="application/json" id="abi-report">')
        self.json = element.split("</script>")[0]
        self.text = re.sub(r"<[^>]*>", "", shown)


@pytest.fixture(scope="module")
def report(make_report):
    return make_report()


def _with_terms(report, texts, terms, found=0, name="{text} <b>{i}</b>\u202e"):
    """The report of a model with texts: `terms` of each listed by the model, and `found` more that the scores hold."""
    listed = tuple(
        TermWidth(feature=text, term=name.format(text=text, i=i), score=1 / (1 + i), width=32 - i)
        for text in texts
        for i in range(terms)
    )
    scored = tuple(_term_scores(text, [t for t in listed if t.feature == text], found) for text in texts)
    given = tuple(
        FeatureCapacity(
            feature=text, width=32, bins=0, rows=terms + found, parameters=99, reason="", entries=99, start_entries=99
        )
        for text in texts
    )

    def changed(trained):
        scores = replace(trained.plan.attention.scores, terms=scored)
        capacity = replace(trained.plan.capacity, features=(*trained.plan.capacity.features, *given))
        plan = replace(trained.plan, attention=replace(trained.plan.attention, scores=scores), capacity=capacity)
        return replace(trained, plan=plan, terms=listed)

    models = [changed(turn.trained) for turn in report.rounds]
    rounds = tuple(
        replace(turn, scores=m.plan.attention.scores, attention=m.plan.attention, plan=m.plan, trained=m)
        for turn, m in zip(report.rounds, models, strict=True)
    )
    kept = next(turn.trained for turn in rounds if turn.kept)
    control = replace(report.control_plan, attention=kept.plan.attention)
    return replace(report, rounds=rounds, evaluation=replace(report.evaluation, trained=kept), control_plan=control)


def _term_scores(text, listed, found):
    names = (*(t.term for t in listed), *(f"only in the scores {i}" for i in range(found)))
    count = len(names)
    return TermScores(
        feature=text,
        texts=900,
        terms=names,
        rows=tuple(float(700 + i) for i in range(count)),
        scores=tuple([0.25] * count),
        errors=tuple([0.0625] * count),
    )


def test_the_best_terms_of_a_text_are_shown_with_score_and_width(make_report):
    html = render(_with_terms(make_report(), ["title", "body"], 40))
    page = Page(html)
    assert html.count("<h3>Terms of") == 2
    assert html.count("title &lt;b&gt;") == 15
    assert "\u202e" not in page.text
    row = html.split("body &lt;b&gt;1&lt;/b&gt;")[1].split("</tr>")[0]
    assert "0.500" in row
    assert ">31<" in row
    assert html.count("<script") == 1


def test_tables_of_very_many_texts_are_capped_and_tables_without_texts_show_none(make_report, report):
    page = Page(render(_with_terms(make_report(), [f"t{i}" for i in range(9)], 2)))
    assert page.text.count("Terms of") == 6
    assert "3 more texts lie with the run" in page.text
    assert "Terms of" not in Page(render(report)).text


@pytest.fixture(scope="module")
def many_terms(make_report):
    """Two texts of 65,000 terms each over two rounds, as large as they get."""
    return _with_terms(make_report(), ["title", "body"], 60, found=65_000, name="{text} {i}")


def test_a_report_of_texts_with_very_many_terms_can_be_read_back(many_terms):
    html = render(many_terms)
    page = Page(html)
    assert len(html.encode()) < 500_000
    assert re.findall(r'(?:src|href)="([^#"][^"]*)"', html) == ["data:,"]
    assert json.loads(page.json)["left_out"] == []
    read = unpack(page.json)
    assert read.excerpt.left_out == {"title": 65_000, "body": 65_000}
    for text in ("title", "body"):
        kept = read.plan.attention.scores.terms_of(text)
        assert kept.terms == tuple(f"{text} {i}" for i in range(60))
        assert kept.rows[59] == 759
    assert replace(read.evaluation, trained=many_terms.evaluation.trained) == many_terms.evaluation
    assert read.checks == many_terms.checks


def test_terms_are_embedded_once_however_many_rounds_and_plans_hold_them(many_terms):
    page = Page(render(many_terms))
    kinds = [entry["kind"] for entry in json.loads(page.json)["values"].values()]
    assert kinds.count("TermScores") == 2
    assert kinds.count("Scores") == 2
    assert page.json.count('"body 59"') == 3  # in the scores, and as listed by each round's model


def test_ids_of_whole_values_lead_to_the_shortened_ones(many_terms):
    page = Page(render(many_terms))
    stored, read = json.loads(page.json)["values"], unpack(page.json)
    for whole, short in (
        (many_terms.evaluation, read.evaluation),
        (many_terms.evaluation.trained.plan, read.evaluation.trained.plan),
        (many_terms.plan.attention.scores, read.plan.attention.scores),
    ):
        assert whole.id in page.text
        assert short.id in stored
        assert short.id not in page.text
        assert read.whole_id(short) == whole.id
    assert read.whole_id(read.checks) == many_terms.checks.id
    assert "less 130,000 terms of texts that no model here lists" in page.text


def test_what_was_read_back_renders_to_the_same_page(many_terms, report):
    for given in (many_terms, report):
        html = render(given)
        assert render(unpack(Page(html).json)) == html
    assert unpack(Page(render(report)).json).excerpt is None


def test_a_text_shows_how_many_terms_it_has_and_in_how_many_texts_each_stands(many_terms):
    html = render(many_terms)
    assert "65,060 terms in 900 texts; the most useful 99 of 2,081,920 cells" in html
    row = html[html.index("title 1<") :].split("</tr>")[0]
    assert ">701<" in row
    # 0.5 with a standard error of 0.0625: 1.96 of them to each side
    assert 'style="left:37.75%;width:24.5%"' in row


def test_the_text_with_the_most_attention_comes_first(make_report):
    report = make_report({"a": 0.1, "b": 0.9}, rounds=1)
    html = render(_with_terms(report, ["a", "b"], 2))
    assert html.index("Terms of <bdi>b</bdi>") < html.index("Terms of <bdi>a</bdi>")


def test_rows_of_several_labels_are_right_where_the_whole_set_is(make_report):
    schema = replace(make_report().checks.problem.schema, task="multilabel", classes=("a", "b", "c"))
    predicted = np.array([[0.9, 0.1, 0.1], [0.2, 0.8, 0.7], [0.1, 0.6, 0.4], [0.3, 0.2, 0.1]])
    target = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 0], [0, 0, 0]], dtype=bool)
    assert chosen(schema, predicted, target, [9, 9, 9, 9]) == [0, 1, 3, 2]
    assert chosen(schema, predicted, target, [9, 1, 9, 9]) == [0, 3, 2]  # a text of one word shows little
    assert _said(schema, predicted[1]) == "b, c"
    assert _said(schema, target[3].tolist()) == "none"
