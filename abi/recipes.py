"""Sections of ``abi.yaml`` about training: the two families, hardening, and the loop of rounds."""

from __future__ import annotations

import math
from typing import Final, Literal

from pydantic import Field, model_validator

from abi.sections import Seconds, Section, Share
from abi.types import Alignment, Hardening

CLIP_TEMPERATURE: Final = 0.07
"""At which CLIP begins (Radford et al. 2021, arXiv 2103.00020, sec. 2.5)."""


class TreesConfig(Section):
    """How boosted trees are grown. null takes the recipe for the number of rows and the task."""

    rounds: int | None = Field(default=None, ge=1)
    """Most rounds of boosting; the envelope may make it less."""
    leaves: int | None = Field(default=None, ge=2, le=4096)
    """Most leaves of a tree; the envelope may make it less."""
    learning_rate: float | None = Field(default=None, gt=0, le=1)
    """Shrinkage of each round."""
    bins: int = Field(default=255, ge=2, le=255)
    """Histogram bins of a feature at the even split; attention divides their sum anew."""
    patience: int | None = Field(default=None, ge=1)
    """Rounds without a better validation loss before boosting stops."""


class RobustConfig(Section):
    """What a network is hardened with in training; all of it is off by default. Trees know none of it."""

    mixup: float = Field(default=0.0, ge=0, lt=math.inf)
    """Rows are mixed with others in their embeddings (manifold mixup), by a share drawn from Beta(this, this)."""
    corruption: Share = 0.0
    """Share of a row's features whose values are replaced by those of other rows."""
    missing: Share = 0.0
    """Share of a row's features that are made missing."""
    adversarial: Literal["none", "fgsm", "pgd"] = "none"
    """Also train on embeddings that were moved against the network, by one step or by several."""
    size: float = Field(default=0.1, gt=0, le=1)
    """How far they are moved, as a share of their norm."""
    steps: int = Field(default=3, ge=1, le=50)
    """Steps of PGD."""
    share: float = Field(default=0.5, gt=0, le=1)
    """Share of the loss that is that of the moved embeddings."""

    def hardening(self, tail_mixing: float = 0.0) -> Hardening | None:
        """The same as plans carry it; None where all is off."""
        if not (self.mixup or tail_mixing or self.corruption or self.missing or self.adversarial != "none"):
            return None
        return Hardening(
            mixup=tail_mixing or self.mixup,
            remix=True if tail_mixing else None,
            corruption=self.corruption,
            missing=self.missing,
            adversarial=None if self.adversarial == "none" else self.adversarial,
            size=self.size,
            steps=self.steps if self.adversarial == "pgd" else 1,
            share=self.share,
        )


