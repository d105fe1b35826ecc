"""The input kinds: where a new one is entered."""

from __future__ import annotations

from typing import Final

from abi.inputs import categorical, embedding, numeric, region, sequence, text
from abi.inputs.kind import InputKind
from abi.problem import Kind

KINDS: Final[dict[Kind, InputKind]] = {
    "numeric": numeric,
    "categorical": categorical,
    "boolean": categorical,
    "text": text,
    "region": region,
    "embedding": embedding,
    "sequence": sequence,
}
