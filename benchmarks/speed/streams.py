"""What it costs that every process of a training reads the whole stream and decodes its share.

    python benchmarks/speed/streams.py [--images 500] [--shards 4]

CPU seconds an image, on one core: to read it from a shard on disk (in the page cache), to do all that is done with it (reading, decoding,
resizing, augmenting, one batch of 32), and what of that the process that trains does itself where a worker decodes. JPEGs of 500x375,
about 92 kB, to 224x224. Writes docs/results/streams.json and the table in docs/scale.md.
"""

from __future__ import annotations

import argparse
import io
import json
import shlex
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from secateur.data import hf_images

DOCS = Path(__file__).resolve().parents[2] / "docs"
MARKS = ("<!-- {}: written by benchmarks/speed/streams.py -->", "<!-- end of {} -->")
BATCH, DEVICES = 32, (1, 8, 64)


def main() -> None:
    """Measures both kinds of shards and writes it down."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=500, help="of a shard")
    parser.add_argument("--shards", type=int, default=4, help="to train on")
    parser.add_argument("--out", type=Path, default=DOCS / "results" / "streams.json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        size = write(Path(folder), asked.images, asked.shards)
        found = {kind: cost(Path(folder) / kind, asked.images) for kind in ("tar", "parquet")}
    made = {"kinds": found, "bytes": size, "images": asked.images, "shards": asked.shards}
    made["command"] = shlex.join(["python", "benchmarks/speed/streams.py", *sys.argv[1:]])
    asked.out.write_text(json.dumps(made, indent=1) + "\n")
    if asked.out.is_relative_to(DOCS):
        page, (begin, end) = DOCS / "scale.md", (mark.format("streams") for mark in MARKS)
        before, _, rest = page.read_text(encoding="utf-8").partition(begin)
        shown = f"{begin}\n{tables(made)['streams']}\n{end}"
        page.write_text(before + shown + rest.partition(end)[2], encoding="utf-8")


def cost(root: Path, images: int) -> dict[str, float]:
    """CPU microseconds an image."""
    tar = root.name == "tar"
    labels: dict[str, Any] = {"labels": {"kind": "cls"}, "classes": {"kind": 10}}
    settings = labels if tar else {"labels": {"kind": "kind"}}

    def loader(workers: int) -> Any:
        made = hf_images(root=str(root), stream=True, batch=BATCH, buffer=images, workers=workers, **settings)
        return made.train

    alone, helped = loader(0), loader(1)
    read = timed(islice(alone.dataset.order(0).from_place(alone.dataset.order(0).at(0)), 3 * images), 1)
    everything = timed(islice(alone.from_step(0), 20), BATCH)
    own = timed(islice(helped.from_step(0), 60), BATCH)
    return {"read": read, "all": everything, "training process": own}


def timed(found: Iterator[Any], each: int) -> float:
    """CPU microseconds of this process for ``each``-th of one of them, the first left out."""
    next(found)
    began, count = time.process_time(), 0
    for _ in found:
        count += each
    return (time.process_time() - began) / count * 1e6


def tables(made: dict[str, Any]) -> dict[str, str]:
    """Costs of each kind, and what share reading is of all that a device's processes do, where n devices read all."""
    heads = [
        "shards",
        "read, µs",
        "all, µs",
        "of which the training process",
        "images a second, read by one process",
    ]
    heads += [f"reading's share, {n} device{'s' * (n > 1)}" for n in DEVICES]
    rows = [heads, ["---"] * len(heads)]
    for kind, costs in made["kinds"].items():
        read, decode = costs["read"], costs["all"] - costs["read"]
        shares = [f"{n * read / (n * read + decode):.0%}" for n in DEVICES]
        cells = [
            f"{read:.0f}",
            f"{costs['all']:.0f}",
            f"{costs['training process']:.0f}",
            f"{1e6 / read:.0f}",
        ]
        rows.append([kind, *cells, *shares])
    return {"streams": "\n".join(f"| {' | '.join(row)} |" for row in rows)}


def write(folder: Path, images: int, shards: int) -> float:
    """The same images as tar shards and Parquet files; returns bytes an image."""
    rng, total = np.random.default_rng(0), 0
    for split, count in (("train", shards), ("validation", 1), ("test", 1)):
        for shard in range(count):
            found = [_jpeg(rng) for _ in range(images if split == "train" else BATCH)]
            total += sum(map(len, found)) if split == "train" else 0
            kinds = [i % 10 for i in range(len(found))]
            for kind in ("tar", "parquet"):
                (folder / kind).mkdir(exist_ok=True)
            with tarfile.open(folder / "tar" / f"{split}-{shard}.tar", "w") as tar:
                for i, content in enumerate(found):
                    for ending, data in (("jpg", content), ("cls", str(kinds[i]).encode())):
                        member = tarfile.TarInfo(f"{i:06d}.{ending}")
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
            rows = pa.table({"image": [{"bytes": c, "path": None} for c in found], "kind": kinds})
            pq.write_table(rows, folder / "parquet" / f"{split}-{shard}.parquet", row_group_size=100)
    return total / (images * shards)


def _jpeg(rng: np.random.Generator) -> bytes:
    noise = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(cast(Any, noise)).resize((500, 375), Image.Resampling.BICUBIC).save(
        content, "JPEG", quality=95
    )
    return content.getvalue()


if __name__ == "__main__":
    main()
