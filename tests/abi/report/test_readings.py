"""Held-out texts with what the network made of them."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from abi.attention.fit import fit
from abi.config import load_config
from abi.data.memory import read_memory
from abi.data.words import spans
from abi.families.decision import Decision
from abi.families.family import judged
from abi.inputs.terms import located, terms_in
from abi.outcomes import Retrieval
from abi.planning.family import plan_family
from abi.report.collect import collect
from abi.report.exhibits import Exhibits, TextExample
from abi.report.modalities import modalities
from abi.report.page import render
from abi.report.text_examples import _best_window, by_word, chosen, contributions, text_examples
from abi.report.wording import alignment_sentence
from abi.scoring.score import score
from abi.training import family
from abi.types import Alignment, Envelope

LEARNING = {"epochs": 12, "batch_rows": 32, "learning_rate": 2e-2, "patience": 99}
SHORT = {
    "training.epochs": 6,
    "training.members": 2,
    "training.block_width": 16,
    "training.threads": 1,
    "training.device": "cpu",
}


@pytest.fixture(scope="module", params=["binary", "multiclass", "regression"])
def _run(toy, request):
    table = toy.texts(request.param, rows=240, numeric=1)
    attention = toy.attention(table.problem, frugal=True, terms=table.terms)
    return table, toy.fitted(table, attention=attention, envelope=Envelope(parameters=4000), **LEARNING)


@pytest.fixture(scope="module", name="run")
def _named(_run):
    return _run


def test_terms_add_up_to_the_slope_along_the_texts_embedding(run):
    table, fitted = run
    model, rows = fitted.model, table.validation.take(np.arange(2, 12))
    outputs = max(1, len(model.schema.classes)) if model.schema.task == "multiclass" else 1
    signs = torch.linspace(-1, 1, outputs).expand(10, -1) if outputs > 1 else torch.ones(10, 1)
    found = contributions(model, 0, rows, signs)
    network = model.network
    embedding = network.embed(network.encode(rows)).detach()
    scale = torch.ones(10, 1, requires_grad=True)
    text = (network.feature_of == 0).float()
    outputs_at = (network.attend(embedding * (1 + (scale - 1) * text)).mean(1) * signs).sum(1)
    (slope,) = torch.autograd.grad(outputs_at.sum(), scale)
    deviation = model.blueprint.preparation.target_deviation if model.schema.task == "regression" else 1.0
    np.testing.assert_allclose(
        [sum(terms.values()) for terms in found], slope[:, 0].numpy() * deviation, rtol=1e-3, atol=1e-5 * deviation
    )
    assert np.abs(slope.numpy()).max() > 1e-3


def test_without_a_layer_between_they_are_exactly_the_texts_part_of_the_logit(toy):
    table = toy.texts("binary", rows=160)
    attention = toy.attention(table.problem, frugal=True, terms=table.terms)
    model = toy.fitted(
        table,
        toy.config(**{"training.block_width": None}),
        attention=attention,
        envelope=Envelope(parameters=4000),
        epochs=4,
    ).model
    assert model.blueprint.capacity.blocks == 0
    rows = table.validation.take(np.arange(2, 8))
    found = contributions(model, 0, rows, torch.ones(6, 1))
    logits = model.network(model.network.encode(rows)).mean(1).squeeze(1).detach()
    bias = float(model.network.head.bias.detach().mean())
    np.testing.assert_allclose([sum(terms.values()) + bias for terms in found], logits.numpy(), rtol=1e-4, atol=1e-5)


def test_examples_of_a_model(run):
    table, fitted = run
    examples = text_examples(fitted.model, fitted.model, table.validation)
    assert 3 <= len(examples) <= 6
    task, classes = table.problem.schema.task, table.problem.schema.classes
    for one in examples:
        assert len(one.words) == len(one.contributions) == 8  # of each text
        assert list(one.shares) == sorted(one.shares, reverse=True)
        assert (one.probability is None) == (task == "regression")
        if task != "regression":
            assert {one.truth, one.predicted} <= set(classes)
            assert 1 / len(classes) <= one.probability <= 1
    if task != "regression":
        rights = [one.right for one in examples]
        assert rights == sorted(rights, reverse=True)
        telling = [one for one in examples if one.right]
        assert any(term.startswith("says") for one in telling for term in one.terms[:1])


def test_examples_are_of_different_classes_and_the_surest_mistakes(run):
    schema = run[0].problem.schema
    if schema.task != "multiclass":
        predicted = np.array([3.0, 1.0, 2.0, 9.0, 5.0])
        if schema.task == "regression":
            truth = np.array([3.0, 1.0, 2.0, 1.0, 5.5])
            assert chosen(schema, predicted, truth, [9, 9, 9, 9, 3]) == [
                1,
                0,
                3,
            ]  # lowest, middle, highest, which is furthest off
        return
    predicted = np.eye(3)[[0, 0, 1, 2, 1, 2]] * 0.6 + 0.1
    predicted[4] = [0.05, 0.9, 0.05]
    assert chosen(schema, predicted, np.array([0, 0, 1, 0, 0, 2]), [9] * 6) == [0, 2, 5, 4, 3]
    assert chosen(schema, predicted, np.array([0, 0, 1, 0, 0, 2]), [3, 9, 9, 0, 9, 9]) == [1, 2, 5, 4]


@pytest.fixture(scope="module", params=[1, 3])
def labelled(toy, request):
    """A network of texts with as many labels, each of them a word, and rows that it was not taught."""
    config = load_config(settings=SHORT, ambient=False)
    reader = read_memory(_labelled(300, request.param), "y", config, _labelled(80, request.param, seed=1))
    attention = fit(score(reader, config.scoring), None, config.attention)
    train, validation, test = (reader.load(role) for role in ("train", "validation", "test"))
    plan = plan_family(attention, Envelope(), config, toy.machine, train_rows=len(train), validation_rows=40)
    return family.train(plan, train, validation, config, seed=0).model, test


def _labelled(rows, labels, seed=0):
    random = np.random.default_rng(seed)
    has = random.random((rows, labels)) < 0.4
    plain = [" ".join(f"w{i}" for i in random.integers(0, 60, 6)) for _ in range(rows)]
    texts = [" ".join([text, *(f"says{i}" for i in np.flatnonzero(row))]) for text, row in zip(plain, has, strict=True)]
    return pd.DataFrame({"t": texts, "y": [[f"l{i}" for i in np.flatnonzero(row)] for row in has]})


def test_labels_are_said_by_the_models_thresholds_with_their_own_chance(labelled):
    model, test = labelled
    count = len(model.schema.classes)
    decision = Decision(thresholds=(0.99, 0.02, 0.5)[:count])
    model = replace(model, blueprint=replace(model.blueprint, decision=decision))
    chance, taken = model.predict_columns(test), judged(model, test) >= 0.5
    assert (taken != (chance >= 0.5)).any()
    examples = text_examples(model, model, test)
    assert {one.right for one in examples} == {True, False}
    assert {one.probability for one in examples} <= set(np.round(chance.max(axis=1).astype(float), 4).tolist())
    said = [", ".join(np.array(model.schema.classes)[row]) or "none" for row in taken]
    texts = [test.categorical[0].values[code] for code in test.categorical[0].codes]
    for one in examples:
        assert one.predicted == said[texts.index("".join(one.words))]


def test_words_share_their_terms():
    terms = {"a": 0.3, "b": -0.2, "a b": 0.1, "b a": 0.4}
    # "a b a": each a has half of 0.3; "a b" and "b a" give half to each of their words
    np.testing.assert_allclose(by_word(["a", "b", "a"], terms), [0.15 + 0.05, -0.2 + 0.05 + 0.2, 0.2 + 0.15])
    assert by_word([], terms) == []


def test_pieces_count_for_the_words_that_they_are_of():
    terms = {"~_ab": 0.5, "cat": 1.0}
    np.testing.assert_allclose(by_word(["abx", "cat", "aby"], terms), [0.25, 1.0, 0.25])


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("text", ["", "one", "a b a b, a", "we like \ue000 more than most of the others do"])
def test_located_terms_are_those_of_the_text(text, pieces):
    words = [word for word, _, _ in spans(text)]
    assert sorted(term for term, _ in located(words, pieces)) == sorted(terms_in(text, pieces))


def test_long_texts_are_cut_to_the_telling_stretch(run):
    shares = np.zeros(200)
    shares[150] = 1.0
    start = _best_window(shares)
    assert start <= 150 < start + 60
    assert _best_window(np.ones(10)) == 0


def test_the_page_colours_words(make_report):
    example = TextExample(
        feature="note <i>",
        truth=">50K",
        predicted="<=50K",
        probability=0.875,
        words=("Pay", " <me>", " \u202enow"),
        contributions=(0.5, -1.0, 0.0),
        terms=("pay", "<me>"),
        shares=(0.5, -1.0),
        cut=True,
    )
    right = replace(example, predicted=">50K", words=("ok",), contributions=(0.25,))
    html = render(make_report(exhibits=Exhibits(texts=(example, right), exact=True)))
    marks = re.findall(r'<mark class="(\w+)" style="--s:(\d+)%" title="([^"]+)">(.*?)</mark>', html)
    assert marks == [
        ("for", "50", "+0.50", "Pay"),
        ("against", "100", "−1.00", "&lt;me&gt;"),
        ("for", "25", "+0.25", "ok"),
    ]
    shown = html.split('<script type="application/json"')[0]
    assert "note &lt;i&gt;" in shown
    assert "\u202e" not in shown
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", shown))
    assert "wrong predicted &lt;=50K 87.5%, true &gt;50K" in text
    assert "right predicted &gt;50K 87.5%" in text
    assert "for: pay +0.50; against: &lt;me&gt; −1.00" in text
    assert "no layer lies between" in text


def test_collecting_gives_texts_and_what_each_modality_adds(run):
    table, fitted = run
    found = collect(table.problem.schema, fitted.model, table.train, table.validation, table.validation)
    assert found is not None
    assert found.texts
    assert [m.modality for m in found.modalities] == ["t0", "table"]
    for modality in found.modalities:
        assert modality.ablation.low < modality.ablation.value < modality.ablation.high
    text, numbers = (modality.ablation for modality in found.modalities)
    # the number tells which of two classes or which value it is; of three classes the word in the text tells more
    assert numbers.value > 0.02
    assert table.problem.schema.task != "multiclass" or text.value > 0.02


def test_a_row_per_modality_on_the_page(run, make_report):
    table, fitted = run
    found = collect(table.problem.schema, fitted.model, table.train, table.validation, table.validation)
    report = make_report()
    problem = replace(report.checks, problem=table.problem)
    evaluation = replace(report.evaluation, trained=fitted.trained)
    shown = modalities(replace(report, checks=problem, evaluation=evaluation, exhibits=found))
    rows = {row["name"]: row for row in shown["modalities"]}
    assert rows["table"]["features"] == "1 feature"
    assert rows["t0"]["features"] == "text"
    assert {rows["t0"]["share"], rows["table"]["share"]} == {"50.0%"}  # an even attention
    assert rows["table"]["loss"].startswith("+")


def test_how_modalities_were_aligned_stands_below_them(run, make_report):
    table, fitted = run
    report = make_report()
    plan = fitted.trained.plan
    plan = replace(plan, execution=replace(plan.execution, alignment=Alignment(weight=0.5, temperature=0.07)))
    reached = Retrieval(modalities=("t0", "table"), accuracy=0.4375, batch_rows=64, rows=128)
    for retrieval, said in (
        ((reached,), "t0 and table find their own row among 64 in 43.8% of 128 validation rows (chance 1.56%)"),
        ((), "there was no pair of modalities to align"),
    ):
        trained = replace(fitted.trained, plan=plan, retrieval=retrieval)
        evaluation = replace(report.evaluation, trained=trained)
        whole = replace(report, checks=replace(report.checks, problem=table.problem), evaluation=evaluation)
        assert modalities(whole)["aligned"] == f"weight 0.5 at temperature 0.07; {said}"
    assert alignment_sentence(fitted.trained) == ""
    assert alignment_sentence(replace(fitted.trained, plan=plan, family="trees")) == ""


def test_a_table_alone_has_no_exhibits(toy):
    table = toy.table()
    fitted = toy.fitted(table)
    assert collect(table.problem.schema, fitted.model, table.train, table.validation, table.validation) is None
