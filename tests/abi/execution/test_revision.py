"""What follows a configuration that ran out of memory: bounds of the round figures in `made`, worked out by hand.

A step of m rows without checkpointing takes at most 1.1 (50 + 20 m) + 100 MiB where it accumulates; with it 4 m for 20 m.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abi.errors import PlanInfeasible
from abi.execution.decide import decide
from abi.execution.out_of_memory import Shortage
from abi.execution.revision import Revision, halved, question_of, revised
from abi.execution.search import search
from abi.execution.types import Configuration, Limits

MIB = 2**20
SAID = "CUDA out of memory. Tried to allocate 2.00 GiB"
WHOLE = Configuration(
    devices=1, parallel="none", arithmetic="float32", checkpointing=False, micro_batch=48, accumulation=1, workers=1
)


def short(room_mib: int | None = None) -> Shortage:
    return Shortage(said=SAID, room_bytes=None if room_mib is None else room_mib * MIB)


def test_the_largest_micro_batch_that_fits_what_was_there_comes_next(made: Any) -> None:
    """Within 400 MiB: 8 rows take 331, 12 rows would take 419; they compute less than 48 rows with checkpointing (355)."""
    found = revised(made.question(), WHOLE, short(300))
    assert (found.new.micro_batch, found.new.accumulation, found.new.checkpointing) == (8, 6, False)
    assert (found.new.devices, found.new.parallel, found.new.arithmetic) == (1, "none", "float32")
    assert found.old == WHOLE
    assert found.reason.startswith(
        f"{SAID}; one device, float32, micro-batch 48 x 1 was to take at most 1.17 GiB, and one device, float32, micro-batch 8 x 6 is the best of"
    )
    assert found.reason.endswith("within 400 MiB")
    assert Revision.from_json(found.to_json()) == found


def test_activations_are_computed_again_where_that_is_faster_than_small_parts(made: Any) -> None:
    """Handing over an operator takes a millisecond, so six micro-batches wait longer than one computes again."""
    found = revised(made.question(device={"launch_s": 1e-3}), WHOLE, short(300))
    assert (found.new.micro_batch, found.new.accumulation, found.new.checkpointing) == (48, 1, True)
    again = revised(made.question(device={"launch_s": 1e-3}), found.new, short())
    assert again.new.checkpointing  # what was taken up is not given up
    assert again.new.micro_batch == 24


def test_without_a_known_room_it_takes_clearly_less_than_what_ran_out(made: Any) -> None:
    question = made.question(device={"memory_bytes": 8000 * MIB})
    found = revised(question, WHOLE, short())
    assert (found.new.micro_batch, found.new.checkpointing) == (24, False)
    assert found.reason.endswith("within 1.12 GiB")  # 100 + 0.95 * 1100 MiB


def test_more_room_than_was_predicted_explains_nothing(made: Any) -> None:
    """It had 7,900 MiB beside the 100 that are taken before, and ran out at 1,200: so the prediction was too low."""
    question = made.question(device={"memory_bytes": 8000 * MIB})
    assert revised(question, WHOLE, short(7900)) == revised(question, WHOLE, short())


def test_it_comes_to_an_end_and_keeps_batch_and_arithmetic(made: Any) -> None:
    question, seen = made.question(2, global_batch=48, device={"memory_bytes": 8000 * MIB}), list[Configuration]()
    first = search(question)
    seen.append(first.configuration(int(first.order[0])))

    def on() -> None:
        while len(seen) < 200:
            seen.append(revised(question, seen[-1], short()).new)

    with pytest.raises(PlanInfeasible, match=r"Expected a configuration of the same global batch within .*free memory"):
        on()
    bounds = [_bound(question, each) for each in seen]
    assert len(seen) > 3
    assert bounds == sorted(set(bounds), reverse=True)
    assert {c.micro_batch * c.accumulation * c.devices for c in seen} == {48}
    assert len({(c.devices, c.arithmetic) for c in seen}) == 1


def _bound(question: Any, of: Configuration) -> int:
    everything = search(question)
    rows = range(len(everything.columns.devices))
    return next(everything.cost(r).memory_bound for r in rows if everything.configuration(r) == of)


def test_devices_share_the_model_where_nothing_else_fits_and_it_may_be_shared(made: Any) -> None:
    """Within 160 MiB: DDP with checkpointing takes 170 for one row, FSDP 158 for two."""
    failed = replace(WHOLE, devices=2, parallel="ddp", micro_batch=24)
    found = revised(made.question(2), failed, short(60))
    assert (found.new.devices, found.new.parallel, found.new.checkpointing) == (2, "fsdp", True)
    with pytest.raises(
        PlanInfeasible, match=rf"within 160 MiB after 2 x DDP, .* ran out of memory \({SAID}\), got none"
    ):
        revised(made.question(2, sharded=False), failed, short(60))


def test_memory_decides_before_other_limits_and_says_what_is_passed(made: Any) -> None:
    question = made.question(limits=Limits(train_time_s=1.0), device={"memory_bytes": 1300 * MIB})
    found = revised(question, WHOLE, short(300))
    assert found.new.micro_batch == 8
    assert "though it needs" in found.reason
    assert "of training time, the limit is 1 s" in found.reason


def test_a_plan_carries_what_is_asked_again(made: Any) -> None:
    plan = decide(made.question(), module="toy", versions={})
    asked = question_of(plan, (made.footprint(plan.configuration.arithmetic, checkpointing=True),))
    assert revised(asked, plan.configuration, short()).new == revised(made.question(), plan.configuration, short()).new
    alone = revised(question_of(plan), plan.configuration, short()).new
    assert not alone.checkpointing
    assert alone.micro_batch < plan.configuration.micro_batch


def test_without_a_trace_the_micro_batch_is_halved(made: Any) -> None:
    found = halved(replace(WHOLE, micro_batch=15, accumulation=3), short())
    assert (found.new.micro_batch, found.new.accumulation) == (5, 9)
    assert "nothing was traced" in found.reason
    with pytest.raises(PlanInfeasible, match="Expected memory for one device, float32, micro-batch 1 x 48, got: CUDA"):
        halved(replace(WHOLE, micro_batch=1, accumulation=48), short())
