from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abi.execution.loader import WorkerRate, batch_bytes, choose_workers, loader_s
from abi.execution.types import Job

JOB = Job(global_batch=100, steps=1, row_bytes=1_000_000)
RATE = WorkerRate(row_s=1e-3, bytes_per_s=1e9)  # 2 ms a row


def test_as_many_workers_as_keep_up(made: Any) -> None:
    cluster = made.question().cluster
    compute = np.array([1.0, 0.2, 0.1, 0.05, 0.001])
    workers = choose_workers(JOB, cluster, 1, np.full(5, 10.0), compute, 1e12, RATE)
    assert workers.tolist() == [1, 1, 2, 4, 8]  # 0.2 s for one; eight cores


def test_cores_and_host_memory_are_shared_by_the_devices(made: Any) -> None:
    cluster = made.question(count=2).cluster
    compute, rows = np.array([1e-3]), np.array([10.0])
    assert batch_bytes(JOB, 2, rows).tolist() == [40e6]  # two devices, two batches each of 10 rows
    assert choose_workers(JOB, cluster, 2, rows, compute, 1e12, RATE).tolist() == [4]
    assert choose_workers(JOB, cluster, 2, rows, compute, 130e6, RATE).tolist() == [3]


def test_workers_or_the_bus_whichever_is_slower(made: Any) -> None:
    cluster = made.question().cluster  # the bus moves 1e9 bytes a second: 0.1 s
    assert loader_s(JOB, cluster, 1, np.array([1.0, 2.0, 4.0]), RATE) == pytest.approx([0.2, 0.1, 0.1])
