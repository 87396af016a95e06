"""A finished run folder as bytes, and as files again: how a run comes back from a machine whose folders are its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path, PurePosixPath

from secateur.runs.config import Config, parse, resolved, telling
from secateur.runs.folder import RunFolder, differences
from secateur.runs.written import values_of
from secateur.storage import is_leftover, write_aside

Files = Mapping[str, bytes]  # path inside the folder -> content


def packed(path: Path) -> dict[str, bytes]:
    """The files of a finished run folder, without the checkpoints, of which it has no need any more."""
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and not is_leftover(file)]
    kept = [file for file in files if not file.name.startswith(RunFolder(path).checkpoint.stem)]
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in kept}


def digest_of(files: Files) -> str:
    """Of names and contents."""
    made = sha256()
    for name in sorted(files):
        made.update(f"{len(name.encode())} {name} {len(files[name])} ".encode())
        made.update(files[name])
    return made.hexdigest()


def write_run(files: Files, digest: str, folder: RunFolder, arguments: Sequence[str]) -> None:
    """Makes a run folder of what came back, each file whole or not there, the report last.

    Args:
        files: Of :func:`packed`.
        digest: That they had where they were made.
        folder: Where they go; what is left there of a run of the same configuration is replaced.
        arguments: Of the run, as of ``secateur train``.

    Raises:
        ValueError: If they are not what was made, not a finished run of these arguments, or lead out of the folder.
        OSError: If the folder cannot be written.
    """
    needed = {path.name for path in (folder.config, folder.weights, folder.report)}
    if digest_of(files) != digest or not needed <= files.keys():
        raise ValueError(f"{folder.path}: what came back is not whole; the same command trains it again.")
    for name in files:
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts or "\\" in name:
            raise ValueError(f"{folder.path}: a file of what came back, {name!r}, leads out of the folder.")
    config: Config = resolved(parse(arguments, exits=False))
    if told := list(differences(telling(values_of(files[folder.config.name])), telling(config))):
        raise ValueError(f"{folder.path}: what came back is another run: {'; '.join(told[:4])}.")
    folder.claim(config)
    with folder.held():
        if folder.finished:
            return
        for name, content in sorted(files.items(), key=lambda item: item[0] == folder.report.name):
            if name != folder.config.name:
                path = folder.inside(folder.path / name)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_aside(path, lambda aside, content=content: aside.write_bytes(content))
