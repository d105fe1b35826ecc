"""Where training starts: heads of labels at how often each stands in the training rows, texts at what was fitted of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool
from scipy.special import logit

from abi.families.network import Network
from abi.inputs.linear_text import LinearText
from abi.inputs.text import TextEncoder
from abi.problem import Schema

LEAST_SHARE: Final = 1e-3
QUIET: Final = 0.3
"""The heads' weights start this much smaller, so that the shares are what is predicted first."""


def start_at_shares(network: Network, target: Bool[np.ndarray, "rows labels"]) -> None:
    """Biases become the log odds of each label (Lin et al. 2017, "Focal loss", sec. 4.1, for rare classes).

    Without it the first epochs go into learning that most labels are rare: on nlupp, micro F1 was .03 lower.
    """
    odds = logit(np.clip(target.mean(axis=0), LEAST_SHARE, 1 - LEAST_SHARE))
    with torch.no_grad():
        network.head.bias.copy_(torch.from_numpy(odds.astype(np.float32)).expand_as(network.head.bias))
        network.head.weight.mul_(QUIET)


def start_linear(network: Network, schema: Schema, linear: Mapping[str, LinearText], *, fixed: bool) -> None:
    """Texts that are one number get the values that were fitted; a head that reads it starts with the best sum.

    Args:
        network: whose texts have one cell per fitted term.
        schema: of the problem.
        linear: what was fitted, by feature.
        fixed: whether training leaves the values as they are.
    """
    place_of = {f.name: i for i, f in enumerate(schema.features)}
    with torch.no_grad():
        attention = network.attention()
        for (_, given), encoder in zip(network.places.text, network.texts, strict=True):
            found = linear.get(given.feature)
            if found is None:
                continue
            assert isinstance(encoder, TextEncoder)
            encoder.values.copy_(torch.from_numpy(found.values))
            encoder.fixed = fixed
            if not len(network.layers):
                place = place_of[given.feature]
                network.head.weight[:, network.feature_of == place] = found.weight / float(attention[place])
                network.head.bias.fill_(found.bias)
