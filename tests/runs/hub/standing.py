"""Stands for the Hugging Face Hub on the loopback: what its client asks when a run is pushed and pulled."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_standing"


@dataclass
class Repository:
    files: dict[str, bytes] = field(default_factory=dict)
    private: bool = True
    commits: int = 0

    @property
    def revision(self) -> str:
        return hashlib.sha1(repr((self.commits, sorted(self.files.items()))).encode()).hexdigest()


@dataclass
class Hub:
    """What the Hub holds.

    Args:
        repositories: By name.
        asked: Method and path of every request.
        agents: What the client says of itself.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    url: str = ""
    readonly: bool = False


@contextmanager
def standing() -> Generator[Hub]:
    hub = Hub()

    class Handler(_Handler):
        held = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def said_by(capsys: pytest.CaptureFixture) -> str:
    found = capsys.readouterr()
    return " ".join((found.out + found.err).split())


class _Handler(BaseHTTPRequestHandler):
    held: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name there)
        """Says nothing."""

    def do_HEAD(self) -> None:
        self._file(body=False)

    def do_GET(self) -> None:
        parts = self._parts()
        if parts[:2] == ["api", "models"]:
            return self._info("/".join(parts[2:4]), parts[5] if parts[4:5] == ["revision"] else "main")
        return self._file(body=True)

    def do_POST(self) -> None:
        parts, sent = self._parts(), self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if parts == ["api", "validate-yaml"]:
            return self._json({"errors": [], "warnings": []})
        if self.held.readonly or self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refuse(403, "may not write", "Forbidden")
        if parts == ["api", "repos", "create"]:
            asked = json.loads(sent)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            private = asked.get("private", asked.get("visibility") == "private")
            self.held.repositories.setdefault(name, Repository({".gitattributes": b""}, bool(private)))
            return self._json({"url": f"{self.held.url}/{name}", "name": name, "id": name})
        repository = self.held.repositories.get("/".join(parts[2:4]))
        if repository is None:
            return self._missing()
        if parts[4] == "preupload":
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                for f in json.loads(sent)["files"]
            ]
            return self._json({"files": files})
        for line in map(json.loads, sent.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del repository.files[value["path"]]
        repository.commits += 1
        return self._json(
            {
                "commitUrl": f"{self.held.url}/{parts[2]}/{parts[3]}/commit/1",
                "commitOid": repository.revision,
                "success": True,
            }
        )

    def _info(self, name: str, revision: str) -> None:
        repository = self._repository(name)
        if repository is None:
            return self._missing()
        if revision not in ("main", repository.revision):
            return self._refuse(404, "Invalid rev id", "RevisionNotFound")
        files = [{"rfilename": path, "size": len(data)} for path, data in sorted(repository.files.items())]
        return self._json(
            {
                "id": name,
                "modelId": name,
                "sha": repository.revision,
                "private": repository.private,
                "siblings": files,
                "tags": [],
            }
        )

    def _file(self, *, body: bool) -> None:
        owner, name, _, revision, *path = self._parts()
        repository = self._repository(f"{owner}/{name}")
        if repository is None:
            return self._missing()
        data = repository.files.get("/".join(path))
        if data is None:
            return self._refuse(404, "Entry not found", "EntryNotFound")
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", repository.revision if revision == "main" else revision)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        return self.wfile.write(data) and None if body else None

    def _repository(self, name: str) -> Repository | None:
        found = self.held.repositories.get(name)
        seen = found is not None and (
            not found.private or self.headers.get("Authorization") == f"Bearer {TOKEN}"
        )
        return found if seen else None

    def _missing(self) -> None:
        self._refuse(
            404 if self.headers.get("Authorization") else 401, "Repository not found", "RepoNotFound"
        )

    def _refuse(self, status: int, said: str, code: str) -> None:
        self._json({"error": said}, status, {"X-Error-Code": code, "X-Error-Message": said})

    def _json(self, value: Any, status: int = 200, more: dict[str, str] | None = None) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        for name, said in {
            "Content-Type": "application/json",
            "Content-Length": str(len(text)),
            **(more or {}),
        }.items():
            self.send_header(name, said)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _parts(self) -> list[str]:
        path = unquote(urlsplit(self.path).path)
        self.held.asked.append(f"{self.command} {path}")
        self.held.agents.add(self.headers.get("User-Agent", ""))
        return path.strip("/").split("/")
