"""Networks that read texts word after word: planned, trained, resumed, stored, carried over."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abi.adapting.carry import carry
from abi.data.columns import Codes
from abi.execution.footprint import footprint
from abi.execution.target import Target
from abi.families.artifact import Model, build, load
from abi.families.kept import table_rows
from abi.inputs.sequence import SequenceEncoder
from abi.planning.cost import Workload, sequence_macs
from abi.planning.split import macs_of
from abi.planning.traced import training_of
from abi.problem import Feature, Reading
from abi.training import loop
from abi.types import Hardening, Plan
from tests.abi.training.conftest import Kept

LENGTH = 10
WORK = Workload(train_rows=180, validation_rows=60, numeric=3, categorical=2, outputs=1)


def _phrase(label: int, random: np.random.Generator) -> str:
    """Ten words, with "alpha _ omega" or the other way round: what stands between them and beside them is anything."""
    words = [f"w{i}" for i in random.integers(0, 20, LENGTH)]
    at = int(random.integers(0, LENGTH - 2))
    words[at], words[at + 2] = ("alpha", "omega") if label else ("omega", "alpha")
    return " ".join(words)


@pytest.fixture(scope="module", name="phrases")
def _phrases(toy: Any) -> Any:
    """A text that terms cannot tell apart, beside numbers that say nothing; the first text is missing, the second empty."""
    table = toy.texts(rows=480, numeric=3)
    random = np.random.default_rng(1)
    parts = []
    for part in (table.train, table.validation):
        texts = [_phrase(int(label), random) for label in part.target]
        codes = np.arange(len(texts), dtype=np.int32)
        codes[0], texts[1] = -1, ""
        column = Codes(codes, tuple(texts))
        parts.append(replace(part, categorical=(column, column), numeric=random.normal(size=part.numeric.shape)))
    read = Feature(
        name="t0:sequence", column="t0", kind="sequence", distinct=480, missing_share=0.0,
        words=Reading(length=LENGTH, known=22),
    )  # fmt: skip
    schema = table.problem.schema
    schema = replace(schema, features=(schema.features[0], read, *schema.features[1:]))
    return replace(table, problem=replace(table.problem, schema=schema), train=parts[0], validation=parts[1])


def _plan(toy: Any, phrases: Any, values: Any = None, **asked: Any) -> Plan:
    attention = toy.attention(phrases.problem, values, None if values is None else 0.5, terms=phrases.terms)
    envelope = {name: asked.pop(name) for name in ("parameters", "memory_bytes") if name in asked}
    plan: Plan = toy.plan(phrases.problem, asked.pop("config", None), attention, **envelope)
    return replace(plan, execution=replace(plan.execution, **asked))


def _train(toy: Any, phrases: Any, plan: Plan, **more: Any) -> Any:
    return loop.train(plan, phrases.train, phrases.validation, toy.config(), seed=0, **more)


@pytest.fixture(scope="module", name="model")
def _model(toy: Any, phrases: Any) -> Model:
    found: Model = _train(toy, phrases, _plan(toy, phrases, epochs=60, patience=60)).model
    return found


def test_it_tells_what_bags_cannot(phrases: Any, model: Model) -> None:
    right = (model.predict_columns(phrases.validation).argmax(1) == phrases.validation.target)[2:]
    assert right.mean() > 0.95
    backwards = replace(phrases.validation, categorical=tuple(_turned(c) for c in phrases.validation.categorical))
    assert (model.predict_columns(backwards).argmax(1) == backwards.target)[2:].mean() < 0.05


def _turned(column: Codes) -> Codes:
    return replace(column, values=tuple(" ".join(reversed(text.split())) for text in column.values))


def test_texts_that_are_missing_empty_or_strange_are_predicted(phrases: Any, model: Model) -> None:
    column = Codes(np.array([-1, 0, 1], np.int32), ("", "never seen"))
    rows = replace(phrases.validation.take(np.zeros(3, np.int64)), categorical=(column, column))
    found = model.predict_columns(rows)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[0], found[1])


def test_saved_and_loaded_it_predicts_the_same_bits(phrases: Any, model: Model, tmp_path: Path) -> None:
    for name, content in model.files().items():
        (tmp_path / name).write_bytes(content)
    again = load(tmp_path)
    assert again.artifact == model.artifact
    np.testing.assert_array_equal(again.predict_columns(phrases.validation), model.predict_columns(phrases.validation))
    words = json.loads((tmp_path / "model.json").read_bytes())["preparation"]["words"]
    assert set(words[0]["words"]) == {"alpha", "omega", *(f"w{i}" for i in range(20))}


def test_the_plan_says_what_the_network_has(toy: Any, phrases: Any) -> None:
    plan = _plan(toy, phrases)
    model = _train(toy, phrases, replace(plan, execution=replace(plan.execution, epochs=1))).model
    encoder = model.network.sequences[0]
    assert isinstance(encoder, SequenceEncoder)
    given = plan.capacity.features[1]
    owners = table_rows(model.network)
    assert {int(owners[n][0]) for n in owners if n.startswith("sequences")} == {1}
    above = given.width * (
        plan.capacity.block_width + plan.capacity.members if plan.capacity.blocks else plan.capacity.members
    )
    assert sum(p.numel() for p in encoder.parameters()) + above == given.parameters
    assert given.length == LENGTH
    assert macs_of(plan.capacity, WORK) > sequence_macs(plan.capacity) > 0


def test_traced_it_has_the_plans_parameters(toy: Any, phrases: Any) -> None:
    plan = _plan(toy, phrases)
    traced = footprint(training_of(plan, 0.01), target=Target(kind="gpu"))
    given = plan.capacity.features[0]
    assert traced.uncounted == ()
    assert traced.parameters == plan.predicted.parameters + given.start_entries - given.entries


def test_a_small_envelope_gives_it_less(toy: Any, phrases: Any) -> None:
    whole = _plan(toy, phrases)
    small = _plan(toy, phrases, parameters=whole.predicted.parameters // 3)
    assert small.predicted.parameters <= whole.predicted.parameters // 3
    one, other = (plan.capacity.features[1] for plan in (whole, small))
    assert (other.width, other.parameters) < (one.width, one.parameters)


def test_attention_moves_channels_within_the_even_splits_budget(toy: Any, phrases: Any) -> None:
    config = toy.config(training__block_width=96, training__members=8)
    even = _plan(toy, phrases, config=config)
    less = _plan(toy, phrases, [0.9, 0.1, 0.9, 0.9, 0.9], config=config)
    more = _plan(toy, phrases, [0.1, 0.9, 0.1, 0.1, 0.1], config=config)
    widths = [plan.capacity.features[1].width for plan in (less, even, more)]
    assert widths == sorted(set(widths))
    assert max(macs_of(p.capacity, WORK) for p in (less, more)) <= macs_of(even.capacity, WORK)
    assert max(p.predicted.parameters for p in (less, more)) <= even.predicted.parameters


@pytest.mark.parametrize(
    "how",
    [
        {"average": 0.9, "micro_batch": 50},
        {"hardening": Hardening(mixup=0.5, corruption=0.1, missing=0.1, adversarial="fgsm")},
    ],
)
def test_resumed_it_ends_bit_for_bit_as_undisturbed(toy: Any, phrases: Any, how: Any) -> None:
    config = toy.config(training__checkpoint="1us")
    plan = _plan(toy, phrases, epochs=3, **how)
    saved = Kept()
    first = loop.train(plan, phrases.train, phrases.validation, config, seed=0, checkpoints=saved)
    second = loop.train(plan, phrases.train, phrases.validation, config, seed=0, checkpoints=Kept(saved.all[1]))
    assert second.trained.artifact == first.trained.artifact


def test_the_same_plan_takes_over_words_and_convolutions(model: Model) -> None:
    torch.manual_seed(7)
    new = Model(model.blueprint, build(model.blueprint))
    carry(model, new)
    for one, other in zip(model.network.sequences.parameters(), new.network.sequences.parameters(), strict=True):
        assert torch.equal(one, other)
