"""Redundancy: what of a feature is already given by a better one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64, Int16, Int64
from scipy.special import xlogy

FEATURES = 256
"""Only so many of the best features are compared with each other, so that time stays linear in the columns."""
ROWS = 2048
LEVELS = 8


def redundancy(
    sample: Int16[np.ndarray, "features rows"], order: Int64[np.ndarray, " ranked"]
) -> Float64[np.ndarray, " features"]:
    """Largest share of a feature's information that a more relevant one gives, in [0, 1]; 0 beyond the first `FEATURES`.

    With I the mutual information (Miller-Madow corrected) of both features in at most `LEVELS` coarse bins and H the
    entropy of the feature's own:

        redundancy_j = max over more relevant i of (1 - exp(-2 I_ij)) / (1 - exp(-2 H_j))

    1 - exp(-2I) is Linfoot's informational R2: the squared correlation, were both Gaussian; it needs no order among
    values, so categories and numbers compare. All pairs come from one matrix product of indicator columns.

    Args:
        sample: bin of each feature in the rows of the mergeable sample, of which the first `ROWS` are compared.
        order: features from the most relevant to the least.

    References:
        Linfoot, "An informational measure of correlation", Information and Control, 1957.
    """
    result = np.zeros(len(sample))
    chosen, sample = order[:FEATURES], sample[:, :ROWS]
    rows = sample.shape[1]
    if rows == 0 or len(chosen) < 2:  # noqa: PLR2004 - a pair
        return result
    shape = (len(chosen), LEVELS)
    flags = np.concatenate([indicators(sample[feature]) for feature in chosen])
    pairs = (flags @ flags.T).astype(np.intp).reshape(*shape, *shape).transpose(0, 2, 1, 3)
    own = np.einsum("iikk->ik", pairs)
    used = (own > 0).sum(axis=1)
    entropies = _entropy(own, rows)
    joint = pairs.reshape(len(chosen), len(chosen), -1)
    cells = (joint > 0).sum(axis=2)
    plug_in = entropies[:, None] + entropies[None, :] - _entropy(joint, rows)
    shared = plug_in + (used[:, None] + used[None, :] - cells - 1) / (2 * rows)
    whole = 1 - np.exp(-2 * entropies)
    share = (1 - np.exp(-2 * np.maximum(shared, 0.0))) / np.maximum(whole, 1e-12)[None, :]
    better = np.triu(np.clip(share, 0.0, 1.0) * (whole > 0)[None, :], k=1)
    result[chosen] = better.max(axis=0)
    return result


def indicators(codes: Int16[np.ndarray, " rows"]) -> Float32[np.ndarray, "levels rows"]:
    """One row per level; neighbouring bins are joined to levels of about equal size, larger bins keep one each."""
    times = np.bincount(codes)
    used = np.flatnonzero(times)
    if len(used) <= LEVELS:
        level = np.searchsorted(used, np.arange(len(times)))
    else:
        middle = np.cumsum(times) - times / 2
        level = np.minimum((middle * LEVELS / len(codes)).astype(np.int64), LEVELS - 1)
    flags: Float32[np.ndarray, "levels rows"] = (level[codes] == np.arange(LEVELS)[:, None]).astype(np.float32)
    return flags


def _entropy(counts: Int64[np.ndarray, "*features cells"], rows: int) -> Float64[np.ndarray, "*features"]:
    """In nats; n log n is looked up, as counts are no larger than the sample."""
    n = np.arange(rows + 1.0)
    nats: Float64[np.ndarray, "*features"] = np.log(rows) - xlogy(n, n)[counts].sum(axis=-1) / rows
    return nats
