"""Which rows are for what: a counter-based hash, so that any shard can tell alone and in any order."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int8, Int64, Shaped, UInt64

from abi.problem import Role, Split

ROLES: tuple[Role, ...] = ("train", "validation", "test")

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def splitmix64(numbers: Int64[np.ndarray, " rows"], seed: int) -> UInt64[np.ndarray, " rows"]:
    """Output number `numbers` (from 0) of the SplitMix64 generator that starts from `seed`.

    z = seed + (n + 1) gamma;  z = (z ^ z>>30) c1;  z = (z ^ z>>27) c2;  z ^ z>>31   (mod 2^64)

    References:
        Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (gamma is their golden gamma;
        the mixer is Stafford's variant 13).
    """
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + (numbers.astype(np.uint64) + np.uint64(1)) * _GAMMA
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(numbers: Int64[np.ndarray, " rows"], seed: int) -> Float64[np.ndarray, " rows"]:
    """The same outputs in [0, 1): their upper 53 bits."""
    return (splitmix64(numbers, seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def roles(
    row_numbers: Int64[np.ndarray, " rows"], split: Split, times: Shaped[np.ndarray, " rows"] | None = None
) -> Int8[np.ndarray, " rows"]:
    """0 train, 1 validation, 2 test, as indices into `ROLES`; -1 is none of them.

    By hash, `split.test` is a share of all rows, `split.validation` one of the rows that are left, so a row's being held out
    for the test does not depend on the validation share. By order, `times` are the rows' values in the column that orders
    them (None where that is their numbers); a row without one is in no role.
    """
    if split.order:
        place = row_numbers.astype(np.float64) if times is None else times
        found = np.searchsorted(np.array(split.starts), place, side="right").astype(np.int8)
        return np.where(np.isnan(place), np.int8(-1), found)
    point = uniform(row_numbers, split.seed)
    validation_below = split.test + (1 - split.test) * split.validation
    return np.select([point < split.test, point < validation_below], [np.int8(2), np.int8(1)], np.int8(0))
