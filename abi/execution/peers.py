"""What processes that run one step together say to one another beside its tensors: whether all had memory, and what follows.

They speak over the hosts (gloo), so that a device that is full, or at work, is not asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed

from abi.errors import AbiError
from abi.execution.out_of_memory import Shortage

T = TypeVar("T")


@dataclass(frozen=True)
class Alone:
    """One process, which agrees with itself."""

    def agreed(self, short: Shortage | None) -> Shortage | None:
        """The shortage that counts, where there is one."""
        return short

    def either(self, flags: list[bool]) -> list[bool]:
        """For each flag, whether any process has it."""
        return flags

    def decided(self, decide: Callable[[], T]) -> T:
        """What the first process decides."""
        return decide()


@dataclass(frozen=True)
class Peers(Alone):
    """One process of several; each method is called by all of them at the same point."""

    group: distributed.ProcessGroup
    rank: int

    @classmethod
    def meet(cls) -> Peers:
        """All processes of the default group."""
        return cls(distributed.new_group(backend="gloo"), distributed.get_rank())

    def agreed(self, short: Shortage | None) -> Shortage | None:
        """The first process's that had one, with the least room of all that had."""
        count = torch.tensor(int(short is not None))
        distributed.all_reduce(count, group=self.group)
        if not count:
            return None
        told: list[Shortage | None] = [None] * distributed.get_world_size()
        distributed.all_gather_object(told, short, group=self.group)
        found = [one for one in told if one is not None]
        rooms = [one.room_bytes for one in found if one.room_bytes is not None]
        return Shortage(said=found[0].said, room_bytes=min(rooms) if rooms else None)

    def either(self, flags: list[bool]) -> list[bool]:
        """As many flags in each process."""
        counts = torch.tensor(flags, dtype=torch.int32)
        distributed.all_reduce(counts, group=self.group)
        return [bool(count) for count in counts.tolist()]

    def decided(self, decide: Callable[[], T]) -> T:
        """What the first process decides, or the error that it raises."""
        answer: list[tuple[T | None, AbiError | None]] = [(None, None)]
        if self.rank == 0:
            try:
                answer = [(decide(), None)]
            except AbiError as error:
                answer = [(None, error)]
        distributed.broadcast_object_list(answer, 0, group=self.group)
        found, refused = answer[0]
        if refused is not None:
            raise refused
        return found  # type: ignore[return-value]  # it is what `decide` gave
