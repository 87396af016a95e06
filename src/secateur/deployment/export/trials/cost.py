"""What a forward pass would take, found without computing it."""

from __future__ import annotations

import logging
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import fake_tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from secateur.deployment.export.kept_state import Kept
from secateur.deployment.export.network import Network
from secateur.problem import exporting, preserved_rng

_UNTOLD = (
    NotImplementedError,
    fake_tensor.DataDependentOutputException,
    fake_tensor.DynamicOutputShapeException,
    fake_tensor.UnsupportedFakeTensorException,
    fake_tensor.UnsupportedOperatorException,
)
_WRITING = 8  # multiplications that take as long as writing one number


@dataclass(frozen=True)
class Cost:
    """Of one pass.

    Args:
        memory: Bytes of what it holds at once, weights left out.
        work: Multiplications and additions, and what writing its tensors takes, as many as could be done meanwhile.
        ends: Whether the model does not raise.
    """

    memory: int
    work: int
    ends: bool


def cost(network: Network, sizes: Sequence[Sequence[int]]) -> Cost | None:
    """Of a pass on inputs of ``sizes``, by their shapes alone; None where that cannot be told.

    Where the model raises, it is what it takes until then. Attention is counted with the scores of all pairs, which engines hold
    though torch may not.
    """
    before, fast = Kept(network.state.model), torch.backends.mha.get_fastpath_enabled()
    counted, ends, log = _Counting(), False, logging.getLogger(fake_tensor.__name__)
    heard, log.disabled = log.disabled, True  # it would tell of each size that the model does not take
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # one operation, which holds more than it returns
        with (
            torch.no_grad(),
            preserved_rng(),
            exporting(),
            warnings.catch_warnings(),
            fake_tensor.FakeTensorMode(allow_non_fake_inputs=True),
            sdpa_kernel(SDPBackend.MATH),
        ):
            warnings.simplefilter("ignore")
            with counted:
                pairs = zip(network.example, sizes, strict=True)
                network.module(*[torch.empty(list(size), dtype=x.dtype) for x, size in pairs])
        ends = True
    except _UNTOLD:
        return None
    except Exception:  # of the user's code, which raises when it is run too
        pass
    finally:
        log.disabled = heard
        torch.backends.mha.set_fastpath_enabled(fast)
        before.restore()  # tensors without values in caches
    return Cost(counted.most, counted.work, ends)


class _Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.held = self.most = self.work = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.work += int(formula(*args, **(kwargs or {}), out_val=found))
        if not any(one.alias_info is not None for one in func._schema.returns):  # no view, nor in place
            for tensor in tree_leaves(found):
                if isinstance(tensor, Tensor):
                    self._made(tensor)
        return found

    def _made(self, tensor: Tensor) -> None:
        size = tensor.numel() * tensor.element_size()
        self.held, self.work = self.held + size, self.work + _WRITING * tensor.numel()
        self.most = max(self.most, self.held)
        weakref.finalize(tensor, self._freed, size)

    def _freed(self, size: int) -> None:
        self.held -= size
