"""Tuning: what is learned, what is kept, and what bounds it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abi.data.encoder_folder import describe
from abi.errors import PlanInfeasible
from abi.inputs.tunable import TunableText
from abi.reading import EncoderConfig, TuneConfig
from abi.training import tune as tuning
from abi.training.tune import TuneLimits, TuneProgress, TuneRows, add_gradients, slope, tune

WORDS = ["film", "plot", "very", "a", "is"]
FREE = TuneLimits(seconds=None, memory_bytes=None)


class Kept:
    """A checkpoint in memory, and all that came before it."""

    def __init__(self) -> None:
        self.all: list[bytes] = []

    def load(self) -> bytes | None:
        return self.all[-1] if self.all else None

    def save(self, data: bytes) -> None:
        self.all.append(data)

    def clear(self) -> None:
        self.all.clear()


class Task:
    """Texts whose label is in the order of their words, which a mean of a random encoder's tokens tells badly."""

    def __init__(self, folder: Path, shuffled: bool = False) -> None:
        random = np.random.default_rng(0)
        self.texts = [" ".join(random.permutation(["good", "bad", *random.choice(WORDS, 2)])) for _ in range(160)]
        label = np.array([text.index("good") < text.index("bad") for text in self.texts]).astype(np.int64)
        if shuffled:
            label = random.permutation(label)
        self.encoder = describe(EncoderConfig(path=folder), "text")
        self.folder = folder
        self.rows = [TuneRows(np.arange(0, 120), torch.from_numpy(label[:120]))]
        self.rows += [TuneRows(np.arange(120, 160), torch.from_numpy(label[120:]))]

    def model(self, layers: int = 2) -> TunableText:
        return TunableText(self.encoder, self.folder, layers, self.texts)

    def run(self, config: TuneConfig, limits: TuneLimits = FREE, **more: Any) -> TuneProgress:
        model = more.pop("model", None) or self.model()
        vectors = torch.from_numpy(model.encode(self.texts))
        return tune(model, vectors, *self.rows, "binary", 1, config, limits, seed=0, **more)


@pytest.fixture
def ordered(tiny_bert: Path) -> Task:
    torch.set_num_threads(1)
    return Task(tiny_bert)


def test_layers_learn_what_a_head_alone_cannot(ordered: Task) -> None:
    done = ordered.run(TuneConfig(epochs=12, learning_rate=0.01))
    assert done.best_epoch > 0
    assert done.loss_after < 0.7 * done.loss_before
    assert set(done.best) == set(ordered.model().last.named())


def test_where_tuning_does_not_help_nothing_is_kept(tiny_bert: Path) -> None:
    torch.set_num_threads(1)
    done = Task(tiny_bert, shuffled=True).run(TuneConfig(epochs=12, learning_rate=0.01))
    assert (done.best_epoch, done.best) == (0, {})
    assert done.epoch < 12  # and it ended where the loss rose


def test_the_same_seed_gives_the_same_weights(ordered: Task) -> None:
    config = TuneConfig(epochs=12, learning_rate=0.01)
    first, second = ordered.run(config), ordered.run(config)
    assert first.best
    assert all(torch.equal(first.best[name], second.best[name]) for name in first.best)


def test_a_killed_tuning_goes_on_after_its_last_epoch(ordered: Task) -> None:
    config = TuneConfig(epochs=12, learning_rate=0.01)
    kept = Kept()
    whole = ordered.run(config, checkpoints=kept)
    assert len(kept.all) == whole.epoch >= 3
    again = Kept()
    again.all = kept.all[:2]
    assert whole.best
    resumed = ordered.run(config, checkpoints=again)
    assert len(again.all) == whole.epoch
    assert (resumed.loss_before, resumed.loss_after) == (whole.loss_before, whole.loss_after)
    assert all(torch.equal(whole.best[name], resumed.best[name]) for name in whole.best)


def test_parts_of_a_batch_add_up_to_its_gradients(ordered: Task) -> None:
    found = []
    for micro in (16, 3):
        model, head = ordered.model(), torch.nn.Linear(8, 1)
        torch.nn.init.constant_(head.weight, 0.5)
        torch.nn.init.zeros_(head.bias)
        loss = add_gradients(model, head, ordered.rows[0], np.arange(16), "binary", micro)
        found.append((loss, torch.cat([p.grad.flatten() for p in model.last.named().values() if p.grad is not None])))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)


def test_little_memory_means_few_rows_at_a_time(ordered: Task) -> None:
    plenty = ordered.run(TuneConfig(epochs=1), TuneLimits(seconds=None, memory_bytes=2**30))
    assert plenty.micro_batch == 16
    with pytest.raises(PlanInfeasible, match=r"Expected memory for a step of one row to tune the encoder") as told:
        ordered.run(TuneConfig(epochs=1), TuneLimits(seconds=None, memory_bytes=1000))
    assert "tune.layers" in str(told.value)
    sizes = {
        ordered.run(TuneConfig(epochs=1), TuneLimits(seconds=None, memory_bytes=some)).micro_batch
        for some in (90_000, 110_000)
    }
    assert any(1 <= size < 16 for size in sizes)


