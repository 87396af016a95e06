"""Names of tensors in a program of torch.export."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from itertools import count
from typing import Any

from torch.export import ExportedProgram

_LONGEST = 400  # characters of a name that is given


def rename(program: ExportedProgram, plain: Callable[[str], bool]) -> None:
    """Gives others to the tensors and modules whose names are not ``plain``, made of letters, digits and points: ``sem_seg`` for ``sem-seg``."""
    signature = program.graph_signature
    specs = [*signature.input_specs, *signature.output_specs]
    taken = {spec.target for spec in specs if spec.target} | {*program.state_dict, *program.constants}
    names: dict[Any, str] = {}
    for old in sorted(name for name in taken if not plain(name)):
        new = _plainer(old)
        names[old] = next(name for i in count() if (name := f"{new}_{i}" if i else new) not in taken)
        taken.add(names[old])
    for spec in specs:
        spec.target = names.get(spec.target, spec.target)
    for entry in program.module_call_graph:
        entry.fqn = entry.fqn if plain(entry.fqn) else _plainer(entry.fqn)
    for held in (program.state_dict, program.constants) if names else ():
        entries = {names.get(name, name): value for name, value in held.items()}
        held.clear()
        held.update(entries)


def writable(name: str) -> bool:
    """Whether torch can write a tensor's name as Python."""
    parts = name.split(".")
    return name.isprintable() and not any(map(keyword.iskeyword, parts)) and not re.search(r'["\\]', name)


def _plainer(name: str) -> str:
    parts = re.sub(r"[^\w.]", "_", name)[-_LONGEST:].split(".")
    return ".".join(f"{part}_" if keyword.iskeyword(part) else part for part in parts)
