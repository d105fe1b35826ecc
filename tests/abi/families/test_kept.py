"""What training left, and what of it leads nowhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from abi.families.artifact import Blueprint, build
from abi.families.kept import kept_parameters, live_weights, table_rows
from abi.families.network import Network
from abi.families.preparation import prepare
from abi.families.sparse import masks_of
from abi.types import Envelope, Pruning


@pytest.fixture(name="network")
def _network(toy: Any) -> Network:
    """Two numeric features and a categorical one; two blocks of 16, two members."""
    table = toy.table("binary", numeric=2, categorical=1)
    plan = toy.plan(table.problem, toy.config(training__blocks=2))
    capacity = replace(plan.capacity, pruning=Pruning(parameters=1, macs=1))
    preparation, _ = prepare(table.problem.schema, capacity, table.train)
    prior = tuple(w.weight for w in plan.attention.weights)
    return build(
        Blueprint(
            family="network", schema=table.problem.schema, capacity=capacity, preparation=preparation,
            prior=prior, dropout=0.0,
        )
    )  # fmt: skip


def _mask(network: Network, name: str) -> torch.Tensor:
    return masks_of(network)[name]


def test_a_whole_network_is_alive(network: Network) -> None:
    masks = masks_of(network)
    assert {n: bool(m.all()) for n, m in live_weights(network, masks).items()} == dict.fromkeys(masks, True)


def test_kept_adds_up_to_all_parameters(network: Network) -> None:
    features, layers = kept_parameters(network)
    total = sum(p.numel() for p in network.parameters())
    assert layers.feature_extraction + layers.middle + layers.output == total
    # a feature's are its encoder's, K per width in the adapters and H per width in the first layer
    widths = torch.bincount(network.feature_of).tolist()
    encoders = total - layers.middle - layers.output - 3
    assert int(features.sum()) == encoders + sum(widths) * (2 + 16)


def test_the_cells_of_a_text_count_as_its_own(toy: Any) -> None:
    table = toy.texts("binary", numeric=1)
    attention = toy.attention(table.problem, [0.9, 0.5], 1.0, pruned=True, terms=table.terms)
    config = toy.config(training__block_width=64, training__members=4)
    fitted = toy.fitted(table, config, attention=attention, envelope=Envelope(parameters=800))
    capacity = fitted.trained.plan.capacity
    assert capacity.pruning is not None
    assert capacity.features[0].entries > 0
    text = fitted.trained.kept[0]
    assert 0 < text <= capacity.pruning.parameters
    assert sum(fitted.trained.kept) <= fitted.model.parameters <= 800


def test_a_hidden_unit_that_nothing_reads_is_dead(network: Network) -> None:
    _mask(network, "layers.1.weight")[:, 5] = False  # nothing of the second block reads unit 5 of the first
    live = live_weights(network, masks_of(network))
    assert not live["layers.0.weight"][5].any()
    assert not live["layers.0.bias"][5]
    assert live["layers.0.weight"][4].all()


def test_a_hidden_unit_that_reads_nothing_is_dead(network: Network) -> None:
    _mask(network, "layers.1.weight")[7] = False
    live = live_weights(network, masks_of(network))
    assert not live["head.weight"][:, 7].any()
    assert not live["layers.1.bias"][7]


def test_what_no_column_reads_is_dead_in_the_encoder(network: Network) -> None:
    unit = 3
    _mask(network, "layers.0.weight")[:, unit] = False
    live = live_weights(network, masks_of(network))
    assert not live["adapter.weight"][:, unit].any()
    feature = int(network.feature_of[unit])
    first = int((network.feature_of == feature).nonzero()[0])
    dead = {name: int((~mask).sum()) for name, mask in live.items() if name.startswith(("numeric", "category"))}
    rows = {name: owners == feature for name, owners in table_rows(network).items()}
    for name, mine in rows.items():
        # of the feature's own rows one column, of the others' none
        assert dead[name] == int(mine.sum())
        assert not mine.any() or not live[name][mine][:, unit - first].any()


def test_dropping_the_output_kills_everything(network: Network) -> None:
    _mask(network, "head.weight").zero_()
    assert not any(mask.any() for mask in live_weights(network, masks_of(network)).values())


def test_masks_are_not_changed(network: Network) -> None:
    _mask(network, "layers.1.weight")[7] = False
    before = {name: mask.clone() for name, mask in masks_of(network).items()}
    live_weights(network, masks_of(network))
    assert all(torch.equal(before[name], mask) for name, mask in masks_of(network).items())
