"""Copies of a model that is being pruned, such as moving averages: they end with the same zeros."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from secateur.pruning import is_effective
from secateur.shrinking import unwrapped


class Followers:
    """What becomes of ``model``'s weights outside the optimizer becomes of the copies' too."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._weights: Mapping[str, nn.Parameter] = {}
        self._over = False  # nothing follows any more
        self._copies: list[_Copy] = []

    def begin(self, weights: Mapping[str, nn.Parameter]) -> None:
        """These weights of the model are what is pruned from now on, also while a loop has frozen some of them."""
        self._weights, self._over = _named(weights.items()), False

    def end(self) -> None:
        """Nothing follows any more."""
        self._weights, self._over = {}, True

    def add(self, copy: Any) -> Any:
        """Takes ``copy``, a module or the tensors of one by their names, along; see :meth:`secateur.Pruning.follow`."""
        if self._over:
            raise RuntimeError(
                "follow: Pruning was left, and nothing gives a copy its zeros any more; call pruning.follow inside the block."
            )
        if not isinstance(copy, (nn.Module, Mapping)):
            raise ValueError(
                f"follow: {type(copy).__name__} is no module; give the averaged copy of the model itself, or its tensors by name."
            )
        own = _named(self._model.named_parameters())
        pairs = [(n, *offer) for n in _readings(self._model) for offer in enumerate(_offers(copy))]
        found = [_differing(own, names, o, exact=isinstance(copy, nn.Module)) for names, _, o in pairs]
        fits = next((pair for pair, wrong in zip(pairs, found, strict=True) if not wrong), None)
        if fits is None:
            raise ValueError(
                f"follow: {type(copy).__name__} is no copy of the model; they differ in {', '.join(min(found, key=len)[:3])}. "
                "Give copy.deepcopy(model), or an average made of it."
            )
        names, place, other = fits
        if any(other[names[n]] is p for n, p in own.items()):
            raise ValueError("follow: that is the model itself; it gets its zeros anyway.")
        self._copies.append(_Copy(copy, place, names))
        return copy

    @contextmanager
    def following(self) -> Generator[None]:
        """Around what a method does: where it turns thresholded weights into plain ones, copies move by as much."""
        weights = self._weights if self._copies and is_effective(self._model) else {}
        before = {name: weight.detach().clone() for name, weight in weights.items()}
        yield
        if weights and not is_effective(self._model):
            with torch.no_grad():
                for copy in self._copies:
                    for name, own, weight in copy.beside(weights):
                        own.add_((weight - before[name]).to(own))

    @torch.no_grad()
    def finish(self) -> None:
        """Gives the copies the model's zeros."""
        for copy in self._copies:
            for _, own, weight in copy.beside(self._weights):
                own.mul_((weight != 0).to(own))


@dataclass(frozen=True)
class _Copy:
    """A module or a mapping; which tensors it holds is looked up whenever they are needed, since averages may be made anew.

    Args:
        of: The copy.
        place: Which of :func:`_offers` its tensors are.
        names: The model's own names to those there.
    """

    of: nn.Module | Mapping[str, Tensor]
    place: int
    names: Mapping[str, str]

    def beside(self, weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Name, the copy's tensor and the model's of each of ``weights``; ValueError if the copy no longer has one."""
        now = next(islice(_offers(self.of), self.place, None), {})
        for name, weight in weights.items():
            there = self.names[name]
            if getattr(now.get(there), "shape", None) != weight.shape:
                raise ValueError(
                    f"follow: {type(self.of).__name__} no longer has {there} in the shape of the model's, so it got no zeros; "
                    "leave in it what was there, or follow another."
                )
            yield name, now[there], weight


def _named(parameters: Iterable[tuple[str, nn.Parameter]]) -> dict[str, nn.Parameter]:
    return {unwrapped(name): parameter for name, parameter in parameters}


def _readings(model: nn.Module) -> Iterator[dict[str, str]]:
    """The model's own names, and where it is distributed those without the wrapper: its name to that which a copy may have for it."""
    names = [*_named(model.named_parameters())]
    yield {name: name for name in names}
    if isinstance(model, (nn.DataParallel, DistributedDataParallel)):
        yield {name: name.removeprefix("module.") for name in names}


def _offers(copy: nn.Module | Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """The tensors of a copy by their names; then those without what wraps it: averages, compiled and distributed modules."""
    if isinstance(copy, Mapping):
        yield copy
        return
    inner: nn.Module | None = copy
    while inner is not None:
        copy = inner
        yield _named(copy.named_parameters())
        children = dict(copy.named_children())
        inner = children.get("module", children.get("_orig_mod"))
        if len(children) > 1 or next(copy.parameters(recurse=False), None) is not None:
            return


def _differing(
    own: Mapping[str, Tensor], names: Mapping[str, str], other: Mapping[str, Tensor], exact: bool
) -> list[str]:
    """The parameters that are not in ``other`` under ``names``; if it is to be ``exact``, also what there is more of."""
    wrong = [n for n, p in own.items() if getattr(other.get(names[n]), "shape", None) != p.shape]
    return wrong or (sorted(other.keys() - set(names.values())) if exact else [])
