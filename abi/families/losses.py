"""The loss of training: the mean of the members' losses."""

from __future__ import annotations

from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from abi.problem import Task


def members_loss(
    out: Float[Tensor, "B K C"], target: Shaped[Tensor, " B"], task: Task, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Each member is trained on its own (TabM): cross entropy, or squared error of the standardised target.

    `smoothing` is the share of a label's probability that is spread over all classes (Szegedy et al. 2016).
    """
    members = out.shape[1]
    if task == "multiclass":
        return F.cross_entropy(out.flatten(0, 1), target.repeat_interleave(members), label_smoothing=smoothing)
    flat = out.squeeze(-1)
    wide = target.to(flat.dtype).unsqueeze(1).expand(-1, members)
    if smoothing and task == "binary":
        wide = wide * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(flat, wide) if task == "binary" else F.mse_loss(flat, wide)
