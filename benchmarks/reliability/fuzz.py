"""Fuzzes everything that reads a file, guided by coverage: no crash, no wrong acceptance, no code run.

Needs ``pip install atheris`` (libFuzzer for Python; Linux, and no part of the lock). A piece of the work is::

    python benchmarks/reliability/fuzz.py --minutes 10 [--target weights] [--seed 1]

Each piece goes on from the corpus that the last one left in build/fuzz, which begins with tests/corpus; counts are added to
docs/results/fuzz.json and docs/reliability.md. ``--keep`` writes the smallest corpus with the same coverage back to tests/corpus, as one archive a target.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import mmap
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import traceback
import zipfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from fuzzing.counts import COUNTS, recorded

ROOT = Path(__file__).resolve().parents[2]
CORPUS, WORK = ROOT / "tests" / "corpus", ROOT / "build" / "fuzz"
KEPT = 60  # inputs of a target that are committed, the shortest
LARGEST, SLOWEST = 65536, 20  # bytes of an input; seconds of one
TEXT = {
    "recipe": 1024,
    "config": 1024,
    "folder": 16384,
    "names": 256,
    "description": 8192,
    "manifest": 8192,
}  # longer ones are slow alone
MEMORY = 1 << 30  # bytes beyond what is there at the start


def targets() -> dict[str, str]:
    """Name to ``module:maker``, imported only where it is run, so that all of it is instrumented."""
    return {
        "weights": "weights:plain", "compacted": "weights:compacted", "manifest": "weights:Manifest",
        "checkpoint": "checkpoints:Checkpoints", "folder": "folders:Folder", "recipe": "recipes:Recipe", "config": "recipes:Config",
        "names": "recipes:Names", "program": "described:Program", "description": "described:Description",
    }  # fmt: skip


def made(name: str) -> Any:
    """The target called ``name``."""
    module, _, maker = targets()[name].partition(":")
    return getattr(import_module(f"fuzzing.{module}"), maker)()


def corpus(name: str) -> list[bytes]:
    """What is committed for a target."""
    return [data for _, data in _named(name)]


def _named(name: str) -> list[tuple[str, bytes]]:
    path = CORPUS / f"{name}.zip"
    if not path.is_file():
        return []
    with zipfile.ZipFile(path) as archive:
        return [(entry, archive.read(entry)) for entry in archive.namelist()]


def child(name: str, arguments: list[str]) -> None:
    """Runs libFuzzer in this process; it never returns."""
    import atheris
    import torch._weights_only_unpickler as unpickler

    unpickler.Unpickler.load = atheris.instrument_func(unpickler.Unpickler.load)
    with atheris.instrument_imports(include=["secateur"]):
        target = made(name)
        from fuzzing.target import WrongError, memory
        from fuzzing.watch import Watch
    folder = WORK / name
    counted = mmap.mmap(os.open(folder / "counts", os.O_RDWR), 8 * len(COUNTS))

    def count(what: str) -> None:
        at = 8 * COUNTS.index(what)
        counted[at : at + 8] = struct.pack("<Q", struct.unpack("<Q", counted[at : at + 8])[0] + 1)

    for data in [*target.seeds(), *corpus(name)]:
        (folder / "corpus" / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        with suppress(Exception):  # lazy imports happen now, before anything is listened to
            target.check(data)
    watch = Watch(memory(), getattr(target, "code", ()))
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))

    def one(data: bytes) -> None:
        count("inputs")
        signal.setitimer(signal.ITIMER_VIRTUAL, SLOWEST)
        try:
            with watch.on():
                accepted = target.check(data)
            if watch.heard:
                raise WrongError(f"reading did {'; '.join(watch.heard[:3])}")
            count("accepted" if accepted else "refused")
        except Exception as error:
            count("wrong" if isinstance(error, WrongError) else "crashes")
            noted(folder, data, error)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        found = target.mutate(data, random.Random(seed), lambda piece: atheris.Mutate(piece, most))
        return found[:most]

    signal.signal(signal.SIGVTALRM, hung)
    atheris.Setup([sys.argv[0], *arguments], one, custom_mutator=mutate)
    atheris.Fuzz()


def hung(*_: object) -> None:
    """Ends what computes without end; the time is the processor's, so that a busy machine raises no alarm."""
    raise TimeoutError(f"more than {SLOWEST} seconds")


