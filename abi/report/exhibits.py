"""What a report shows beside figures, as values: small pictures, held-out texts, and what each modality is worth."""

from __future__ import annotations

from dataclasses import dataclass

from abi.types import Estimate
from abi.values import Floats, Late, Value


@dataclass(frozen=True, kw_only=True)
class Picture(Value):
    """A small picture of a media column: `png` is the file in base64, `label` says what it shows."""

    column: str
    label: str
    png: str


@dataclass(frozen=True, kw_only=True)
class TextExample(Value):
    """A held-out text and what the network made of its terms.

    Attributes:
        feature: the text's.
        truth: class, or value as it is shown.
        predicted: the same, by the whole model.
        probability: of the predicted class; None of a value.
        words: of the text (or of a stretch of it), each with the space before it.
        contributions: of each word to the predicted class's logit over the other ones', or to the value; a pair of words
            counts half for each.
        terms: with the largest contributions, those that speak for the prediction first.
        shares: contributions of these.
        cut: whether words are left out.
    """

    feature: str
    truth: str
    predicted: str
    probability: float | None
    words: tuple[str, ...]
    contributions: Floats
    terms: tuple[str, ...]
    shares: Floats
    cut: bool

    @property
    def right(self) -> bool:
        """Whether the predicted class is the true one."""
        return self.truth == self.predicted


@dataclass(frozen=True, kw_only=True)
class ModalityLoss(Value):
    """What shuffling all features of a modality between rows adds to the network's validation loss."""

    modality: str
    ablation: Estimate


@dataclass(frozen=True, kw_only=True)
class Exhibits(Value):
    """All that a report of one model shows of this; empty where there is nothing of the kind.

    `pictures` are the mean of each media column's training rows first, then single rows. `exact` says whether the
    texts' contributions add up to the logit, as they do where no layer lies between embeddings and output.
    """

    pictures: tuple[Picture, ...] = ()
    texts: tuple[TextExample, ...] = ()
    modalities: tuple[ModalityLoss, ...] = ()
    exact: Late[bool | None] = None
