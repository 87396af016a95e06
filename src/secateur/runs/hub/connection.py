"""The Hub, as its own client reaches it: errors in our words, and nothing reported of its use."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from secateur.runs.written import said

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_NAME = re.compile(
    r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?(/[A-Za-z0-9_]([A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?)?"
)


def check_name(repo: str) -> str:
    """``repo`` if it may be a repository's name.

    Raises:
        ValueError: If it may not.
    """
    wrong = (
        not _NAME.fullmatch(repo) or "--" in repo or ".." in repo or repo.endswith(".git") or len(repo) > 96
    )
    if wrong:
        raise ValueError(f"{said(repo, 120)!r} is no name of a repository; give such as my-lab/rooms-depth.")
    return repo


@contextmanager
def connected(repo: str, *, writes: bool = False) -> Generator[HfApi]:
    """The client; what it raises within is said in a line.

    Args:
        repo: For errors.
        writes: Whether a token is needed.

    Raises:
        ImportError: If ``huggingface_hub`` is not installed.
        ValueError: If there is no token, no such repository, or it may not be read or written.
        ConnectionError: If the Hub cannot be reached.
    """
    try:
        from huggingface_hub import HfApi, constants, get_token
        from huggingface_hub.errors import (
            EntryNotFoundError,
            GatedRepoError,
            HfHubHTTPError,
            HTTPError,  # pyright: ignore[reportPrivateImportUsage] (that of httpx or httpx2, as the release has it)
            LocalEntryNotFoundError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise ImportError(
            f"push and pull need huggingface_hub ({error}): pip install 'secateur[hub]'"
        ) from error
    endpoint = os.environ.get("HF_ENDPOINT", constants.ENDPOINT).rstrip("/")
    known: Any = constants
    told, known.HF_HUB_DISABLE_TELEMETRY = known.HF_HUB_DISABLE_TELEMETRY, True
    try:
        if writes and not get_token():
            raise ValueError("there is no token to push with; run `hf auth login`, or set HF_TOKEN.")
        yield HfApi(endpoint=endpoint, library_name="secateur")
    except OfflineModeIsEnabled as error:
        raise ConnectionError(
            f"the Hub is not asked while HF_HUB_OFFLINE is set ({said(error)}); unset it."
        ) from error
    except GatedRepoError as error:
        raise ValueError(
            f"{repo} asks for its terms to be agreed to; do so at {endpoint}/{repo}, then try again."
        ) from error
    except RepositoryNotFoundError as error:
        raise ValueError(
            f"there is no repository {repo} at {endpoint}, or it is private and this token may not see it; check the name, or run "
            "`hf auth login`."
        ) from error
    except RevisionNotFoundError as error:
        raise ValueError(f"{repo} has no such revision; leave --revision out for the newest.") from error
    except HfHubHTTPError as error:
        raise _refused(repo, error) from error
    except (LocalEntryNotFoundError, HTTPError, ConnectionError) as error:
        raise ConnectionError(
            f"{endpoint} cannot be reached ({said(error)}); check the network, then run the same command again."
        ) from error
    except EntryNotFoundError as error:
        raise ValueError(
            f"{repo} lacks a file that its manifest names ({said(error)}); push it anew."
        ) from error
    finally:
        known.HF_HUB_DISABLE_TELEMETRY = told


def _refused(repo: str, error: Any) -> Exception:
    status = getattr(error.response, "status_code", 0)
    if status in (401, 403):
        return ValueError(
            f"this token may not do that with {repo} ({said(error)}); run `hf auth login` with one that may write."
        )
    if status == 404:
        return ValueError(f"{repo} lacks a file that its manifest names ({said(error)}); push it anew.")
    return ConnectionError(f"the Hub answers {status} for {repo} ({said(error)}); try again later.")
