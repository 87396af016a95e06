"""Other sizes of the example, to check a file at: any, and those of which the trace took something for granted."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from secateur.deployment.export.trials.trials import Trials

Granted = Callable[[Sequence[Tensor]], str | None]
_STEPS = (32, 64, 128, 256)  # pixels: networks halve their input up to five times, some more often
TIMES = 2  # that each condition is tried where the model takes it
REFUSED = 6  # tries that the model does not take before a condition is believed to be its own
FARTHEST = 2**28  # elements of an input of which conditions are asked


@dataclass(frozen=True)
class Elsewhere:
    """Inputs that the model takes, of which something does not hold that the trace took for granted.

    Args:
        tensors: Of another size.
        predictions: The model's.
        condition: What does not hold, in the names of the axes.
    """

    tensors: tuple[Tensor, ...]
    predictions: Mapping[str, Tensor]
    condition: str


def granted(module: fx.GraphModule) -> Granted:
    """The checks of sizes that torch puts into ``program.module()``, as a function of inputs: the first that does not hold, or cannot be asked, None if all do."""
    given = [node for node in module.graph.nodes if node.op == "placeholder"]
    checks = [
        (module.get_submodule(str(node.target)), [given.index(argument) for argument in node.args])
        for node in checking(module)
        if all(argument in given for argument in node.args)
    ]

    def broken(tensors: Sequence[Tensor]) -> str | None:
        for check, places in checks:
            try:
                check(*(tensors[place] for place in places))
            except AssertionError as error:
                said = str(error).removeprefix("Guard failed: ")
                for place, node in enumerate(given):  # as `_named` reads it
                    said = re.sub(rf"\b{re.escape(node.name)}\.size\(\)", f"size_{place}", said)
                return said
            except Exception as error:  # such as a division by a size that is 0 there
                return f"all that is asked of sizes can be computed ({error})"
        return None

    return broken


def checking(module: fx.GraphModule) -> list[fx.Node]:
    """The calls without a result that check the sizes of inputs."""
    return [node for node in module.graph.nodes if node.op == "call_module" and not node.users]


def other_sizes(trials: Trials) -> Iterator[tuple[Tensor, ...]]:
    """The example at another size along each axis that may vary: repeated, as far as it takes to fill it.

    Args:
        trials: The passes that may be made.

    Raises:
        ValueError: If the model itself takes no other size that was tried.
    """
    now = trials.now
    batches = {name: size for name, size in now.items() if name.startswith("batch")}
    sides = [name for name in now if name not in batches]
    longer = [{name: size + more for name, size in batches.items()} for more in (1, 2, *batches.values())]
    larger = [{name: now[name] + step * i for i, name in enumerate(sides, start=1)} for step in _STEPS]
    for what, tried in (("batch", longer if batches else []), ("size", larger if sides else [])):
        found = next((run for sizes in tried if trials.fits(sizes) and (run := trials.run(sizes))), None)
        if found is not None:
            yield found[0]
        elif tried:
            raise ValueError(f"export: the model takes no other {what} that was tried")


def elsewhere(
    trials: Trials, broken: Granted, largest: Sequence[Sequence[int]] | None = None
) -> Iterator[Elsewhere]:
    """Sizes at which a condition of the trace does not hold, some for each condition; and a batch of 1, and odd sizes.

    What the model refuses too is no matter. Which sizes are tried comes of the example and of the numbers in the conditions.

    Args:
        trials: The passes that may be made.
        broken: What the trace took for granted.
        largest: Size of each input that the file takes at most.

    Raises:
        ValueError: If a condition fails for inputs alone that are too large to try.
    """
    now, shapes = trials.now, trials.shapes
    batches = {name: 1 for name in now if name.startswith("batch")}
    odd = {name: now[name] + 1 + 2 * i for i, name in enumerate(n for n in now if n not in batches)}
    plain = [sizes for sizes in (batches, odd) if sizes]
    taken, refused = Counter[str](), Counter[str]()
    numbers, known, seen = set[int](), set[str](), list[Mapping[str, int]]()
    while True:
        for sizes in [*plain, *nearest(now, numbers)]:
            if sizes in seen or not within(trials, sizes, largest):
                continue
            said = broken([torch.empty(shape, device="meta") for shape in trials.shape(sizes)])
            if said is not None:
                known.add(said)
            condition = said or ("" if sizes in plain else None)
            if condition is None or taken[condition] >= TIMES or refused[condition] >= REFUSED:
                continue
            if not trials.fits(sizes):
                continue
            seen.append(sizes)
            found = trials.run(sizes)
            (refused if found is None else taken)[condition] += 1
            if found is not None:
                yield Elsewhere(*found, named(condition, shapes))
        more = numbers_in(known)
        if more <= numbers:
            break
        numbers |= more
    for said in sorted(known - set(taken) - set(refused)):
        raise ValueError(
            f"export: the network may go another way where {named(said, shapes)} does not hold, which is for larger "
            "inputs than are tried"
        )


def numbers_in(conditions: Iterable[str]) -> set[int]:
    """Those that sizes are worth trying at."""
    return {int(n) for said in conditions for n in re.findall(r"(?<![\w\[])\d+", said) if int(n) > 4}


def nearest(now: Mapping[str, int], numbers: set[int]) -> list[dict[str, int]]:
    """Other sizes of some axes, those near to the example's first."""
    return sorted(
        _pool(now, numbers), key=lambda sizes: max(abs(math.log(n / now[name])) for name, n in sizes.items())
    )


def within(trials: Trials, sizes: Mapping[str, int], largest: Sequence[Sequence[int]] | None) -> bool:
    """Whether the file takes ``sizes``, and conditions are asked of them."""
    for shape, limits in zip(trials.shape(sizes), largest or (), strict=largest is not None):
        if any(size > limit for size, limit in zip(shape, limits, strict=True)):
            return False
    return trials.elements(sizes) <= FARTHEST


def _pool(now: Mapping[str, int], numbers: set[int]) -> Iterator[dict[str, int]]:
    """Other sizes of one axis, and of all but the batch at once."""
    sizes = [name for name in now if not name.startswith("batch")]
    for name, size in now.items():
        tried = {1, 2, 3, *(size + step for step in (-2, -1, 1, 2, 3, 5, 8))}
        tried |= {other + step for other in now.values() for step in (-1, 0, 1)}
        tried |= {max(size >> power, 1) for power in range(1, 6)} | {size << power for power in range(1, 25)}
        for number in numbers:
            tried |= {number - 1, number, number + 1, number + size - number % size}
            tried |= {number - number % 64 + 64, *(number // other + 1 for other in now.values())}
        yield from ({name: one} for one in sorted(tried) if one > 0 and one != size)
    for number in numbers if len(sizes) > 1 else ():
        yield {name: math.isqrt(number) + 1 for name in sizes}
        yield dict.fromkeys(sizes, number + 1)
    for power in range(1, 13) if len(sizes) > 1 else ():
        yield {name: now[name] << power for name in sizes}


def named(condition: str, shapes: Mapping[str, Sequence[int | str]]) -> str:
    """A condition of :func:`granted`, in the names of the axes."""
    for place, shape in enumerate(shapes.values()):
        for axis, name in enumerate(shape):
            condition = condition.replace(f"size_{place}[{axis}]", str(name))
    return condition
