"""Docstrings and annotations as Sphinx takes them: a link leads to where a room hands a name out, whatever file it is written in."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from inspect import Signature
from typing import Any

from sphinx.util import inspect


def unbarred(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keeps ``|w|`` what it is, an absolute value, where reStructuredText would put a substitution."""
    for i, line in enumerate(lines):
        parts = re.split(r"(``.*?``)", line)
        lines[i] = "".join(part if part.startswith("``") else part.replace("|", r"\|") for part in parts)


def initialised(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str, returned: str
) -> tuple[str, str] | None:
    """The arguments of ``__init__`` where a base's ``__new__`` takes any."""
    if what != "class" or not (signature or "").startswith("(*given"):
        return None
    if obj.__init__ is object.__init__:
        return "()", returned
    own = inspect.signature(obj.__init__, bound_method=True).replace(return_annotation=Signature.empty)
    return inspect.stringify_signature(own, unqualified_typehints=True), returned


def titled(app: Any, docname: str, source: list[str]) -> None:
    """Gives a table that a benchmark wrote the name of its file as a title; links to files outside of the docs become their names."""
    source[0] = re.sub(r"\[([^\]]*)\]\(\.\./((?!docs/)[\w./]+)\)", _outside(docname), source[0])
    if docname.startswith("results/"):
        source[0] = f"---\norphan: true\n---\n\n# {docname.removeprefix('results/')}\n\n{source[0]}"


def _outside(docname: str) -> str | Callable[[re.Match[str]], str]:
    """What takes the place of a link that leaves the folder of a page: nothing changes where that is still the docs."""
    return r"\1 (`\2`)" if "/" not in docname else lambda found: found[0]


def resolve(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """The reference to the page of what ``node`` means; plain text for a class of ours that no room hands out, else None."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("secateur."):
        return None
    found, domain = _object(target), env.get_domain("py")
    if found is None:
        return None
    last = target.rpartition(".")[2]
    same = [n for n in domain.objects if n.rpartition(".")[2] == last and _object(n) is found]
    for name in sorted(same, key=lambda name: (name.count("."), name)):
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contnode)
    return contnode if isinstance(found, type) else None


def _object(path: str) -> Any:
    """What a dotted path means, or None."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name, None)
    except (ImportError, ValueError):
        return getattr(_object(module), name, None) if module else None
