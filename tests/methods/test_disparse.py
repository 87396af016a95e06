"""DiSparse: unanimous pruning, against the published procedure step by step, and its laws."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from problems import two_heads, weights
from secateur import DiSparse, DiSparseDynamic, OneShot, fit
from secateur.problem.components import prunable
from secateur.problem.problem import Problem, Task
from secateur.pruning import scores
from secateur.pruning.distribution import erk
from secateur.pruning.masks import top_masks
from secateur.pruning.scores import Scores, unanimous
from secateur.pruning.selection import select


def drawn(seed: int, tasks: str = "ab") -> tuple[dict[str, Scores], dict[str, Tensor]]:
    """Scores of tasks that share ``trunk`` and have a head each; of three tasks, ``a`` and ``b`` share ``pair`` too."""
    draw = torch.Generator().manual_seed(seed)
    shapes = {"trunk": (20,), "pair": (9,), **dict.fromkeys(tasks, (7,))}
    own = {t: ["trunk", *(["pair"] if t in "ab" else []), t] for t in tasks}
    found = {t: {n: torch.rand(shapes[n], generator=draw) for n in own[t]} for t in tasks}
    return found, {n: torch.zeros(shape) for n, shape in shapes.items()}


def published(found: dict[str, Scores], ratio: float) -> dict[str, Tensor]:
    """Sun et al. 2022: each task keeps its top share over all it owns; a shared weight stays if anyone keeps it."""
    masks: dict[str, Tensor] = {}
    for own in found.values():
        keep = int(ratio * sum(s.numel() for s in own.values()))
        if not keep:
            continue
        for name, mask in zip(own, top_masks(list(own.values()), keep), strict=True):
            masks[name] = masks[name] | mask if name in masks else mask
    return masks


@given(seed=st.integers(0, 200), keep=st.integers(3, 43), tasks=st.sampled_from(["ab", "abc"]))
@settings(max_examples=60, deadline=None)
def test_the_keep_ratio_that_comes_to_the_density(seed: int, keep: int, tasks: str) -> None:
    """Some keep ratio of the published procedure gives our mask, up to the weights of its very last step."""
    found, empty = drawn(seed, tasks)
    size = sum(w.numel() for w in empty.values())
    mine = select(unanimous(found, empty), keep / size, at_least=0)
    assert sum(int(m.sum()) for m in mine.values()) == keep
    ratios = sorted(
        {k / sum(s.numel() for s in own.values()) for own in found.values() for k in range(1, 40)}
    )
    below = above = None
    for ratio in ratios:
        masks = published(found, ratio + 1e-9)
        count = sum(int(m.sum()) for m in masks.values())
        if count <= keep:
            below = masks
        if count >= keep:
            above = masks
            break
    for name in empty:
        if below:
            assert not (below.get(name, torch.zeros_like(mine[name])) & ~mine[name]).any()
        if above:
            assert not (mine[name] & ~above.get(name, torch.zeros_like(mine[name]))).any()


def test_one_task_is_snip() -> None:
    problem = two_heads()
    tasks = {"colour": problem.tasks["colour"]}

    class One(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = two_heads().model

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"colour": self.net(x)["colour"]}

    data = [(x, {"colour": t["colour"]}) for x, t in problem.train]
    one, two = (Problem(One(), tasks, data) for _ in range(2))
    two.model.load_state_dict(one.model.state_dict())
    snip, disparse = OneShot(0.1), DiSparse(0.1, batches=1)
    snip.start(one, 10)
    disparse.start(two, 10)
    for name in snip.masks.masks:
        assert torch.equal(snip.masks.masks[name], disparse.masks.masks[name]), name


@pytest.mark.parametrize("score", ["snip", "magnitude", "taylor"])
def test_order_and_scale_of_the_tasks_do_not_matter(score: str) -> None:
    plain = two_heads()
    reversed_tasks = {
        t: Task(lambda p, y, loss=plain.tasks[t].loss: 37.0 * loss(p, y)) for t in ("shade", "colour")
    }
    other = Problem(two_heads().model, reversed_tasks, plain.train)
    one, two = DiSparse(0.15, score, batches=2), DiSparse(0.15, score, batches=2)
    one.start(plain, 10)
    two.start(other, 10)
    for name in one.masks.masks:
        assert torch.equal(one.masks.masks[name], two.masks.masks[name]), name


@given(seed=st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_a_task_more_takes_no_shared_weight_away_at_the_same_ratio(seed: int) -> None:
    found, empty = drawn(seed, "abc")
    few = unanimous({t: found[t] for t in "ab"}, {n: w for n, w in empty.items() if n != "c"})
    many = unanimous(found, empty)
    assert (many["trunk"] >= few["trunk"]).all()


def test_by_hand() -> None:
    found = {
        "a": {"trunk": torch.tensor([9.0, 8.0, 1.0, 0.0]), "a": torch.tensor([7.0, 2.0])},
        "b": {"trunk": torch.tensor([0.0, 1.0, 2.0, 9.0])},
    }
    best = unanimous(found, {"trunk": torch.zeros(4), "a": torch.zeros(2), "nobody": torch.zeros(1)})
    # a ranks 9 8 7 2 1 0 of six, b ranks 9 2 1 0 of four
    assert best["trunk"].tolist() == pytest.approx([-1 / 6, -2 / 6, -2 / 4, -1 / 4])
    assert best["a"].tolist() == pytest.approx([-3 / 6, -4 / 6])
    assert best["nobody"].tolist() == [-2.0]


def test_the_published_scores() -> None:
    problem = two_heads()
    own = prunable(problem.model)
    gradients = scores.task_gradients(problem, own, 2, absolute=True)
    snip, taylor = (scores.task_scores(problem, own, s, 2) for s in ("snip", "taylor"))
    for task, found in gradients.items():
        for name, g in found.items():
            assert torch.allclose(snip[task][name], g * own[name].abs())
            assert torch.allclose(taylor[task][name], g * own[name].square())
    assert torch.equal(
        scores.task_scores(problem, own, "magnitude")["shade"]["shade.0.weight"], own["shade.0.weight"].abs()
    )


def test_a_task_with_a_loss_of_nothing_is_named_before_training() -> None:
    plain = two_heads()
    dead = Problem(plain.model, {**plain.tasks, "shade": Task(lambda p, t: (p * 0).sum())}, plain.train)
    with pytest.raises(ValueError, match="task 'shade' is zero everywhere"):
        fit(dead, DiSparse(0.1), steps=3)


@pytest.mark.parametrize(
    "settings", [{"score": "magic"}, {"score": "magnitude", "redraw": True}, {"batches": 0}, {"at": -0.1}]
)
def test_bad_settings(settings: dict) -> None:
    with pytest.raises(ValueError, match=r"choose|at least 1|share of the steps"):
        DiSparse(0.1, **settings)


# --- dynamic


class Watch(DiSparseDynamic):
    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        super().after_step(step, optimizer)
        counts = {n: int(m.sum()) for n, m in self.masks.masks.items()}
        self.__dict__.setdefault("seen", []).append(counts)


def test_shared_layers_grow_the_union_and_the_end_is_exact() -> None:
    problem, method = two_heads(width=32), Watch(0.2, every=4)
    fit(problem, method, steps=40)
    first, last = method.seen[0], method.seen[-1]
    assert last == first, "the layer densities of the end are those of the start"
    middle = method.seen[3]  # after the first exchange
    assert middle["trunk.4.weight"] > first["trunk.4.weight"], "two tasks grow what they want"
    share = 0.25 * (1 + torch.cos(torch.tensor(torch.pi * 4 / 30)))
    most = first["trunk.4.weight"] * (1 + float(share)) + 1
    assert middle["trunk.4.weight"] <= most
    assert middle["colour.weight"] == first["colour.weight"], "one owner grows as much as went"
    assert method.seen[29:] == [first] * 11


def test_layer_densities_have_the_published_power() -> None:
    shapes = {n: tuple(p.shape) for n, p in prunable(two_heads(width=32).model).items()}
    for options, power in (({}, 0.9), ({"power": 1.0}, 1.0), ({"power": 0.5}, 0.5)):
        method = DiSparseDynamic(0.1, **options)
        method.start(two_heads(width=32), 10)
        shares = erk(shapes, 0.1, power)
        for name, mask in method.masks.masks.items():
            assert abs(int(mask.sum()) - shares[name] * mask.numel()) <= 1, (power, name)
    with pytest.raises(ValueError, match=r"power is -1\.0"):
        DiSparseDynamic(0.1, power=-1.0)


def test_nothing_drops_without_a_drop() -> None:
    problem, method = two_heads(), Watch(0.2, every=4, drop=0.0)
    fit(problem, method, steps=20)
    assert all(counts == method.seen[0] for counts in method.seen)


def test_exchanges_depend_on_the_step_and_not_on_the_loader_being_touched() -> None:
    one, two = two_heads(), two_heads()
    fit(one, DiSparseDynamic(0.2, every=3), steps=20)
    fit(two, DiSparseDynamic(0.2, every=3), steps=20)
    assert all(torch.equal(v, weights(two)[n]) for n, v in weights(one).items())


@pytest.mark.parametrize(
    "settings", [{"every": 0}, {"drop": 1.0}, {"until": 1.0}, {"batches": 0}, {"distribution": "global"}]
)
def test_bad_dynamic_settings(settings: dict) -> None:
    with pytest.raises(ValueError, match=r"at least 1|share of|fixed"):
        DiSparseDynamic(0.1, **settings)