class TrainingConfig(Section):
    """How a plan is trained. null takes the recipe for the number of rows and the task."""

    family: Literal["network", "trees", "auto", "blend"] = "auto"
    """network (torch), trees (LightGBM), blend (both), or auto: the one that validation rows favour, within the envelope."""
    members: int | None = Field(default=None, ge=1, le=64)
    """Ensemble views (TabM's k)."""
    blocks: int | None = Field(default=None, ge=1, le=8)
    """Linear layers of the backbone."""
    block_width: int | None = Field(default=None, ge=8, le=2048)
    """Largest width of the backbone; the envelope may make it smaller."""
    bins: int | None = Field(default=None, ge=2, le=1024)
    """Bins of a numeric feature at the even width."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak rate of AdamW."""
    encoder_factor: float | None = Field(default=None, gt=0)
    """The encoders' rate over that."""
    weight_decay: float | None = Field(default=None, ge=0)
    """Decoupled weight decay of the backbone."""
    attended_decay: float | None = Field(default=None, ge=0, le=2)
    """How much weaker that is on attended features: times (even share / attention)^this, from a quarter to 4."""
    dropout: float | None = Field(default=None, ge=0, le=0.9)
    """Dropout in the backbone."""
    modality_dropout: float | None = Field(default=None, ge=0, le=0.9)
    """Share of whole modalities (the table, a text, an image or sound column) that a training row is not given, so that a
    missing one does less harm."""
    fusion: Literal["early", "late"] = "early"
    """early: all members read all modalities; late: each reads one, as many members as attention gives it."""
    alignment: float = Field(default=0.0, ge=0, lt=math.inf, exclude_if=lambda weight: weight == 0)
    """Weight of a contrastive loss that aligns a network's modalities, as CLIP does; 0 is none, trees know none of it.
    Its projections are trained beside the network and not kept: envelope.parameters does not count them, memory does.
    `abi adapt` goes on without it."""
    alignment_temperature: float = Field(
        default=CLIP_TEMPERATURE, gt=0, lt=math.inf, exclude_if=lambda temperature: temperature == CLIP_TEMPERATURE
    )
    """What similarities are divided by in that loss."""
    term_dropout: float | None = Field(default=None, ge=0, le=0.9)
    """Share of a text's terms, and of a pretrained vector's numbers, that a step leaves out."""
    average: Share | None = None
    """Decay of the moving average of the weights; 0 is none."""
    epochs: int | None = Field(default=None, ge=1)
    """Epochs of one training; the time limit may make it less."""
    patience: int | None = Field(default=None, ge=1)
    """Epochs without a better validation loss before training stops."""
    base: Literal[4, 8, 12, 16, 24, 32, 48] | None = Field(default=None, exclude_if=lambda base: base is None)
    """Channels of the first stage of an image's or sound's encoder, which has three; the envelope may make it less."""
    half_size: float = Field(default=0.0, ge=0, le=0.9, exclude_if=lambda share: share == 0)
    """Share of a network's schedule, its first, in which images are seen at half their size: a quarter of the arithmetic."""
    batch_rows: int | None = Field(default=None, ge=2)
    """Rows of one step."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """A GPU is used where there is one."""
    gpus: str | None = Field(default=None, max_length=100)
    """Devices to plan for by their figures, as 2xL4, auto or cpu; null plans for this machine as it was measured."""
    objective: Literal["throughput", "energy", "cost", "memory"] = Field(
        default="throughput", exclude_if=lambda objective: objective == "throughput"
    )
    """What ways to run a network on `gpus` are ranked by, among those that keep the envelope."""
    refit: bool = False
    """`abi run` trains the kept model and the even split once more at the end, as long, on training and validation rows together."""
    balance: Literal["auto", "none", "class_balanced", "logit_adjusted", "resampled"] = "auto"
    """Rare classes: weights by effective numbers, logits adjusted by the classes' frequencies, rows drawn by the root of these;
    auto tries them on validation rows where evaluation.metric weighs classes alike and they differ in frequency."""
    tail_mixing: float = Field(default=0.0, ge=0, lt=math.inf)
    """Rows of a network are mixed with others, by a share drawn from Beta(this, this), and one of a rare class keeps its label
    beside one of a class at least three times as frequent (Remix): more rows for the tail. It takes the place of robust.mixup."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """bfloat16 where the processor computes it natively."""
    checkpoint: Seconds = 15.0
    """Time between checkpoints."""
    threads: int | None = Field(default=None, ge=1)
    """Processor threads; where null as many as the cores that affinity and the container's quota leave to this process."""
    trees: TreesConfig = TreesConfig()
    """Boosted trees."""
    robust: RobustConfig = RobustConfig()
    """Training that makes a network bear changed inputs."""

    def aligned(self) -> Alignment | None:
        """How modalities are aligned, as plans carry it; None where they are not."""
        return Alignment(weight=self.alignment, temperature=self.alignment_temperature) if self.alignment else None

    @model_validator(mode="after")
    def _one_mixing(self) -> TrainingConfig:
        if self.tail_mixing and self.robust.mixup:
            msg = "Expected one way of mixing rows, got training.tail_mixing and training.robust.mixup: leave one of them at 0."
            raise ValueError(msg)
        return self

    def hardening(self) -> Hardening | None:
        """What a network's steps change in its embeddings, as plans carry it; None where all is off."""
        return self.robust.hardening(self.tail_mixing)


class IterateConfig(Section):
    """The loop: rescore from the model, refit, replan, retrain."""

    rounds: int = Field(default=3, ge=1)
    """At most this many trainings."""
    time: Seconds = 480.0
    """No other round is begun where pilots, rounds and the control's trials together would take longer."""
    tolerance: float = Field(default=1e-3, ge=0)
    """Stop when a round gains less than this share of the validation loss."""
    plan_change: float = Field(default=0.02, ge=0)
    """Stop when less than this share of the widths would move."""
    movement: float = Field(default=0.01, ge=0)
    """Attention has converged where less than this share of it, or of the widths less than `plan_change`, would move."""
    pilot: float = Field(default=0.3, gt=0, le=1)
    """Length of the short trainings that choose the temperature, as a share of the plan's epochs."""
    pilot_rows: int = Field(default=20_000, ge=10)
    """Rows of those."""
