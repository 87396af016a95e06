"""What a network may cost: milliseconds, megabytes, multiply-accumulates, parameters; in one line or as numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from secateur.deployment.bench import EngineName
from secateur.problem import check_count

Kind = Literal["ms", "mb", "macs", "params"]
KINDS: tuple[Kind, ...] = ("ms", "mb", "macs", "params")
TOLERANCE = 0.05  # by which measured time may exceed what was asked: the spread of a quiet machine
_WORDS = {"megabytes": "mb", "milliseconds": "ms", "parameters": "params"}
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_NAMES = "|".join((*KINDS, *_WORDS))
_LIMIT = re.compile(
    rf"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)\s*([kmg]?)\s*(%|x)?\s*(?:of\s+)?({_NAMES})",
    re.IGNORECASE | re.ASCII,
)
_PARTS = re.compile(r" and | ?(?<![0-9.][eE])\+ ?", re.IGNORECASE)  # the plus of 1e+06 parts nothing


@dataclass(frozen=True)
class Budget:
    """Limits that a network is pruned to; several hold at once.

    Args:
        ms: Milliseconds of a forward pass in ``engine``, batch and size as the example's; ``"0.5x"`` is half of the dense time.
        mb: Megabytes (10^6 bytes) of the file for ``engine``, exported with ``dynamic=False`` and without ``about``; ``"0.5x"`` a share.
            On the command line of the file that ``secateur export --dynamic false`` writes, or with ``--size`` without that.
        macs: Multiply-accumulates of the example; up to 1, or as ``"0.5x"``, a share of the dense ones.
        params: Parameters; a share in the same way.
        engine: In which time is measured, and whose file counts: ``onnxruntime``, ``openvino``, ``sparse``, ``torch`` or ``executorch``.
        threads: Of a forward pass.

    Raises:
        ValueError: If no limit is given, or one is not positive, a share is above 1, or there is no such engine.
    """

    ms: float | str | None = None
    mb: float | str | None = None
    macs: float | str | None = None
    params: float | str | None = None
    engine: EngineName = "onnxruntime"
    threads: int = 1
    limits: Mapping[Kind, float] = field(init=False, repr=False, compare=False)
    shares: Mapping[Kind, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        limits: dict[Kind, float] = {}
        shares: dict[Kind, float] = {}
        for kind in KINDS:
            given = getattr(self, kind)
            if given is None:
                continue
            value, relative = _value(kind, given)
            (shares if relative else limits)[kind] = value
        if not limits and not shares:
            raise ValueError(
                f"Budget: no limit is given; give one of {', '.join(KINDS)}, such as Budget(ms=30) or Budget(macs=0.5)."
            )
        check_count("Budget: threads", self.threads)
        if self.engine not in get_args(EngineName):
            raise ValueError(
                f"Budget: there is no engine {self.engine!r}; give one of {', '.join(get_args(EngineName))}."
            )
        object.__setattr__(self, "limits", limits)
        object.__setattr__(self, "shares", shares)

    @classmethod
    def parse(cls, text: str, engine: EngineName = "onnxruntime", threads: int = 1) -> Budget:
        """``"30 ms"``, ``"0.5x ms"``, ``"0.3 macs"``, ``"8 MB and 2 M params"``.

        Raises:
            ValueError: If it cannot be read so.
        """
        found: dict[str, float | str] = {}
        for part in _PARTS.split(" ".join(text.split())):
            match = _LIMIT.fullmatch(part)
            kind = match and _WORDS.get(match[4].lower(), match[4].lower())
            if kind in found:
                raise ValueError(
                    f"budget: {text!r} limits {kind} twice; give one limit of each kind, such as the lower; commas part several networks."
                )
            if not match or not kind:
                raise ValueError(
                    f"budget: {part!r} is no limit; write a number and ms, MB, macs or params, such as '30 ms', '0.5x ms', "
                    "'0.3 macs', '8 MB and 2 M params'; commas part several networks."
                )
            number = float(match[1]) * _SCALES[match[2].lower()]
            found[kind] = f"{number!r}{match[3]}" if match[3] else number
        return cls(engine=engine, threads=threads, **found)  # pyright: ignore[reportArgumentType]

    def absolute(self, dense: Mapping[Kind, float]) -> dict[Kind, float]:
        """Every limit as a number of its kind, shares by what the dense network costs."""
        return {**self.limits, **{kind: share * dense[kind] for kind, share in self.shares.items()}}

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What is limited."""
        return tuple(kind for kind in KINDS if kind in self.limits or kind in self.shares)

    def __str__(self) -> str:
        said = [f"{_said(value)} {kind}" for kind, value in self.limits.items()]
        said += [f"{_said(value)}x {kind}" for kind, value in self.shares.items()]
        return " and ".join(said) + (f" in {self.engine}" if "ms" in self.kinds else "")


def over(limits: Mapping[Kind, float], costs: Mapping[Kind, float]) -> dict[Kind, float]:
    """What exceeds its limit, by which factor; time may be 5 % above."""
    return {
        kind: costs[kind] / limit
        for kind, limit in limits.items()
        if costs[kind] > limit * (1 + TOLERANCE if kind == "ms" else 1)
    }


def listed(costs: Mapping[Kind, float]) -> str:
    """In words, such as ``"30 ms, 8 mb"``."""
    return ", ".join(f"{cost:.4g} {kind}" for kind, cost in costs.items())


def _value(kind: Kind, given: float | str) -> tuple[float, bool]:
    text = given.strip().lower() if isinstance(given, str) else None
    relative = text is not None and text.endswith(("x", "%"))
    if isinstance(given, bool):
        raise ValueError(f"Budget: {kind} is {given}; give a number, or a share such as '0.5x'.")
    try:
        value = float(given if text is None else text[:-1] if relative else text)
    except (OverflowError, TypeError, ValueError):
        raise ValueError(f"Budget: {kind} is {given!r}; give a number, or a share such as '0.5x'.") from None
    value = value / 100 if text is not None and text.endswith("%") else value
    relative = relative or (kind in ("macs", "params") and value <= 1)
    if not math.isfinite(value) or value <= 0 or (relative and value > 1):
        raise ValueError(
            f"Budget: {kind} is {given!r}; give a positive number{', a share at most 1' if relative else ''}."
        )
    return value, relative


def _said(value: float) -> str:
    """In few digits, or in all where it is another number in few."""
    few = f"{value:g}"
    return few if float(few) == value else repr(value).removesuffix(".0")
