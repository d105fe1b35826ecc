"""Changes of inputs in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abi.evaluation.perturb import NOISE, REPLACED

if TYPE_CHECKING:
    from abi.problem import Schema
    from abi.robustness import Strength


def noise_of(schema: Schema, strength: Strength) -> str:
    """What noise of that strength is, for the kinds of features that there are."""
    noise, features = NOISE[strength], schema.features
    kinds = {f.kind for f in features}
    parts = []
    if "numeric" in kinds:
        parts.append(f"numbers ± {noise.deviations:g} deviations")
    if kinds & set(REPLACED):
        parts.append(f"{noise.replaced:.0%} of categories replaced")
    if any(f.of_text for f in features):
        parts.append(f"{noise.words:.0%} of words harmed")
    if "region" in kinds:
        parts.append(f"pixels ± {noise.deviations:g} deviations")
    if any(f.of_sight for f in features):
        parts.append(f"vectors of pictures ± {noise.deviations:g} deviations")
    return ", ".join(parts) or "nothing that noise is known for"
