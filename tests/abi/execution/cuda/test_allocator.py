from __future__ import annotations

from abi.execution.cuda.allocator import CachingAllocator

KIB, MIB = 2**10, 2**20


def test_small_requests_share_a_segment_and_are_rounded_to_512_bytes() -> None:
    allocator = CachingAllocator()
    blocks = [allocator.take(size) for size in (1, 513, 100 * KIB)]
    assert [block.size for block in blocks if block] == [512, 1024, 100 * KIB]
    assert (allocator.allocated, allocator.reserved) == (1536 + 100 * KIB, 2 * MIB)


def test_a_large_block_is_not_split_for_a_remainder_of_a_mebibyte() -> None:
    allocator = CachingAllocator()
    first = allocator.take(19 * MIB)
    assert (allocator.allocated, allocator.reserved) == (20 * MIB, 20 * MIB)  # 19 MiB have a segment of their own size
    allocator.give_back(first)
    allocator.take(17 * MIB)
    assert (allocator.allocated, allocator.reserved) == (17 * MIB, 20 * MIB)
    assert allocator.most_allocated == 20 * MIB
    allocator.restart()
    assert allocator.most_allocated == 17 * MIB


def test_the_smallest_free_block_that_is_large_enough_is_taken() -> None:
    allocator = CachingAllocator()
    large, small = allocator.take(40 * MIB), allocator.take(24 * MIB)
    allocator.give_back(large)
    allocator.give_back(small)
    assert allocator.take(22 * MIB) is small
    assert allocator.reserved == 64 * MIB


def test_freed_neighbours_are_joined() -> None:
    allocator = CachingAllocator()
    parts = [allocator.take(5 * MIB) for _ in range(4)]
    assert allocator.reserved == 20 * MIB
    for part in (parts[1], parts[3], parts[0], parts[2]):
        allocator.give_back(part)
    assert allocator.allocated == 0
    whole = allocator.take(20 * MIB)
    assert whole is not None
    assert (whole.size, allocator.reserved) == (20 * MIB, 20 * MIB)


def test_at_its_limit_unused_segments_go_back_before_it_refuses() -> None:
    allocator = CachingAllocator(limit=60 * MIB)
    kept, freed = allocator.take(20 * MIB), allocator.take(30 * MIB)
    allocator.give_back(freed)
    allocator.take(40 * MIB)
    assert (allocator.reserved, allocator.failed) == (60 * MIB, False)
    allocator.give_back(kept)
    allocator.take(24 * MIB)
    assert allocator.failed


def test_nothing_takes_nothing() -> None:
    allocator = CachingAllocator()
    assert allocator.take(0) is None
    allocator.give_back(None)
    assert (allocator.allocated, allocator.reserved) == (0, 0)
