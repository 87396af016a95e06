"""Speed of the built-in scenes on one core, all targets included.

OMP_NUM_THREADS=1 python benchmarks/speed/rooms_speed.py
"""

from __future__ import annotations

import time

import torch

from secateur.data.rooms.rooms import Rooms


def main(count: int = 500) -> None:
    """Prints images of 64x48 a second."""
    torch.set_num_threads(1)
    data = Rooms(count + 20)
    for index in range(20):
        _ = data[index]
    began = time.perf_counter()
    for index in range(20, count + 20):
        _ = data[index]
    print(f"{count / (time.perf_counter() - began):.0f} images of 64x48 a second on one core")


if __name__ == "__main__":
    main()
