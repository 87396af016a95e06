"""A run folder: one configuration, everything that came of it, nothing half written."""

from __future__ import annotations

import json
import shlex
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from secateur.runs.config import telling
from secateur.runs.written import check_size, read, said
from secateur.storage import behind, is_leftover, is_locked, lock, remove_leftovers, write_new


@dataclass(frozen=True)
class RunFolder:
    """Names of the files in the run folder at ``path``."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """The history, a JSON object a line, as :func:`~secateur.storage.row_lines` writes them."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint."""
        return self.path / "checkpoint.pt"

    @property
    def weights(self) -> Path:
        """The final weights."""
        return self.path / "model.safetensors"

    @property
    def compact(self) -> Path:
        """The weights of the compacted network."""
        return self.path / "compact.safetensors"

    @property
    def compaction(self) -> Path:
        """What compaction took away."""
        return self.path / "compact.json"

    @property
    def exports(self) -> Path:
        """Which files were exported."""
        return self.path / "exports.json"

    @property
    def bench(self) -> Path:
        """The last timing."""
        return self.path / "bench.json"

    @property
    def overlap(self) -> Path:
        """Where the tasks agree about the shared weights."""
        return self.path / "overlap.json"

    @property
    def report(self) -> Path:
        """The final figures; there only when all is done."""
        return self.path / "report.json"

    @property
    def page(self) -> Path:
        """The report to look at."""
        return self.path / "report.html"

    @property
    def samples(self) -> Path:
        """Pictures of test images, predictions and truths."""
        return self.path / "samples.npz"

    def claim(self, config: Mapping[str, Any]) -> None:
        """Makes the folder this configuration's own.

        Raises:
            ValueError: If it holds a run of another configuration, or something else, or weights or checkpoint are a link out of it.
            OSError: If it cannot be written.
        """
        for path in (self.weights, self.checkpoint):
            self.inside(path)
        if not self.config.exists():
            inside = self.path.iterdir() if self.path.is_dir() else ()
            if self.path.exists() and (not self.path.is_dir() or not all(map(is_leftover, inside))):
                if self.config.exists():  # another process has just made it
                    return self.claim(config)
                raise ValueError(
                    f"{self.path} exists and is not a run folder (it has no config.yaml); choose another --out."
                )
            if write_new(self.config, yaml.safe_dump(dict(config), sort_keys=True)):
                return None
        held = telling(self.read_config())
        if ("prune" in held) != ("prune" in config):
            kinds = ["a run that was trained", "a network that was pruned to a budget"]
            there, asked = kinds[:: -1 if "prune" in held else 1]
            raise ValueError(
                f"{self.path} holds {there}, and {asked} is asked for. Choose another --out, or delete the folder."
            )
        if told := list(differences(held, telling(config))):
            raise ValueError(
                f"{self.path} holds a run of another configuration: {'; '.join(told[:4])}. "
                "Choose another --out, or delete the folder."
            )
        return None

    def inside(self, path: Path) -> Path:
        """``path``, one of this folder's files that is to be written.

        Raises:
            ValueError: If it is a link that leads out of the folder, as in a folder from somebody it may lead anywhere.
        """
        if path.is_symlink() and not behind(path).is_relative_to(self.path.resolve()):
            raise ValueError(
                f"{path} is a link out of the run folder, to {behind(path)}; remove it, or say --out yourself."
            )
        return path

    @contextmanager
    def held(self) -> Generator[None]:
        """Keeps other processes from training here; the system lets go when the process ends, however it ends.

        Raises:
            ValueError: If another process trains here already.
        """
        with self.config.open("r+", encoding="utf-8") as file:  # of NFS alone a lock asks for a file to write
            if not lock(file):
                raise ValueError(
                    f"{self.path}: another process trains here; wait for it, or choose another --out."
                )
            remove_leftovers(self.path)
            yield

    @property
    def busy(self) -> bool:
        """Whether a process trains here, of this machine or of another that has the folder."""
        return is_locked(self.config)

    @contextmanager
    def abandoned(self, made: bool) -> Generator[None]:
        """Takes the claim back where what is inside raises and left nothing; to be used while the folder is held.

        Args:
            made: The folder was made with the claim, so it goes too.
        """
        try:
            yield
        except BaseException:
            if all(path == self.config or is_leftover(path) for path in self.path.iterdir()):
                remove_leftovers(self.path)
                with suppress(OSError):  # what is there to say is what was raised
                    self.config.unlink()
                    if made:
                        self.path.rmdir()
            raise

    def read_config(self) -> dict[str, Any]:
        """The resolved configuration.

        Raises:
            FileNotFoundError: If this is no run folder.
            ValueError: If the file is damaged; says where.
        """
        if not self.config.is_file():
            raise FileNotFoundError(no_run(self.path))
        found = read(self.config)
        check_size(self.config, found)
        return found

    def read_report(self) -> dict[str, Any] | None:
        """The final figures, None while the run is not finished.

        Raises:
            ValueError: If the file is damaged.
        """
        if not self.report.is_file():
            return None
        try:
            found = json.loads(self.report.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{self.report} cannot be read: {said(error)}. Delete it and run the same command again."
            ) from error
        return _mapping(found, self.report)

    @property
    def finished(self) -> bool:
        """Whether figures and weights are there; where one is missing, the same command makes it again."""
        return self.report.is_file() and self.weights.is_file()


def no_run(path: Path) -> str:
    """Why nothing at ``path`` is a run, and what to name in its place."""
    if path.is_file():
        beside = path.parent if RunFolder(path.parent).config.is_file() else "one"
        return f"{path} is a file, and a run is a folder; give {beside}."
    if found := [c.parent for deep in ("*", "*/*") for c in sorted(path.glob(f"{deep}/config.yaml"))]:
        more = f" and {len(found[6:])} more" if found[6:] else ""
        listed = " ".join(shlex.quote(str(run)) for run in found[:6])
        return f"{path} is no run folder, but holds {len(found)} of them; name what is meant: {listed}{more}."
    why = (
        "is no run folder (it has no config.yaml)" if path.exists() else "does not exist and is no run folder"
    )
    return f"{path} {why}; give the --out of a `secateur train`."


def _mapping(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(
            f"{path} is empty or holds something else than was written; delete its folder and train anew."
        )
    return cast(dict[str, Any], value)


def differences(held: Any, asked: Any, key: str = "") -> Iterator[str]:
    """Where two configurations differ, in words; of a part that is another one (a method, data) its name alone."""
    if isinstance(held, Mapping) and isinstance(asked, Mapping):
        other = "name" in held and "name" in asked and held["name"] != asked["name"]
        for name in ["name"] if key and other else sorted(held.keys() | asked.keys()):
            yield from differences(held.get(name), asked.get(name), f"{key}.{name}".lstrip("."))
    elif held != asked:
        yield f"{key} is {said(_worded(held))} there, {said(_worded(asked))} asked"


def _worded(value: Any) -> str:
    """A value of a configuration; mappings, alone or in a list, without Python's brackets."""
    if isinstance(value, Mapping):
        known = cast("Mapping[str, Any]", value)
        return ", ".join(f"{name} {_worded(inner)}" for name, inner in known.items()) or "nothing"
    if isinstance(value, list) and any(isinstance(one, Mapping) for one in cast("list[Any]", value)):
        return "; ".join(map(_worded, cast("list[Any]", value)))
    return repr(value)
