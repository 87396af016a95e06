"""A Ray cluster of two machines, each a set of processes here, for tests and benchmarks/reliability/cluster.py."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

RUNS = [
    "--model.width", "0.0625", "--batch", "2", "--size", "16x16", "--device", "cpu", "--data.train_count", "4",
    "--data.val_count", "2", "--data.test_count", "2", "--data.tasks=[depth, edge]",
]  # fmt: skip


class Two:
    """The machines, one core each, beside a head that trains nothing.

    Args:
        cluster: Of ``ray.cluster_utils``.
    """

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._machines = [cluster.add_node(num_cpus=1) for _ in range(2)]
        self.killed_at: list[int] = []

    def kill_one(self) -> None:
        """As when its power is cut."""
        self._cluster.remove_node(self._machines.pop(), allow_graceful=False)

    def kill_one_in(self, out: Path) -> Thread:
        """Kills one when a run there is in the middle; the steps that runs were at then are in ``killed_at``."""

        def wait_and_kill() -> None:
            while not (found := list(out.rglob("checkpoint.pt"))):
                time.sleep(0.02)
            self.kill_one()
            self.killed_at = [len(p.with_name("metrics.jsonl").read_bytes().splitlines()) for p in found]

        thread = Thread(target=wait_and_kill, daemon=True)
        thread.start()
        return thread


@contextmanager
def two_machines() -> Generator[Two]:
    """A cluster that RAY_ADDRESS names for as long as the block lasts, and that reports to nobody."""
    from ray.cluster_utils import Cluster

    before = {name: os.environ.get(name) for name in ("RAY_ADDRESS", "RAY_USAGE_STATS_ENABLED")}
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    head = {"num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head, connect=False)
    try:
        os.environ["RAY_ADDRESS"] = cluster.address
        yield Two(cluster)
    finally:
        cluster.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def figures(out: Path) -> list[Any]:
    """What the table of a comparison says, every digit of it, but for times."""
    arms = json.loads((out / "results.json").read_text(encoding="utf-8"))["arms"]
    for arm in arms:
        arm["figures"] = [figure for figure in arm["figures"] if figure["name"] != "training time"]
    return arms
