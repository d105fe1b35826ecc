"""Modules, losses and optimizers by name."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from abi.errors import UsageError
from abi.execution.module import built, call, default_loss, load, load_loss, load_optimizer


def test_a_factory_is_found_by_name_and_again_in_another_process(odd):
    build = load(f"{odd}:Reads")
    assert type(built(build)).__name__ == "Reads"
    assert pickle.loads(pickle.dumps(build)) == build


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("torch.nn", "Expected package:factory"),
        ("no_such_package:f", "Expected an importable module, got 'no_such_package'"),
        ("odd_modules:missing", "Expected 'missing' in module 'odd_modules', got none"),
        ("odd_modules:constant", "to be callable, got int"),
    ],
)
def test_a_name_that_leads_nowhere_is_one_sentence(odd, spec, said):
    with pytest.raises(UsageError, match=r"^[^\n]*: [^\n]*\.$") as caught:
        load(spec)
    assert said in str(caught.value)


@pytest.mark.parametrize(("name", "said"), [("number", "got int"), ("frozen", "without any")])
def test_a_factory_has_to_give_a_module_that_can_be_trained(odd, name, said):
    with pytest.raises(UsageError, match=said):
        built(load(f"{odd}:{name}"))


def test_the_loss_is_the_output_itself_its_loss_or_a_mean_of_squares():
    number = torch.tensor(3.0)
    assert default_loss(number, {}) is not None
    assert default_loss(number, {}).item() == 3.0
    assert default_loss(SimpleNamespace(loss=number), {}) is number
    assert default_loss({"loss": number}, {}) is number
    two = torch.tensor([1.0, 3.0], requires_grad=True)
    assert default_loss(two, {}).item() == 5.0  # (1 + 9) / 2
    assert default_loss((two, {"more": [two]}), {}).item() == 10.0
    with pytest.raises(UsageError, match="floats to train on, got str"):
        default_loss("no", {})


def test_a_loss_and_an_optimizer_of_the_users(odd):
    assert load_loss(None) is default_loss
    assert load_loss(f"{odd}:weighted")(torch.ones(3), {}).item() == 6.0
    assert load_optimizer("AdamW") == "adamw"
    made = load_optimizer(f"{odd}:rates")([nn.Parameter(torch.ones(1))])
    assert made.defaults["lr"] == 0.5
    with pytest.raises(UsageError, match="Expected an optimizer of sgd, adamw, adafactor"):
        load_optimizer("adamz")


def test_arguments_go_by_name_where_the_module_has_them_else_in_order():
    linear = nn.Linear(2, 1)
    x = torch.ones(1, 2)
    assert torch.equal(call(linear, {"input": x}), call(linear, {"anything": x}))