def work_of(ordered: Task) -> tuning._Work:
    return tuning._Work(ordered.model(), torch.nn.Linear(8, 1), *ordered.rows, "binary", TuneConfig())


@pytest.mark.parametrize(
    ("seconds", "rows", "epochs", "over", "said"),
    [
        (100.0, 120, 3, False, ""),
        (20.0, 120, 2, False, "2 of 3 epochs fit envelope.train_time"),
        (9.5, 120, 1, False, ""),
    ],
)
def test_the_time_that_steps_take_says_how_much_is_done(
    ordered: Task, monkeypatch: pytest.MonkeyPatch, seconds: float, rows: int, epochs: int, over: bool, said: str
) -> None:
    monkeypatch.setattr(tuning, "_timed", lambda *_: (1.0, 1.0))  # 8 steps and a look: 9 s an epoch
    done = tuning._fitting(work_of(ordered), 16, seconds)
    assert (done.rows, done.epochs, done.over) == (rows, epochs, over)
    assert said in done.shortened


def test_where_one_epoch_is_too_long_rows_are_fewer(ordered: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_timed", lambda *_: (0.5, 1.0))
    monkeypatch.setattr(tuning, "LEAST_STEPS", 4)
    given = (work_of(ordered), 16)
    few, none = (tuning._fitting(*given, seconds) for seconds in (4.0, 2.0))
    assert (few.rows, few.epochs, few.over) == (80, 1, False)  # 3 s for five or six steps: 5.99 of them
    assert none.over
    assert "rows fit envelope.train_time" in few.shortened


def test_the_clock_ends_an_epoch(ordered: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_timed", lambda *_: (1e-9, 1e-9))
    done = ordered.run(TuneConfig(epochs=100), TuneLimits(seconds=0.3, memory_bytes=None))
    assert done.over
    assert done.epoch < 100
    assert done.seconds < 5


@pytest.mark.parametrize(
    ("losses", "ended", "kept", "told"),
    [
        ([0.5, 0.6, 0.3, 0.4], 4, 3, 0.3),  # the rise in the second epoch is of the warm-up
        ([0.5, 0.4, 0.6], 3, 2, 0.4),
    ],
)
def test_tuning_ends_where_loss_rises_after_the_warm_up(
    ordered: Task, monkeypatch: pytest.MonkeyPatch, losses: list[float], ended: int, kept: int, told: float
) -> None:
    said = iter(losses)
    monkeypatch.setattr(tuning._Run, "judge", lambda run: torch.full((40,), next(said)))
    done = ordered.run(TuneConfig(epochs=20))  # the first two are the warm-up
    assert (done.epoch, done.best_epoch, done.loss_after) == (ended, kept, pytest.approx(told))


def test_what_is_told_is_of_the_epoch_that_is_kept(ordered: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = torch.tensor([-30.0, 30.0] * 20)
    said = iter([torch.full((40,), 0.5), 0.4 + noisy, torch.full((40,), 0.6)])
    monkeypatch.setattr(tuning._Run, "judge", lambda run: next(said))
    done = ordered.run(TuneConfig(epochs=3))
    assert (done.best_epoch, done.loss_after) == (1, pytest.approx(0.5))


def test_a_gain_counts_beyond_its_standard_error() -> None:
    others = torch.ones(4)
    assert tuning.is_better(torch.tensor([0.4, 0.5, 0.6, 0.5]), others)
    assert not tuning.is_better(torch.tensor([-1.0, 2.0, 0.0, 1.5]), others)  # 0.375 with a standard error of 0.6875
    assert not tuning.is_better(others, others)


def test_the_learning_rate_by_hand() -> None:
    assert [slope(share) for share in (0.05, 0.1, 0.55, 1.0)] == pytest.approx([0.5, 1.0, 0.5, 0.0])


def test_no_label_but_of_training_rows_is_learned_from(ordered: Task) -> None:
    config = TuneConfig(epochs=1, learning_rate=0.01)
    first = ordered.run(config)
    train, validation = ordered.rows
    model = ordered.model()
    vectors = torch.from_numpy(model.encode(ordered.texts))
    asked: list[int] = []
    plain = model.vectors
    model.vectors = lambda numbers: (asked.extend(numbers.tolist()), plain(numbers))[1]  # type: ignore[method-assign]
    tune(model, vectors, train, validation, "binary", 1, config, FREE, seed=0)
    assert set(asked) <= set(train.number.tolist())
    assert math.isfinite(first.train_loss)
