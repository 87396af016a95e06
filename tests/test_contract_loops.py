"""Every method keeps its promises in any loop (contract.py): as in ``fit``, stopped and gone on, and broken off."""

from __future__ import annotations

import copy
import io
import pickle
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch.nn.functional import l1_loss

from contract import FIRST, METHODS, STEPS, Make, every_class, half, kept, with_others_slow
from loops import adamw, endless, own_loop
from problems import equal, two_heads, weights
from secateur import AdaptiveWeighting, Pruning, Task, UncertaintyWeighting, fit
from secateur.problem import Problem, prunable
from secateur.pruning import is_effective

pytestmark = pytest.mark.filterwarnings("ignore:LearnedThreshold. the thresholds")


class Stop(Exception):
    pass


def plain(problem: Problem) -> bool:
    """Whether nothing of ours holds on to the model."""
    fresh = two_heads().model
    same = all(type(a) is type(b) for a, b in zip(problem.model.modules(), fresh.modules(), strict=True))
    hooks = any(m._forward_hooks or m._forward_pre_hooks for m in problem.model.modules())
    marks = any(vars(p) for p in problem.model.parameters())
    return same and not hooks and not marks and not is_effective(problem.model)


@every_class
def test_a_loop_of_ones_own_ends_as_fit_does_and_parameters_keep_names_order_and_identity(make: Make) -> None:
    by_fit, by_hand = two_heads(), two_heads()
    before = [(name, id(p)) for name, p in by_hand.model.named_parameters()]
    keys, kinds = list(by_hand.model.state_dict()), [type(m) for m in by_hand.model.modules()]

    def look(pruning: Pruning) -> None:
        assert [(name, id(p)) for name, p in by_hand.model.named_parameters()] == before
        assert list(by_hand.model.state_dict()) == keys
        if pruning.done == STEPS // 2:
            for copied in (copy.deepcopy(by_hand.model), pickle.loads(pickle.dumps(by_hand.model))):
                assert not is_effective(copied)
                assert [type(m) for m in copied.modules()] == kinds
                assert not any(vars(p) for p in copied.parameters()) or copied is not by_hand.model

    fit(by_fit, make(0.2), AdaptiveWeighting(), steps=STEPS, optimizer=adamw, schedule=lambda progress: 1.0)
    own_loop(by_hand, make(0.2), AdaptiveWeighting(), steps=STEPS, after=look)
    assert [(name, id(p)) for name, p in by_hand.model.named_parameters()] == before
    assert equal(weights(by_fit), weights(by_hand))
    assert plain(by_hand)


@every_class
def test_what_raised_leaves_a_plain_model_and_the_next_training_is_as_asked(make: Make) -> None:
    problem = two_heads()
    at = make(0.2).total(STEPS) - STEPS // 2

    def stop(pruning: Pruning) -> None:
        if pruning.done == at:
            raise Stop

    with pytest.raises(Stop):
        own_loop(problem, make(0.2), steps=STEPS, after=stop)
    assert plain(problem)
    method = make(0.2)
    fit(problem, method, steps=STEPS)
    assert plain(problem)
    if hasattr(method, "masks") and type(method).__name__ != "GroupLasso":
        size = sum(p.numel() for p in prunable(problem.model).values())
        assert abs(kept(problem, method) - 0.2) <= max(0.0005, half(method) / size)


LATE = {"disparse_taylor", "lth_iterative", "iterative_magnitude_2_4"}  # prune long after the first step


@pytest.mark.parametrize("make", with_others_slow(METHODS, {*FIRST, *LATE}))
def test_left_early_at_any_step_the_density_asked_is_there(make: Make) -> None:
    for after in (0, 3):
        problem, method = two_heads(), make(0.2)
        with Pruning(problem, method, steps=STEPS) as pruning:
            optimizer = pruning.attach(adamw(pruning.groups()))
            for x, targets in islice(endless(problem), after):
                pruning.loss(problem.model(x), targets).backward()
                optimizer.step()
                optimizer.zero_grad()
                pruning.step()
            pruning.leave(early=True)
        size = sum(p.numel() for p in prunable(problem.model).values())
        assert abs(kept(problem, method) - 0.2) <= max(0.0005, half(method) / size)
        assert plain(problem)


@every_class
def test_a_loop_that_diverges_ends_in_the_same_words_under_every_method(make: Make) -> None:
    problem, spoils = two_heads(), []

    def shade(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        root = (prediction - prediction.detach()).abs().sum().sqrt()  # 0, with an infinite slope
        return l1_loss(prediction, target) + (root if spoils else 0.0)

    problem = replace(problem, tasks={**problem.tasks, "shade": Task(shade)})
    said = (
        r"^The gradient of task 'shade' became NaN .* at step 3; .* The model is as it was before that step"
    )
    with pytest.raises(FloatingPointError, match=said):
        own_loop(problem, make(0.2), steps=STEPS, after=lambda p: spoils.append(1) if p.done == 2 else None)
    assert plain(problem)


@every_class
def test_a_start_that_raises_changes_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = two_heads()
    before = weights(problem)
    weighting = AdaptiveWeighting()
    monkeypatch.setattr(weighting, "start", lambda *_: (_ for _ in ()).throw(Stop))
    problem.owners  # noqa: B018
    with pytest.raises(Stop), Pruning(problem, make(0.2), weighting, steps=STEPS):
        pass
    assert plain(problem)
    assert equal(before, weights(problem))
    with pytest.raises(ValueError, match="lacks parameters that training needs"):
        fit(
            problem,
            make(0.2),
            steps=STEPS,
            optimizer=lambda groups: adamw(groups[1:] or [{"params": [torch.ones(1)]}]),
        )
    assert plain(problem)
    assert equal(before, weights(problem))


@every_class
def test_a_loop_of_ones_own_goes_on_bit_for_bit(make: Make) -> None:
    straight = two_heads()
    own_loop(straight, make(0.2), UncertaintyWeighting(), steps=STEPS)
    total = make(0.2).total(STEPS)
    saved = io.BytesIO()
    begun = two_heads()

    for first, last in [(0, total // 3), (total // 3, total - 3), (total - 3, total)]:
        problem = begun if first == 0 else two_heads()
        torch.manual_seed(0)
        problem.model.train()
        try:
            with Pruning(problem, make(0.2), UncertaintyWeighting(), steps=STEPS) as pruning:
                optimizer = pruning.attach(adamw(pruning.groups()))
                if first:
                    saved.seek(0)
                    state = torch.load(saved, weights_only=True)
                    problem.model.load_state_dict(state["model"])
                    pruning.load_state_dict(state["pruning"])
                    optimizer.load_state_dict(state["optimizer"])
                    torch.set_rng_state(state["rng"])
                for x, targets in islice(endless(problem), first, last):
                    if pruning.turns.between_rounds:
                        optimizer = pruning.attach(adamw(pruning.groups()))
                    pruning.loss(problem.model(x), targets).backward()
                    optimizer.step()
                    optimizer.zero_grad()
                    pruning.step()
                if last < total:
                    saved = io.BytesIO()
                    state = {"pruning": pruning.state_dict(), "optimizer": optimizer.state_dict()}
                    torch.save(
                        state | {"model": problem.model.state_dict(), "rng": torch.get_rng_state()}, saved
                    )
                    raise Stop
        except Stop:
            assert plain(problem)
    assert equal(weights(straight), weights(problem))
