"""A finished run to a repository of the Hub, in one commit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.runs.hub.connection import check_name, connected
from secateur.runs.hub.contents import MANIFEST, Contents, contents

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_BESIDE = {".gitattributes"}  # what a new repository has of itself


def push(
    run: Path, repo: str, *, private: bool = True, licence: str | None = None, sending: Contents | None = None
) -> str:
    """Sends a finished run, and takes away what an earlier push of ours left that is no longer part of it.

    Args:
        run: The run folder.
        repo: Such as ``my-lab/rooms-depth``; it is made where there is none.
        private: Nobody else may see it. One that is public already is refused then, and left as it is.
        licence: For the card.
        sending: What was shown to the user, of :func:`secateur.runs.hub.contents`; collected here if None.

    Returns:
        Address of the repository.

    Raises:
        ImportError: If ``huggingface_hub`` is not installed.
        ValueError: If the run is not finished, ``repo`` is no name or holds something else, or there is no token that may write.
        ConnectionError: If the Hub cannot be reached.
    """
    check_name(repo)
    sending = sending or contents(run, licence=licence, repo=repo)
    with connected(repo, writes=True) as api:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            held = _held(api, repo, private)
        except RepositoryNotFoundError:
            made = api.create_repo(repo, private=private, exist_ok=True)
            repo, held = made.repo_id, set[str]()
        operations: list[Any] = [
            CommitOperationAdd(name, file if isinstance(file, bytes) else str(file))
            for name, file in sending.files.items()
        ]
        operations += [CommitOperationDelete(name) for name in sorted(held - set(sending.files))]
        api.create_commit(repo, operations, commit_message=f"secateur push {run.resolve().name}")
        return f"{api.endpoint}/{repo}"


def _held(api: HfApi, repo: str, private: bool) -> set[str]:
    """Files of an earlier push.

    Raises:
        ValueError: If the repository is public and was to be private, or holds something that is not ours.
    """
    info = api.model_info(repo)
    if private and info.private is False:
        raise ValueError(
            f"{repo} is public, so all that is sent there is; say --private false if that is meant, or name another."
        )
    there = {file.rfilename for file in info.siblings or ()} - _BESIDE
    if not there:
        return set()
    if MANIFEST not in there:
        raise ValueError(
            f"{repo} holds something that secateur did not push ({', '.join(sorted(there)[:3])}); name another."
        )
    path = api.hf_hub_download(info.id, MANIFEST, revision=info.sha)
    try:
        listed: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        return {str(name) for name in listed["files"]} & there
    except (ValueError, KeyError, TypeError, RecursionError):
        return set()
