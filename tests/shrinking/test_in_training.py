"""What a network does in training and not in eval mode: followed, said, and left trainable as it was."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dead_channels import size
from secateur import compact, compaction
from secateur.problem import Problem, Task
from secateur.shrinking import coupled_groups, problem_groups
from secateur.shrinking.compaction import Compaction

X = torch.randn(2, 3, 8, 8)


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class Supervised(nn.Module):
    """Two stages; in training a head reads the first of them too."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.a, self.c, self.d, self.head = way, conv(3, 6), conv(6, 6), conv(6, 6), conv(6, 2)
        self.aux, self.old = conv(6, 2), nn.Linear(8, 8)
        with torch.no_grad():
            self.d.weight[:, :4] = 0
            self.head.weight[:, :2] = 0

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        first = self.c(self.a(x).relu()).relu()
        found = {"o": self.head(self.d(first).relu())}
        if self.training and self.way == "shared":
            found["aux"] = self.head(first)
        if self.training and self.way == "own":
            found["aux"] = self.aux(first)
        if self.training and self.way == "by chance" and torch.rand(()).item() < 2:
            found["aux"] = self.aux(first)
        return found


def test_a_head_that_training_gives_another_stage_fits_both() -> None:
    model = Supervised("shared")
    del model.aux, model.old
    small = compact(model, X)
    assert size(small) < size(model)
    assert small.train()(X).keys() == {"o", "aux"}


def test_only_what_training_runs_is_said_to_be_cut() -> None:
    with pytest.warns(UserWarning, match=r"training alone runs read \(aux 4\)"):
        made = compaction(compact(Supervised("own"), X))
    assert made is not None
    assert (made.unseen, made.unreached) == (["aux"], ["old"])
    assert "Not reached with this example, left as they are: old." in made.text()
    assert type(made).from_dict(made.to_dict()).unreached == ["old"]


def test_training_that_cannot_be_followed_is_said() -> None:
    with pytest.warns(UserWarning, match=r"cannot be followed.*aux\.weight"):
        small = compact(Supervised("by chance"), X)
    made = compaction(small)
    assert made is not None
    assert (made.unseen, made.unreached) == ([], ["aux", "old"])
    assert "channels stay: training needs its channels as they are (conv2d in" in made.text()
    assert small.d.out_channels == 4
    small.train()(X)


class Remembering(Supervised):
    """Writes in training what it does not read: the means of the last batch, or a queue of many."""

    def __init__(self, way: str) -> None:
        super().__init__(way)
        del self.aux, self.old
        self.register_buffer("kept", torch.zeros((6,) if way == "last" else (8, 6)))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        first = self.c(self.a(x).relu()).relu()
        means = first.detach().mean((2, 3))
        if self.training and self.way == "last":
            self.kept.copy_(means.mean(0))
        elif self.training:
            self.kept = torch.cat([self.kept[2:], means])
        return {"o": self.head(self.d(first).relu())}


def test_what_training_writes_is_cut_like_what_it_writes_there() -> None:
    small = compact(Remembering("last"), X)
    assert small.kept.shape == (2,)
    small.train()(X)
    queue = compact(Remembering("queue"), X)  # of which the rows are not followed
    assert (queue.c.out_channels, queue.d.out_channels) == (6, 4)
    queue.train()(X)


