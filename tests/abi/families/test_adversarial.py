"""Steps on embeddings whose gradients are known."""

from __future__ import annotations

import torch

from abi.families.adversarial import fgsm


def test_a_step_follows_the_sign_and_has_its_share_of_the_norm() -> None:
    embedding = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    weights = torch.tensor([[1.0, -2.0], [0.5, 0.1]])
    moved = fgsm(embedding, lambda h: (h * weights).sum(), 0.1)
    # rows' norms are 5 and 2: each entry moves by 0.1 * norm / sqrt(2)
    step = torch.tensor([[0.5, -0.5], [0.2, 0.2]]) / 2**0.5
    torch.testing.assert_close(moved, embedding + step)
    torch.testing.assert_close((moved - embedding).norm(dim=1), torch.tensor([0.5, 0.2]))


def test_a_step_raises_the_loss_and_leaves_the_weights_gradients_alone() -> None:
    layer = torch.nn.Linear(4, 1)
    embedding, target = torch.randn(8, 4), torch.randn(8, 1)

    def loss(h: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.mse_loss(layer(h), target)

    with torch.no_grad():
        before, after = loss(embedding), loss(fgsm(embedding, loss, 0.1))
    assert after > before
    assert layer.weight.grad is None


def test_where_nothing_harms_nothing_moves() -> None:
    embedding = torch.ones(2, 3)
    torch.testing.assert_close(fgsm(embedding, lambda h: (h * 0).sum(), 0.5), embedding)
