"""What one network takes over from another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from abi.families.artifact import Model, build
from abi.families.blend import Blend
from abi.families.preparation import prepare
from abi.families.transfer import Carried, Start, carry_over, matches, network_of
from abi.inputs.text import TextEncoder
from abi.problem import Feature, Schema

TASKS = ["binary", "multiclass", "regression"]


def _onto(toy: Any, table: Any, source: Model, pairs: dict[str, str], **capacity: Any) -> tuple[Model, Carried]:
    """A fresh network for `table` that starts from `source`."""
    config = toy.config(**capacity)
    attention = toy.attention(table.problem, terms=table.terms)
    plan = toy.plan(table.problem, config, attention)
    torch.manual_seed(99)
    preparation, fitting = prepare(table.problem.schema, plan.capacity, table.train, attention)
    blueprint = replace(source.blueprint, schema=table.problem.schema, capacity=plan.capacity, preparation=preparation, prior=tuple(w.weight for w in attention.weights))  # fmt: skip
    network = build(blueprint, masks=fitting.masks)
    found = carry_over(Start(source, pairs), network, table.problem.schema)
    network.eval()
    return Model(blueprint, network), found


def _same(names: list[str]) -> dict[str, str]:
    return {name: name for name in names}


@pytest.mark.parametrize("task", TASKS)
def test_onto_the_same_table_the_whole_function_is_carried_over(toy: Any, task: str) -> None:
    table = toy.table(task, numeric=3, categorical=2)
    source = toy.fitted(table, epochs=4).model
    with torch.no_grad():
        source.network.attention.offset.zero_()  # what training moved attention by is not carried over
    twin, found = _onto(toy, table, source, _same([f.name for f in table.problem.schema.features]))
    expected = source.predict_columns(table.validation)
    np.testing.assert_allclose(twin.predict_columns(table.validation), expected, atol=1e-4, rtol=1e-4)
    assert set(found.features) == {"x0", "x1", "x2", "c0", "c1"}
    assert (found.layers, found.outputs) == (2, {"binary": 1, "multiclass": 3, "regression": 1}[task])


@pytest.mark.parametrize("hidden", [24, 40])
def test_a_wider_backbone_goes_on_computing_the_same(toy: Any, hidden: int) -> None:
    table = toy.table("binary", numeric=2, categorical=1)
    source = toy.fitted(table, epochs=4).model
    with torch.no_grad():
        source.network.attention.offset.zero_()
    twin, _ = _onto(toy, table, source, _same(["x0", "x1", "c0"]), training__block_width=hidden)
    assert twin.network.hidden > source.network.hidden
    np.testing.assert_allclose(twin.predict_columns(table.validation), source.predict_columns(table.validation), atol=1e-4)  # fmt: skip
    further = twin.network.layers[0].weight[source.network.hidden :].detach()
    assert float(further.abs().min(dim=1).values.max()) > 0  # its further units are fresh, not dead


def test_a_narrower_one_takes_what_it_has_room_for(toy: Any) -> None:
    table = toy.table("binary", numeric=2, categorical=1)
    source = toy.fitted(table, toy.config(training__block_width=32)).model
    twin, found = _onto(toy, table, source, _same(["x0", "x1", "c0"]), training__block_width=16)
    torch.testing.assert_close(twin.network.layers[1].weight, source.network.layers[1].weight[:16, :16])
    assert found.layers == 2


def test_a_numeric_encoder_is_read_at_the_new_knots(toy: Any) -> None:
    """Other rows have other knots; at these both encoders give the same embedding, and for missing values too."""
    one, two = toy.table("binary", numeric=2, seed=0), toy.table("binary", numeric=2, seed=7)
    source = toy.fitted(one, epochs=4).model
    twin, found = _onto(toy, two, source, {"x0": "x0"})
    assert found.features == ("x0",)
    knots = np.array(twin.blueprint.preparation.edges[0])
    values = np.column_stack([knots, np.zeros_like(knots)])
    values = np.vstack([values, [np.nan, 0.0]])
    rows = replace(two.train, numeric=values, categorical=tuple(replace(c, codes=np.zeros(len(values), np.int32)) for c in two.train.categorical), target=None, row_numbers=np.arange(len(values)))  # fmt: skip
    for model in (source, twin):
        model.network.eval()
    with torch.no_grad():
        theirs, mine = (m.network.embed(m.network.encode(rows))[:, m.network.feature_of == 0] for m in (source, twin))
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_categories_are_carried_over_value_by_value(toy: Any) -> None:
    one = toy.table("binary", numeric=0, categorical=1, seed=0)
    source = toy.fitted(one, epochs=2).model
    renamed = replace(one.train.categorical[0], values=("red", "yellow", "blue"))  # blue and red have other places
    two = replace(one, train=replace(one.train, categorical=(renamed,)))
    twin, _ = _onto(toy, two, source, {"c0": "c0"})
    for word in ("blue", "red"):
        rows = [m.blueprint.preparation.vocabularies[0].index(word) for m in (source, twin)]
        torch.testing.assert_close(twin.network.category.tables[0][rows[1]], source.network.category.tables[0][rows[0]])  # type: ignore[union-attr]
    ends = source.network.category.tables[0][-2:]  # type: ignore[union-attr]
    torch.testing.assert_close(twin.network.category.tables[0][-2:], ends)  # type: ignore[union-attr]


def test_terms_that_both_know_keep_their_cells(toy: Any) -> None:
    table = toy.texts("multiclass")
    source = toy.fitted(table, epochs=3).model
    with torch.no_grad():
        source.network.attention.offset.zero_()
    twin, found = _onto(toy, table, source, {"t0": "t0"})
    mine, theirs = twin.network.texts[0], source.network.texts[0]
    assert isinstance(mine, TextEncoder)
    assert isinstance(theirs, TextEncoder)
    assert found.terms == len(source.blueprint.preparation.lexicons["t0"].terms)
    places = [m.blueprint.preparation.lexicons["t0"].place for m in (twin, source)]
    with torch.no_grad():
        for term in ("says0", "says1", "says2"):
            torch.testing.assert_close(mine.table()[places[0][term]], theirs.table()[places[1][term]])
    cells = mine.cell.numpy()
    assert (np.diff(cells) > 0).all()  # as before: in order, each once
    expected = source.predict_columns(table.validation)
    np.testing.assert_allclose(twin.predict_columns(table.validation), expected, atol=1e-4)


def test_nothing_matched_carries_nothing(toy: Any) -> None:
    table = toy.table("binary")
    source = toy.fitted(table).model
    _, found = _onto(toy, table, source, {})
    assert found == Carried((), 0, 0, 0, 0)


def _schema(kinds: dict[str, str]) -> Schema:
    features = tuple(Feature(name=n, column=n, kind=k, distinct=9, missing_share=0.0) for n, k in kinds.items())  # type: ignore[arg-type]
    return Schema(target="y", task="binary", classes=("n", "y"), features=features, set_aside=())


def test_features_are_matched_by_name_and_kind_and_texts_by_their_terms() -> None:
    here = _schema({"age": "numeric", "city": "categorical", "body": "text", "note": "text"})
    there = _schema({"age": "numeric", "city": "numeric", "title": "text", "who": "text"})
    known = {"body": ["profit", "rose"], "note": ["zebra"]}
    terms = {"title": ["profit", "fell"], "who": ["rose"]}
    # body shares one of its two terms with either: the first by name; note shares none
    assert matches(here, there, known, terms) == {"age": "age", "body": "title"}
    assert matches(here, there, {}, {}) == {"age": "age"}


def test_of_a_blend_the_network_is_taken(toy: Any) -> None:
    model = toy.fitted(toy.table("binary")).model
    assert network_of(Blend(model, model, 0.5)) is model


def test_layers_over_vectors_and_pictures_are_carried_over(toy: Any) -> None:
    table = toy.media()
    source = toy.fitted(table, epochs=3).model
    with torch.no_grad():
        source.network.attention.offset.zero_()
    names = [f.name for f in table.problem.schema.features]
    twin, found = _onto(toy, table, source, _same(names))
    np.testing.assert_allclose(twin.predict_columns(table.validation), source.predict_columns(table.validation), atol=1e-4)  # fmt: skip
    assert set(found.features) == set(names)
    scaled = toy.media()
    (vectors, *others) = scaled.train.categorical
    scaled = replace(scaled, train=replace(scaled.train, categorical=(replace(vectors, vectors=3 * vectors.vectors + 1), *others)))  # fmt: skip
    twin, _ = _onto(toy, scaled, source, _same(["e"]))
    one, other = (m.network.vectors[0](m.network.encode(table.validation).parts[1]) for m in (source, twin))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)  # standardised anew, the same function


def test_other_encoders_and_other_regions_start_from_nothing(toy: Any) -> None:
    table = toy.media()
    source = toy.fitted(table, epochs=1).model
    schema = table.problem.schema
    features = tuple(replace(f, encoder=replace(f.encoder, sha256="1" * 64)) if f.encoder else f for f in schema.features)  # fmt: skip
    changed = replace(table, problem=replace(table.problem, schema=replace(schema, features=features)))
    pairs = {f.name: f.name for f in features if f.name != "p3"}
    _, found = _onto(toy, changed, source, pairs)
    assert set(found.features) == {"x0"}


def test_heads_that_share_the_dimensions_are_carried_over(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abi.planning.backbone.SLICE_WIDTH", 2)
    table = toy.texts("multiclass")
    settings = {"training__members": 1}
    source = toy.fitted(table, toy.config(**settings), epochs=2).model
    assert source.network.slices > 1
    with torch.no_grad():
        source.network.attention.offset.zero_()
    twin, found = _onto(toy, table, source, {"t0": "t0"}, **settings)
    assert found.outputs == 3
    torch.testing.assert_close(twin.network.head.weight, source.network.head.weight)
    torch.testing.assert_close(twin.network.head.bias, source.network.head.bias)