class Silent(nn.Module):
    """Keeps its norm in eval mode, and does not return itself."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.n, self.b = conv(3, 6), nn.BatchNorm2d(6), conv(6, 2)

    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        super().train(mode)
        self.n.eval()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"o": self.b(self.n(self.a(x)).relu())}


def test_train_need_not_return_the_module() -> None:
    model = Silent()
    with torch.no_grad():
        model.b.weight[:, :3] = 0
    assert compact(model, X).a.out_channels == 3
    assert coupled_groups(Silent(), X).count == 6
    data = [(X, {"o": torch.zeros(2, 2, 8, 8)})]
    assert problem_groups(Problem(Silent(), {"o": Task(F.mse_loss)}, data)).count == 6


def test_what_cannot_be_copied_is_said() -> None:
    model: Any = nn.Conv2d(3, 2, 1)
    model.lock = threading.Lock()
    for verb in (compact, coupled_groups):
        with pytest.raises(ValueError, match=r"a Conv2d, cannot be copied .*lock.*keep no open files, locks"):
            verb(model, X)


class Aided(nn.Module):
    """Its auxiliary head reads what the others read, in training alone."""

    def __init__(self, zeros: int = 0) -> None:
        super().__init__()
        self.a, self.o, self.aux = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1), nn.Conv2d(8, 2, 1)
        with torch.no_grad():
            self.o.weight[:, :4], self.aux.weight[:, :zeros] = 0, 0

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = self.a(x).relu()
        return {"o": self.o(z), "aux": self.aux(z)} if self.training else {"o": self.o(z)}


@pytest.mark.parametrize("zeros", [0, 1, 4])
def test_channels_that_are_gone_and_training_alone_reads_are_said(zeros: int) -> None:
    model = Aided(zeros)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        small = compact(model, X)
    assert small.a.out_channels == small.aux.in_channels == 4
    assert "cut to fit what they are given: aux." in compaction(small).text()
    said = [str(one.message) for one in caught]
    made = compaction(small)
    if zeros == 4:
        assert not said
        assert not made.unread
    else:
        assert len(said) == 1
        assert (
            f"something else than the whole one: channels are gone that layers which training alone runs read (aux {4 - zeros})"
            in said[0]
        )
        assert made.unread == {"aux": 4 - zeros} == type(made).from_dict(made.to_dict()).unread
        assert f"In training they read channels that are gone: aux {4 - zeros}." in made.text()


@pytest.mark.parametrize("verb", [compact, coupled_groups])
def test_a_model_without_values_is_said_to_have_none(verb: Any) -> None:
    with torch.device("meta"):
        model = Silent()
    with pytest.raises(
        ValueError, match=r"on the meta device have no values \(.*weight.*\); materialise .*to_empty"
    ):
        verb(model, X)


@pytest.mark.parametrize("whole", [True, False])
def test_an_optimizer_of_a_compiled_network_goes_on(whole: bool) -> None:
    model: Any = Silent()
    with torch.no_grad():
        model.b.weight[:, :3] = 0
    if not whole:
        model.a = torch.compile(model.a)
    given: Any = torch.compile(model) if whole else model
    optimizer = torch.optim.Adam(given.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = compact(given, X, optimizer=optimizer)
    stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert stepped == {id(p) for p in small.parameters()}


class Normed(nn.Module):
    """Six channels are dead before the norm."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.c, self.n, self.h = nn.Conv2d(3, 16, 3, padding=1), norm, nn.Conv2d(16, 2, 1)
        with torch.no_grad():
            self.c.weight[:6] = 0
            if isinstance(norm.bias, Tensor):
                norm.bias.normal_().abs_()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"a": self.h(self.n(self.c(x)).relu())}


@pytest.mark.parametrize(
    "kind", [nn.BatchNorm2d, partial(nn.InstanceNorm2d, affine=True, track_running_stats=True)]
)
def test_constants_that_training_normalises_otherwise_are_said(kind: Callable[[int], nn.Module]) -> None:
    model, x = Normed(kind(16)), torch.randn(4, 3, 8, 8)
    made = compaction(small := compact(model, x))
    assert made.normed == {"n": 6}
    assert (
        "a constant that was folded on is another there, until the smaller network has trained a while: n 6."
        in made.text()
    )
    assert Compaction.from_dict(made.to_dict()).normed == made.normed
    assert not torch.allclose(model.train()(x)["a"], small.train()(x)["a"], rtol=1e-3), "as is said"


def test_of_constants_that_the_statistics_have_seen_nothing_is_said() -> None:
    model, x = Normed(nn.BatchNorm2d(16)), torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        model.n.running_mean[:6] = model.c.bias[:6]
    made = compaction(small := compact(model, x))
    assert (small.c.out_channels, made.normed) == (10, {})
    torch.testing.assert_close(small.train()(x)["a"], model.train()(x)["a"])
    assert compaction(compact(Normed(nn.BatchNorm2d(16, track_running_stats=False)), x)).normed == {}
