"""What a training asks of an optimizer that somebody else made."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as rates

from problems import TwoHeads
from secateur.training import Guests

SCHEDULERS: dict[str, Any] = {
    "one cycle": lambda o: rates.OneCycleLR(o, 0.1, total_steps=20),
    "cyclic": lambda o: rates.CyclicLR(o, 0.01, 0.1, step_size_up=3, cycle_momentum=False),
    "plateau": lambda o: rates.ReduceLROnPlateau(o, patience=0),
    "multiplied": lambda o: rates.MultiplicativeLR(o, lambda step: 0.9),
    "restarts": lambda o: rates.CosineAnnealingWarmRestarts(o, 3),
    "parts": lambda o: rates.SequentialLR(o, [rates.LinearLR(o), rates.LambdaLR(o, lambda s: 0.5**s)], [3]),
    "chain": lambda o: rates.ChainedScheduler([rates.ConstantLR(o), rates.ExponentialLR(o, 0.9)]),
}


def seated(scheduler: Any = None, names: bool = False) -> tuple[Any, ...]:
    model, joined = TwoHeads(), nn.Parameter(torch.ones(2))
    named, (first, *rest) = list(model.named_parameters()), model.parameters()
    head = [named[0]] if names else [first]
    tail = named[1:] if names else rest
    optimizer = torch.optim.AdamW([{"params": head, "lr": 0.02}, {"params": tail}], lr=0.01)
    made = scheduler(optimizer) if scheduler else None
    groups: list[dict[str, Any]] = [
        {"params": []},
        {"params": [first, rest[-1]], "eps": 1e-6},
        {"params": [joined]},
    ]
    guests = Guests(model, optimizer, groups, [made] if made else [])
    return model, joined, optimizer, made, guests


def stepped(model: nn.Module, joined: nn.Parameter, optimizer: Any) -> None:
    for parameter in [*model.parameters(), joined]:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


@pytest.mark.parametrize("make", SCHEDULERS.values(), ids=SCHEDULERS.keys())
def test_guests_follow_the_schedule_of_their_host(make: Any) -> None:
    model, joined, optimizer, scheduler, guests = seated(make)
    plateau = isinstance(scheduler, rates.ReduceLROnPlateau)
    for _ in range(6):
        stepped(model, joined, optimizer)
        scheduler.step(*([1.0] if plateau else []))
        one, two, of_one, of_two, new = (group["lr"] for group in optimizer.param_groups)
        assert (of_one, of_two, new) == (one, two, one)
    state = scheduler.state_dict()
    other = seated(make)[3]
    other.load_state_dict(state)
    guests.release()
    stepped(model, joined, optimizer)
    scheduler.step(*([1.0] if plateau else []))
    assert len(optimizer.param_groups) == len(scheduler.get_last_lr()) == 2


@pytest.mark.parametrize("names", [False, True])
def test_the_optimizer_is_saved_as_it_was_made_and_goes_on_as_it_was(names: bool) -> None:
    model, joined, optimizer, _, guests = seated(names=names)
    stepped(model, joined, optimizer)
    state, own = optimizer.state_dict(), guests.state_dict()
    plain = torch.optim.AdamW(
        [{"params": [next(model.parameters())]}, {"params": list(model.parameters())[1:]}]
    )
    plain.load_state_dict(state)  # of the plain form
    for parameter in model.parameters():
        assert torch.equal(plain.state[parameter]["exp_avg"], optimizer.state[parameter]["exp_avg"])

    again, new, other, _, others = seated(names=names)
    again.load_state_dict(model.state_dict())
    new.data.copy_(joined.data)
    other.load_state_dict(state)
    assert [len(g["params"]) for g in other.param_groups] == [0, 10, 1, 1, 1]
    others.load_state_dict(own)
    stepped(model, joined, optimizer)
    stepped(again, new, other)
    assert torch.equal(new, joined)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True))

    guests.release()
    guests.release()
    assert [len(g["params"]) for g in optimizer.param_groups] == [1, 11]
    assert joined not in optimizer.state
    assert ("param_names" in optimizer.param_groups[0]) == names


def test_a_setting_that_is_there_already_moves_nothing() -> None:
    model = TwoHeads()
    optimizer = torch.optim.AdamW(model.parameters(), eps=1e-6)
    groups: list[dict[str, Any]] = [{"params": []}, {"params": [next(model.parameters())], "eps": 1e-6}]
    Guests(model, optimizer, groups)
    assert len(optimizer.param_groups) == 1


def test_what_the_optimizer_lacks_is_named() -> None:
    model = TwoHeads()
    with pytest.raises(
        ValueError, match=r"\(SGD\) lacks trunk\.0\.weight, trunk\.0\.bias, trunk\.1\.weight and more"
    ):
        Guests(model, torch.optim.SGD(model.shade.parameters()), [])
