"""What a command line says, before a parser is made: parts, files, and whom it trusts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from secateur.runs.names import CHOSEN, Trust
from secateur.runs.written import values_of

TRUST = "packages or modules, such as my_lab or my_lab,her_lab, whose code may run where a file names it"
"""Help of ``--trust``."""
DEVICE = "cpu, cuda, cuda:1, or auto: a GPU where there is one"
"""Help of ``--device``."""
ENGINES = "cpu: engines run on the processor here"
"""Help of ``--device`` where there is no other."""
PACKED = "how ONNX stores weights with zeros: exactly, or with values rounded to float16, which is not exact"
"""Help of ``--weights`` where they are stored so at all events."""
STORED = f"{PACKED}; or dense, zeros and all"
"""Help of ``--weights``."""
Timing = Literal["auto", "always", "never"]
TIMED = (
    "time the network beside its dense reference in ONNX Runtime and with its zeros skipped; auto: where more than half of the weights "
    "are zero, training took 30 s or more, and secateur-runtime is installed"
)
"""Help of ``--bench``."""
SPLIT = (
    "what the report's figures are of; val leaves the test split alone while settings are chosen, and the same command with test "
    "then evaluates what was chosen"
)
"""Help of ``--split``."""

SHORT = {"--density": "--method.density", "--tasks": "--data.tasks"}
"""Options that may be written without the part that they are of."""


def spelt_out(argument: str) -> str:
    """``--data nyuv2`` is short for ``--data.name nyuv2``, ``--density`` for ``--method.density``; - is as good as _."""
    option, equals, value = argument.partition("=")
    if not option.startswith("--"):
        return argument
    option = f"--{option[2:].replace('-', '_')}"
    return (
        f"{option}.name{equals}{value}"
        if option[2:] in CHOSEN
        else f"{SHORT.get(option, option)}{equals}{value}"
    )


def given(argv: Sequence[str], option: str) -> list[str]:
    """Every value of ``--option value`` and ``--option=value``, in order."""
    joined = f"{option}="
    after = {place + 1: value for place, (name, value) in enumerate(pairwise(argv)) if name == option}
    inside = {place: a.removeprefix(joined) for place, a in enumerate(argv) if a.startswith(joined)}
    return [value for _, value in sorted({**after, **inside}.items())]


def without(argv: Sequence[str], option: str) -> list[str]:
    """The command line without ``--option value`` and ``--option=value``."""
    dropped = {place for place, argument in enumerate(argv) if argument == option}
    dropped |= {place + 1 for place in dropped} | {
        p for p, a in enumerate(argv) if a.startswith(f"{option}=")
    }
    return [argument for place, argument in enumerate(argv) if place not in dropped]


def trusted(argv: Sequence[str]) -> Trust:
    """Whom a command line trusts: what it names as a part, and the packages of ``--trust``.

    Raises:
        ValueError: If ``--trust`` is given something that is no import path.
    """
    argv = [spelt_out(argument) for argument in argv]
    packages = [p.strip() for value in given(argv, "--trust") for p in value.split(",")]
    for package in packages:
        if not all(word.isidentifier() for word in package.split(".")):
            raise ValueError(f"--trust is {package!r}; give a package or module, such as my_lab.")
    named = {(kind, name) for kind in CHOSEN for name in given(argv, f"--{kind}.name")}
    asked = [*given(argv, "--aggregator"), *given(argv, "--aggregator.name")]
    named |= {("aggregator", str(name)) for value in asked if (name := aggregator_name(_value(value)))}
    called = [name for value in given(argv, "--callbacks") for name in callback_names(_value(value))]
    named |= {("callback", str(name)) for name in called}
    return Trust(frozenset(packages), frozenset(named))


def aggregator_name(asked: Any) -> Any:
    """The name in what ``aggregator`` is given: it is one, or a mapping with one."""
    return asked.get("name") if isinstance(asked, Mapping) else asked


def callback_names(asked: Any) -> list[Any]:
    """The names in what ``callbacks`` is given: a list of names and of mappings with one, or names with commas between them."""
    if isinstance(asked, str):
        asked = [name.strip() for name in asked.split(",")]
    held: list[Any] = list(asked) if isinstance(asked, (list, tuple)) else []
    return [one.get("name") if isinstance(one, Mapping) else one for one in held]


def _value(text: str) -> Any:
    try:
        return values_of(text)
    except Exception:  # of every kind, as of `!!bool x`; the parser says what is wrong with it
        return text
