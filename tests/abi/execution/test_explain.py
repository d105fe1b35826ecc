from __future__ import annotations

from typing import Any

import pytest

from abi.execution.explain import alternatives, reasons
from abi.execution.search import search
from abi.execution.types import Limits

MIB = 2**20


@pytest.mark.parametrize("count", [1, 2])
def test_a_sentence_for_each_choice(made: Any, count: int) -> None:
    said = reasons(search(made.question(count, Limits(memory_bytes=400 * MIB))))
    heads = [sentence.partition(":")[0] for sentence in said[:6]]
    assert heads == ["Devices", "Parallelism", "Precision", "Checkpointing", "Micro-batch", "Workers"]
    assert all(sentence.endswith(".") and sentence.count(". ") == 0 for sentence in said)
    assert said[6].startswith("A step is bound by")


def test_the_micro_batch_is_the_largest_that_fits_and_the_next_is_told(made: Any) -> None:
    question = made.question(1, Limits(memory_bytes=300 * MIB), footprints=(made.footprint(),))
    found = search(question)
    said = "\n".join(reasons(found))
    # 1.1 x (40 + 10 + 20 rows) + 100 MiB: six rows make 287 MiB; eight rows with 331 MiB do not fit
    assert found.configuration(int(found.order[0])).micro_batch == 6
    assert "Micro-batch: 6 x 8 accumulation x 1 device = 48 rows, the global batch; 8 needs 331 MiB of device memory, the limit is 300 MiB." in said  # fmt: skip
    assert "Binding limit: device memory, 287 MiB of 300 MiB at its upper bound." in said
    assert "Checkpointing: no, as the module has no blocks to compute again." in said


def test_what_was_not_counted_is_said_with_what_it_widens(made: Any) -> None:
    footprint = made.footprint(uncounted=("aten::_fft_r2c", "mine::scan"))
    said = reasons(search(made.question(1, footprints=(footprint,))))
    assert any(
        s.startswith("Not counted: the arithmetic of 'aten::_fft_r2c', 'mine::scan'") and "20% wider" in s for s in said
    )
    assert not any("Not counted" in s for s in reasons(search(made.question(1))))


def test_alternatives_lost_for_a_reason_that_holds(made: Any) -> None:
    found = search(made.question(2, Limits(memory_bytes=400 * MIB)))
    winner = found.configuration(int(found.order[0]))
    lost = alternatives(found)
    assert len(lost) >= 4
    for alternative in lost:
        assert alternative.configuration != winner
        if "needs" in alternative.why:
            assert alternative.cost.memory_bound > 400 * MIB
        else:
            assert alternative.cost.memory_bound <= 400 * MIB
            assert alternative.cost.step_s >= found.cost(int(found.order[0])).step_s