def noted(folder: Path, data: bytes, error: BaseException) -> None:
    """Keeps the first input of each kind of finding, beside its traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(f.filename).name}:{f.lineno}" for f in frames][-4:]
    kind = hashlib.sha256(
        f"{type(error)} {places} {str(error)[:30] if len(frames) < 3 else ''}".encode()
    ).hexdigest()[:12]
    path = folder / "findings" / kind
    if not path.exists():
        path.write_bytes(data)
        path.with_suffix(".txt").write_text(
            "".join(traceback.format_exception(error)), encoding="utf-8", errors="replace"
        )


def piece(name: str, seconds: float, seed: int) -> dict[str, Any]:
    """Fuzzes one target for so long; what it counted. A process that died is a crash, and the next one goes on."""
    folder = WORK / name
    for part in ("corpus", "findings", "died"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "counts").write_bytes(bytes(8 * len(COUNTS)))
    known = {p.name for p in (folder / "findings").iterdir()}
    began, died = time.monotonic(), 0
    while (left := int(seconds - (time.monotonic() - began))) > 0:
        limits = [
            f"-max_total_time={left}",
            f"-max_len={TEXT.get(name, LARGEST)}",
            "-timeout=1200",
            f"-seed={seed + died}",
        ]
        quiet = [
            "-rss_limit_mb=4096",
            "-print_final_stats=0",
            "-verbosity=0",
            "-reload=0",
            "-mutate_depth=1",
            "-len_control=0",
        ]
        command = [
            sys.executable,
            __file__,
            "--child",
            name,
            *limits,
            *quiet,
            f"-artifact_prefix={folder}/died/",
            f"{folder}/corpus",
        ]
        with (folder / "log").open("ab") as log:
            status = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
        if status:
            died += 1
        if died > 20:
            break
    found = dict(zip(COUNTS, struct.unpack("<5Q", (folder / "counts").read_bytes()), strict=True))
    found["crashes"] += died
    kinds = {p.name for p in (folder / "findings").iterdir() if not p.suffix} - known
    return {
        "target": name,
        "seed": seed,
        "seconds": round(time.monotonic() - began),
        **found,
        "kinds": len(kinds) + died,
    }


def keep(name: str) -> None:
    """The smallest corpus with the same coverage, and what was found once, as one archive."""
    folder = WORK / name
    merged = folder / "merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir(parents=True)
    command = [
        sys.executable,
        __file__,
        "--child",
        name,
        "-merge=1",
        f"-max_len={TEXT.get(name, LARGEST)}",
        str(merged),
        str(folder / "corpus"),
    ]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = {p.read_bytes() for p in (folder / "findings").iterdir() if not p.suffix}
    small = sorted((p.read_bytes() for p in merged.iterdir()), key=len)
    CORPUS.mkdir(exist_ok=True)
    found |= {d for n, d in _named(name) if n.startswith("found")}
    with zipfile.ZipFile(CORPUS / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for kind, data in [
            *(("found", d) for d in sorted(found)),
            *(("corpus", d) for d in small[:KEPT] if d not in found),
        ]:
            entry = zipfile.ZipInfo(f"{kind}-{hashlib.sha256(data).hexdigest()[:12]}")
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)


def main() -> None:
    """A piece of each target asked, one after the other."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--target", choices=list(targets()), help="one of them; all in turn if left out")
    arguments.add_argument("--minutes", type=float, default=10, help="of each target")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--keep", action="store_true", help="write the corpus back; fuzz nothing")
    given = arguments.parse_args()
    for name in [given.target] if given.target else targets():
        if given.keep:
            keep(name)
        else:
            recorded(done := piece(name, 60 * given.minutes, given.seed))
            print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
