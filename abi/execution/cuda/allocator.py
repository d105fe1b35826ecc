"""torch's caching allocator for CUDA, followed block by block: what it gives out and what it takes from the driver.

Requests are rounded to 512 bytes. Up to 1 MiB they come out of segments of 2 MiB, up to 10 MiB out of segments of 20
MiB, above that out of segments of their own, rounded to 2 MiB. The smallest free block that is large enough is taken
and split where more than a little would be left over; freed neighbours are joined. A block that is not split counts
whole, so that more is given out than was asked for. Source: c10/cuda/CUDACachingAllocator.cpp of torch 2.11, and its
documentation, "CUDA memory management".
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import Final

ROUND: Final = 512
SMALL: Final = 2**20
SMALL_SEGMENT: Final = 2 * 2**20
LARGE_SEGMENT: Final = 20 * 2**20
OWN_SEGMENT: Final = 10 * 2**20
OWN_ROUND: Final = 2 * 2**20


@dataclass(slots=True, eq=False)
class Block:
    """A part of a segment, with its neighbours in it."""

    size: int
    at: int
    small: bool
    free: bool = False
    before: Block | None = None
    after: Block | None = None


@dataclass
class CachingAllocator:
    """Bytes given out and reserved, now and at most since the last `restart`.

    Args:
        limit: bytes that the driver gives; None is no limit.
    """

    limit: int | None = None
    allocated: int = 0
    reserved: int = 0
    most_allocated: int = 0
    most_reserved: int = 0
    failed: bool = False
    """Whether a request was refused, unused segments given back and all."""
    _free: tuple[list[tuple[int, int]], list[tuple[int, int]]] = field(default_factory=lambda: ([], []))
    _blocks: dict[int, Block] = field(default_factory=dict)
    _next: int = 0

    def restart(self) -> None:
        """Count the most from now on."""
        self.most_allocated, self.most_reserved = self.allocated, self.reserved

    def take(self, size: int) -> Block | None:
        """A block of at least `size` bytes; None for none at all."""
        if size <= 0:
            return None
        size = -(-size // ROUND) * ROUND
        small = size <= SMALL
        free = self._free[small]
        place = bisect_left(free, (size, -1))
        block = self._blocks.pop(free.pop(place)[1]) if place < len(free) else self._segment(size, small)
        block.free = False
        left = block.size - size
        if left >= ROUND if small else left > SMALL:
            rest = Block(left, block.at + size, small, True, block, block.after)
            if block.after is not None:
                block.after.before = rest
            block.size, block.after = size, rest
            self._put(rest)
        self.allocated += block.size
        self.most_allocated = max(self.most_allocated, self.allocated)
        return block

    def give_back(self, block: Block | None) -> None:
        """Free a block, and join it with free neighbours."""
        if block is None:
            return
        self.allocated -= block.size
        block.free = True
        if (after := block.after) is not None and after.free:
            self._drop(after)
            block.size, block.after = block.size + after.size, after.after
            if block.after is not None:
                block.after.before = block
        if (before := block.before) is not None and before.free:
            self._drop(before)
            before.size, before.after = before.size + block.size, block.after
            if before.after is not None:
                before.after.before = before
            block = before
        self._put(block)

    def _segment(self, size: int, small: bool) -> Block:
        whole = SMALL_SEGMENT if small else LARGE_SEGMENT if size < OWN_SEGMENT else -(-size // OWN_ROUND) * OWN_ROUND
        if self.limit is not None and self.reserved + whole > self.limit:
            self._release()
            self.failed |= self.reserved + whole > self.limit
        self.reserved += whole
        self.most_reserved = max(self.most_reserved, self.reserved)
        block = Block(whole, self._next, small)
        self._next += whole + 1  # neighbours are within a segment alone
        return block

    def _release(self) -> None:
        """Give segments without a block in use back to the driver."""
        for free in self._free:
            for key in [key for key in free if _whole(self._blocks[key[1]])]:
                free.remove(key)
                self.reserved -= self._blocks.pop(key[1]).size

    def _put(self, block: Block) -> None:
        insort(self._free[block.small], (block.size, block.at))
        self._blocks[block.at] = block

    def _drop(self, block: Block) -> None:
        free = self._free[block.small]
        del free[bisect_left(free, (block.size, block.at))]
        del self._blocks[block.at]


def _whole(block: Block) -> bool:
    return block.before is None and block.after is None
