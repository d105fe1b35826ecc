"""Rows on their way from the host: how long a step waits for them, how many workers that takes, how much host memory.

A step takes max(computing, loading), as workers prepare the next batches meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abi.devices.device import Cluster
from abi.execution.columns import Numbers
from abi.execution.types import Job

PREFETCH = 2
"""Batches that each worker has ready: DataLoader's default `prefetch_factor`."""


@dataclass(frozen=True)
class WorkerRate:
    """What one worker takes for a row: `row_s`, and `bytes_per_s` for what is in it.

    The defaults were measured with a DataLoader over tensors in memory on one core of a server; decoding images or texts
    takes far longer, and a user who does so gives what was measured there.
    """

    row_s: float = 6e-6
    bytes_per_s: float = 1e9

    def row_total_s(self, row_bytes: int) -> float:
        """One worker, one row."""
        return self.row_s + row_bytes / self.bytes_per_s


TYPICAL = WorkerRate()


def batch_bytes(job: Job, devices: int, micro_batch: Numbers) -> Numbers:
    """Host memory that one worker of each device needs: its batches on their way."""
    return devices * PREFETCH * micro_batch * job.row_bytes


def choose_workers(
    job: Job,
    cluster: Cluster,
    devices: int,
    micro_batch: Numbers,
    compute_s: Numbers,
    host_bytes: float | int,
    rate: WorkerRate = TYPICAL,
) -> Numbers:
    """The fewest workers of each device that keep up with it; as many as there are cores and host memory for otherwise."""
    one_s = job.global_batch / devices * rate.row_total_s(job.row_bytes)
    needed = np.ceil(one_s / compute_s * (1 - 1e-12))
    cores = max(cluster.host_cores // devices, 1)
    room = np.floor(host_bytes / batch_bytes(job, devices, micro_batch))
    return np.clip(np.minimum(needed, room), 1, cores)


def loader_s(job: Job, cluster: Cluster, devices: int, workers: Numbers, rate: WorkerRate = TYPICAL) -> Numbers:
    """Seconds until the rows of a step are on a device: the workers or the way over the bus, whichever is slower."""
    return rows_s(np.full_like(workers, job.global_batch / devices), job.row_bytes, cluster, workers, rate)


def rows_s(
    rows: Numbers, row_bytes: int, cluster: Cluster, workers: Numbers | int, rate: WorkerRate = TYPICAL
) -> Numbers:
    """The same of so many rows for each device."""
    bus_s = rows * row_bytes / cluster.device.host_link
    return np.maximum(rows * rate.row_total_s(row_bytes) / workers, bus_s)
