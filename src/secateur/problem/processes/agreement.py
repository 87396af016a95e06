"""What all processes must hold in common before they train: one decides, or all are compared, and all hear of what is wrong."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from secateur.problem.processes.shared import several

T = TypeVar("T")
_SAID: dict[str, type[Exception]] = {
    error.__name__: error
    for error in (ValueError, OSError, FileNotFoundError, PermissionError, ImportError, FloatingPointError)
}


def from_first(make: Callable[[], T], device: torch.device) -> T:
    """What ``make`` returns in the first process, in all of them; every process must ask.

    Args:
        make: Called in the first process alone; gives tensors and plain values.
        device: Where tensors can be sent from.

    Raises:
        Exception: What ``make`` raises there, in every process.
    """
    if not several():
        return make()
    if distributed.get_rank() == 0:
        try:
            made = make()
        except Exception as error:
            kind = next((k.__name__ for k in type(error).__mro__ if k.__name__ in _SAID), "")
            _sent(_packed({"kind": kind, "said": str(error)}), device)
            raise
        _sent(_packed({"made": made}), device)
        return made
    # As a file of ours is read: what is sent runs no code either.
    found: dict[str, Any] = torch.load(io.BytesIO(_sent(None, device)), weights_only=True)
    if "made" not in found:
        raise _SAID.get(found["kind"], RuntimeError)(found["said"])
    return found["made"]


def check_same(mine: Mapping[str, Any], device: torch.device, remedy: str) -> None:
    """Raises ValueError, in every process alike, if one has other values than the first; it names process, key and values.

    Args:
        mine: Plain values by name.
        device: Where tensors can be sent from.
        remedy: What to do then.
    """
    if not several():
        return
    own = {key: str(value) for key, value in mine.items()}
    first = from_first(lambda: own, device)
    names = sorted(key for key in first.keys() | own.keys() if first.get(key) != own.get(key))
    said = "; ".join(f"{n} is {first.get(n)} in the first and {own.get(n)} there" for n in names[:3])
    told = _texts(said, device)
    if wrong := next((rank for rank, text in enumerate(told) if text), None):
        raise ValueError(f"Process {wrong} trains something else than the first: {told[wrong]}. {remedy}")


def same_generator(device: torch.device) -> None:
    """Every process takes the state that the first one's generator of ``device`` has; of the host it is in files already."""
    if several() and device.type == "cuda":
        torch.cuda.set_rng_state(from_first(lambda: torch.cuda.get_rng_state(device), device), device)


def _packed(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def _sent(content: bytes | None, device: torch.device) -> bytes:
    """The first process's bytes; of the others None is asked."""
    size = torch.tensor(len(content or b""), device=device)
    distributed.broadcast(size, 0)
    sent = torch.zeros(int(size), dtype=torch.uint8, device=device)
    if content is not None:
        sent.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    distributed.broadcast(sent, 0)
    return sent.cpu().numpy().tobytes()


def _texts(own: str, device: torch.device) -> list[str]:
    """What each process says, in the order of their ranks."""
    content = torch.frombuffer(bytearray(own.encode()[:2000].ljust(2000)), dtype=torch.uint8).to(device)
    found: list[Tensor] = [torch.empty_like(content) for _ in range(distributed.get_world_size())]
    distributed.all_gather(found, content)
    return [text.cpu().numpy().tobytes().decode(errors="replace").strip() for text in found]
