"""A management library as NVIDIA's answers, for cards that are not here."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

GIB = 2**30


class NVMLError(Exception):
    pass


@dataclass
class Card:
    """What the driver says of one card or MIG slice."""

    name: str
    total: int
    reserved: int = 0
    capability: tuple[int, int] = (9, 0)
    cores: int = 0
    mhz: int = 0
    bus_bits: int = 0
    memory_mhz: int = 0
    limit_w: float = 0
    slices: list[Card] = field(default_factory=list)
    mig: bool = False
    compute_slices: int = 0
    uuid: str = "GPU-0"
    millijoules: list[int] = field(default_factory=list)
    """What its counter of energy answers, one after the other."""


class Library:
    """The calls that detection makes, over `cards`; one that a card knows nothing of is not supported."""

    NVMLError = NVMLError
    NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2

    def __init__(self, cards: list[Card], fails: str = "") -> None:
        self.cards, self.fails = cards, fails
        self.open = 0
        self.nvmlMemory_v2 = 33554472

    def nvmlInit(self) -> None:
        self._may_fail("init")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"580.65"

    def nvmlDeviceGetCount(self) -> int:
        self._may_fail("count")
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:
        return self.cards[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> Card:
        return next(card for card in self.cards if card.uuid.encode() == uuid)

    def nvmlDeviceGetTotalEnergyConsumption(self, card: Card) -> int:
        return int(self._known(card.millijoules.pop(0) if card.millijoules else 0))

    def nvmlDeviceGetName(self, card: Card) -> str:
        return card.name

    def nvmlDeviceGetUUID(self, card: Card) -> str:
        return card.uuid

    def nvmlDeviceGetMemoryInfo(self, card: Card, version: int | None = None) -> Any:
        if version is not None:
            self._may_fail("memory_v2")
            return SimpleNamespace(total=card.total, reserved=card.reserved)
        return SimpleNamespace(total=card.total)

    def nvmlDeviceGetEnforcedPowerLimit(self, card: Card) -> int:
        return int(1000 * self._known(card.limit_w))

    def nvmlDeviceGetCudaComputeCapability(self, card: Card) -> tuple[int, int]:
        return card.capability

    def nvmlDeviceGetNumGpuCores(self, card: Card) -> int:
        return int(self._known(card.cores))

    def nvmlDeviceGetMemoryBusWidth(self, card: Card) -> int:
        return int(self._known(card.bus_bits))

    def nvmlDeviceGetMaxClockInfo(self, card: Card, clock: int) -> int:
        return int(self._known(card.mhz if clock == self.NVML_CLOCK_SM else card.memory_mhz))

    def nvmlDeviceGetMigMode(self, card: Card) -> list[int]:
        return [int(self._known(card.mig)), 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, card: Card) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card: Card, index: int) -> Card:
        if index >= len(card.slices):
            raise NVMLError("Not Found")
        return card.slices[index]

    def nvmlDeviceGetAttributes(self, part: Card) -> Any:
        return SimpleNamespace(gpuInstanceSliceCount=part.compute_slices)

    def _known(self, answer: float) -> float:
        if not answer:
            raise NVMLError("Not Supported")
        return answer

    def _may_fail(self, call: str) -> None:
        if self.fails == call:
            raise NVMLError("Driver/library version mismatch")


@pytest.fixture
def card() -> type[Card]:
    return Card


@pytest.fixture
def library() -> type[Library]:
    return Library


@pytest.fixture(autouse=True)
def all_cards_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
