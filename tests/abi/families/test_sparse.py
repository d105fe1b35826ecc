"""Weights that training dropped: what counts, and what is written."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from abi.families.sparse import PREFIX, add_masks, mask_name, masks_of, pack, parameters, unpack


class Tiny(nn.Module):
    """One matrix that may lose weights, one number that may not."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 2, bias=False)])
        self.scale = nn.Parameter(torch.ones(1))
        add_masks(self)
        with torch.no_grad():
            self.get_parameter("layers.0.weight").copy_(torch.tensor([[1.0, 0.0, -2.0], [0.0, 0.5, 0.0]]))
            self.get_buffer(mask_name("layers.0.weight")).copy_(torch.tensor([[1, 0, 1], [0, 1, 0]]))


def test_dropped_weights_are_no_parameters() -> None:
    assert parameters(Tiny()) == 3 + 1
    assert parameters(nn.Linear(3, 2)) == 8


def test_the_mask_belongs_to_its_tensor() -> None:
    assert list(masks_of(Tiny())) == ["layers.0.weight"]
    assert masks_of(nn.Linear(3, 2)) == {}


def test_packed_by_hand() -> None:
    packed = pack(Tiny().state_dict())
    assert packed["layers.0.weight"].tolist() == [1.0, -2.0, 0.5]
    assert packed[PREFIX + "layers/0/weight"].tolist() == [0b10101000]


def test_what_was_packed_is_unpacked() -> None:
    network, other = Tiny(), Tiny()
    with torch.no_grad():
        other.get_parameter("layers.0.weight").fill_(7.0)
    other.load_state_dict(unpack(pack(network.state_dict()), other))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_values_that_are_not_the_masks_are_refused() -> None:
    packed = pack(Tiny().state_dict())
    packed["layers.0.weight"] = packed["layers.0.weight"][:2]
    with pytest.raises(ValueError, match="has 2 values where its mask keeps 3"):
        unpack(packed, Tiny())


def test_a_network_that_drops_nothing_is_written_as_it_is() -> None:
    state: dict[str, Any] = nn.Linear(3, 2).state_dict()
    assert pack(state) == state
