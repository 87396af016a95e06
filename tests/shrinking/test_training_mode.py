"""The smaller network in training mode: it does the same there, and nothing of it keeps channels that need not stay."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dead_channels import same
from secateur import compact, compaction
from secateur.shrinking import coupled_groups

X = torch.randn(4, 3, 8, 8)


class Activated(nn.BatchNorm2d):
    """As timm has it."""

    def forward(self, x: Tensor) -> Tensor:
        training = self.training or self.running_mean is None
        x = F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training, 0.1, self.eps
        )
        return F.relu(x)


class Plain(nn.BatchNorm2d):
    pass


class Groups(nn.GroupNorm):
    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)


class Frozen(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, value in {"weight": 1.5, "bias": 0.1, "running_mean": 0.2, "running_var": 2.0}.items():
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        return x * scale[:, None, None] + (self.bias - self.running_mean * scale)[:, None, None]


class Called(Frozen):
    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        return F.batch_norm(x, mean, var, self.weight, self.bias, self.training)


class Written(Frozen):
    """By hand; in training its statistics are written."""

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            with torch.no_grad():
                self.running_mean.lerp_(mean, 0.1)
                self.running_var.mul_(0.9).add_(0.1 * var)
        x = (x - mean[:, None, None]) * (var + 1e-5).rsqrt()[:, None, None]
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class DropPath(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * x.new_empty((len(x), 1, 1, 1)).bernoulli_(0.8).div_(0.8)


class Mixup(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.7 * x + 0.3 * x[torch.randperm(x.shape[0])] if self.training else x


class Dropped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.3, self.training)


class Masked(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand(x.shape[0], x.shape[1], 1, 1) > 0.3) if self.training else x


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x) if self.training else x


class Unknown(nn.Module):
    """What channels are not followed through, and leaves all as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.ifft2(torch.fft.fft2(x)).real if self.training else x


class Net(nn.Module):
    def __init__(self, norm: Callable[[int], nn.Module], between: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.a, self.n, self.m = nn.Conv2d(3, 6, 3, padding=1), norm(6), between()
        self.b, self.o, self.head = nn.Conv2d(6, 6, 3, padding=1), norm(6), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.m(F.relu(self.n(self.a(x))))
        return self.head(self.m(F.relu(self.o(self.b(x)))))


def half_dead(model: Net) -> Net:
    with torch.no_grad():
        model.b.weight[:, :3] = 0
        model.head.weight[:, 3:] = 0
    return model.eval()


NORMS = [Activated, Plain, nn.SyncBatchNorm, Groups, Frozen, Called, Written]
BETWEEN = [DropPath, Mixup, Dropped, Masked, Noisy, Unknown]


@pytest.mark.parametrize(
    ("norm", "between"),
    [*((norm, DropPath) for norm in NORMS), *((Plain, between) for between in BETWEEN[1:])],
)
def test_norms_and_noise_of_ones_own_keep_no_channels(norm: type, between: type) -> None:
    torch.manual_seed(0)
    model = half_dead(Net(norm, between))
    small = compact(model, X)
    assert (small.a.out_channels, small.b.out_channels) == (3, 3)
    assert all(len(value) == 3 for module in (small.n, small.o) for value in module.buffers() if value.dim())
    with torch.no_grad():
        assert same(model(X), small(X))
    small.train()(X)
    assert coupled_groups(Net(norm, between), X).count == 12


class Numbered(Net):
    """Reads channels by their number, in training alone."""

    def __init__(self) -> None:
        super().__init__(nn.BatchNorm2d, nn.Identity)

    def forward(self, x: Tensor) -> Tensor:
        f = F.relu(self.o(self.b(F.relu(self.n(self.a(x))))))
        return self.more(f, self.head(f))

    def more(self, f: Tensor, y: Tensor) -> Tensor:
        return aided(self, f, y)


def aided(model: nn.Module, f: Tensor, y: Tensor) -> Tensor:
    return y + f[:, -2:] if model.training else y


class ByValues(Numbered):
    def more(self, f: Tensor, y: Tensor) -> Tensor:
        return y + f[:, -2:] if self.training and float(y.detach().abs().mean()) >= 0 else y


class ByGradients(Numbered):
    def more(self, f: Tensor, y: Tensor) -> Tensor:
        return y + f[:, -2:] if torch.is_grad_enabled() else y


def trains_as(model: nn.Module, small: nn.Module) -> bool:
    for one in (model, small):
        one.train()
        for norm in (one.n, one.o):
            norm.eval()  # pyright: ignore
    return same(model(X).detach(), small(X).detach())


@pytest.mark.parametrize("kind", [Numbered, ByGradients, ByValues])
@pytest.mark.filterwarnings("ignore:compact. what training alone runs cannot be followed:UserWarning")
@pytest.mark.parametrize("constant", [False, True])
def test_what_training_alone_reads_by_number_stays(kind: type[Numbered], constant: bool) -> None:
    torch.manual_seed(0)
    model = half_dead(kind())
    if constant:  # the layers before are dead, and not those that read them
        with torch.no_grad():
            model.head.weight.normal_()
            for part in (model.o.weight, model.o.bias):
                part[3:] = 0  # pyright: ignore
    small = compact(model, X)
    assert (small.a.out_channels, small.b.out_channels) == (3, 6)
    assert "training needs its channels as they are (conv2d in" in compaction(small).text()  # pyright: ignore
    assert trains_as(model, small)
    groups = coupled_groups(kind(), X)
    assert groups.count == 6
    assert bool((groups.index["head.weight"] < 0).all())


def test_training_that_cannot_be_followed_is_said_where_no_layer_is_left_out() -> None:
    with pytest.warns(UserWarning, match="cannot be followed .* is not known for certain; train before"):
        compact(half_dead(ByValues()), X)


class Weighed(Net):
    """Returns what training is to keep small, of all weights."""

    def __init__(self) -> None:
        super().__init__(nn.BatchNorm2d, nn.Identity)

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # pyright: ignore
        found = {"o": super().forward(x)}
        if self.training:
            found["decay"] = sum((p.square().sum() for p in self.parameters()), torch.zeros(()))
        return found


def test_what_cannot_be_kept_for_training_is_said_and_keeps_no_channels() -> None:
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match=r"in training mode .* computes something else .*\(decay differs"):
        small = compact(half_dead(Weighed()), X)
    assert (small.a.out_channels, small.b.out_channels) == (3, 3)


def test_what_training_makes_of_constants_is_no_reason() -> None:
    torch.manual_seed(0)
    model = Net(nn.BatchNorm2d, Noisy).eval()
    with torch.no_grad():
        for part in (model.n.weight, model.n.bias):
            part[:3] = 0  # pyright: ignore
    small = compact(model, X)
    assert small.a.out_channels == 3


class Asked(Net):
    """In training it looks at a layer that is dead."""

    def __init__(self) -> None:
        super().__init__(nn.BatchNorm2d, nn.Identity)

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y + self.b.weight.detach().sum().item() if self.training else y


def test_training_that_fails_is_said() -> None:
    model = Asked().eval()
    with torch.no_grad():
        model.b.weight.zero_()
    with pytest.warns(UserWarning, match="in training mode the smaller network fails, .*has no attribute"):
        compact(model, X)
