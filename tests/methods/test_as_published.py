"""Where published code or paper say otherwise than one would: what is kept, what is counted, where training goes on; by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from problems import equal, two_heads, weights
from secateur import DiSparseDynamic, GroupLasso, LearnedThreshold, LotteryTicket, RigL, fit
from secateur.data.dense import depth, masked_l1, segmentation, squared_errors
from secateur.problem.components import prunable
from secateur.problem.problem import Problem
from secateur.pruning.thresholded import bake
from secateur.runs.config import build, parse, resolved
from secateur.runs.run import make_problem
from secateur.training.optimizer import adam
from secateur.training.pruning import Pruning
from tiny_runs import TINY

STRENGTHS = (0.0, 1e-30, 1e-5)


@pytest.mark.parametrize(
    "settings", [{}, {"decay": 0.1}, {"adam_eps": 1e-6}, {"metric": "euclidean"}], ids=str
)
def test_a_table_over_strengths_has_one_optimizer(settings: dict) -> None:
    """λ = 0, a λ that takes nothing away and one that does: every parameter is stepped with the same settings."""
    found, ends = [], []
    for strength in STRENGTHS:
        problem, made = two_heads(), []

        def make(groups: list, made: list = made) -> torch.optim.Optimizer:
            made.append(adam(1e-2)(groups))
            return made[-1]

        fit(problem, GroupLasso(strength=strength, **settings), steps=1, optimizer=make)
        names = {id(p): name for name, p in problem.model.named_parameters()}
        keys = ("eps", "betas", "weight_decay", "decoupled_weight_decay")
        groups = made[0].param_groups
        found.append({names[id(p)]: [g[k] for k in keys] for g in groups for p in g["params"]})
        ends.append(weights(problem))
    assert found[0] == found[1] == found[2]
    eps = {settings.get("adam_eps", 1e-8)}
    assert {row[0] for row in found[0].values()} == eps
    for name, end in ends[0].items():
        torch.testing.assert_close(ends[1][name], end, rtol=1e-5, atol=1e-7)


def test_an_optimizer_without_eps_is_refused() -> None:
    method = GroupLasso(strength=1e-5, metric="euclidean", adam_eps=1e-6)
    with pytest.raises(ValueError, match="SGD"):
        fit(two_heads(), method, steps=1, optimizer=lambda groups: torch.optim.SGD(groups, lr=1e-2))


def test_the_published_table_has_one_optimizer_from_its_recipe() -> None:
    made = [
        build("method", resolved(parse(["less_is_more_paper", f"--method.strength={s}"]))) for s in (0, 1e-6)
    ]
    for method in made:
        with Pruning(two_heads(), method, steps=1) as pruning:
            held = [g for g in pruning.groups() if g["params"]]
            assert {g["eps"] for g in held} == {1e-6}
            pruning.leave(early=True)


class Exchange:
    """Takes the state around the first exchange apart: what stayed, what went, what came, what went and came."""

    def __init__(self) -> None:
        self.state: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

    def take(self, method: RigL | DiSparseDynamic, optimizer: torch.optim.Optimizer) -> None:
        self.state = {
            n: (method.masks.masks[n].clone(), p.detach().clone(), optimizer.state[p]["exp_avg"].clone())
            for n, p in method.weights.items()
        }

    def check(self, method: RigL | DiSparseDynamic, optimizer: torch.optim.Optimizer) -> int:
        again = 0
        for name, (mask, weight, moment) in self.state.items():
            new, p = method.masks.masks[name], method.weights[name].detach()
            now = optimizer.state[method.weights[name]]["exp_avg"]
            assert torch.equal(p[mask & new], weight[mask & new]), "what is still there was never away"
            assert torch.equal(now[mask & new], moment[mask & new])
            assert not p[new & ~mask].any()
            assert not now[new & ~mask].any(), "what is new begins at zero, without moments"
            assert not p[~new].any()
            again += int((p[mask & new].abs() < self.smallest(weight, mask, new)).sum())
        return again

    @staticmethod
    def smallest(weight: Tensor, mask: Tensor, new: Tensor) -> float:
        """The largest weight that went for good; smaller ones that are there were dropped and grown again."""
        gone = weight[mask & ~new].abs()
        return float(gone.max()) if gone.numel() else 0.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: RigL(0.5, every=4, drop=0.9),
        lambda: RigL(0.5, "random", every=4, drop=0.9),
        lambda: DiSparseDynamic(0.5, every=4, drop=0.9),
    ],
    ids=["rigl", "set", "disparse_dynamic"],
)
def test_what_an_exchange_drops_and_grows_again_was_never_away(make) -> None:
    exchange, seen, method = Exchange(), [], make()

    class Watch(type(method)):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            if step == 4:
                exchange.take(self, optimizer)
            super().after_step(step, optimizer)
            if step == 4:
                seen.append(exchange.check(self, optimizer))

    method.__class__ = Watch
    fit(two_heads(width=32), method, steps=20)
    assert seen[0] > 100, "some were dropped and grown again"


def test_a_cut_shrinks_nobody() -> None:
    """Four weights under α = 0.1, half of them to stay: 3 and 2 less 0.1, not less the 1 that the cut is at."""
    model = torch.nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, -2.0, 1.0, 0.5]]))
    held = {"weight": model.weight}
    masks = bake(model, held, {"weight": 1.0}, 2, highest={"weight": torch.tensor(0.1)})
    assert model.weight.tolist() == [[pytest.approx(2.9), pytest.approx(-1.9), 0.0, 0.0]]
    assert masks.masks["weight"].tolist() == [[True, True, False, False]]


def test_below_the_threshold_in_force_the_common_level_holds() -> None:
    """More was below α = 2.5 than is to go: the level falls to the smallest survivor, and all are nonzero."""
    model = torch.nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, -2.0, 1.0, 0.5]]))
    bake(model, {"weight": model.weight}, {"weight": 1.0}, 2, highest={"weight": torch.tensor(2.5)})
    assert model.weight.tolist() == [[pytest.approx(2.0), pytest.approx(-1.0), 0.0, 0.0]]


def computed(problem: Problem) -> dict[str, Tensor]:
    """What the layers compute with now: their weights under the thresholds."""
    return {
        n: problem.model.get_submodule(n.rpartition(".")[0]).weight.detach().clone()
        for n in prunable(problem.model)
    }


@pytest.mark.parametrize("pressure", ["none", "coupled_l2"])
def test_at_the_deadline_the_survivors_compute_what_they_did(pressure: str) -> None:
    problem, seen = two_heads(), {}

    class Watch(LearnedThreshold):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            before = computed(problem) if step == 16 else {}
            super().after_step(step, optimizer)
            for name, value in before.items():
                seen[name] = (value, prunable(problem.model)[name].detach().clone())

    with pytest.warns(UserWarning, match="are raised by one common factor"):
        fit(problem, Watch(0.1, pressure=pressure), steps=20, optimizer=adam(weight_decay=1e-4))  # type: ignore[arg-type]
    assert seen
    for name, (before, after) in seen.items():
        assert torch.equal(after[after != 0], before[after != 0]), name


def test_a_rewound_ticket_goes_on_from_its_step() -> None:
    """20 steps, rewound to 20 % of them, three rounds: 20 + 16 + 16, the later two with the rates of steps 5 to 20."""
    rates, counted = [], []

    class Watch(LotteryTicket):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().after_step(step, optimizer)
            counted.append(step)
            rates.append(optimizer.param_groups[0]["lr"])

    method = Watch(0.2, rounds=3, rewind=0.2)
    history = fit(two_heads(), method, steps=20, schedule=lambda progress: 1.0 - progress)
    assert counted == [*range(1, 21), *range(5, 21), *range(5, 21)]
    assert rates == pytest.approx([1e-3 * (1 - (step - 1) / 20) for step in counted])
    assert history.rows[-1]["step"] == method.total(20) == 52


def test_a_ticket_that_is_not_rewound_trains_all_steps() -> None:
    assert LotteryTicket(0.2, rounds=3).total(20) == 60
    assert LotteryTicket(1.0, rounds=3, rewind=0.5).total(20) == 20
    assert LotteryTicket(0.2, rounds=3, rewind=0.99).total(10) == 12, "a step is left to train"


def test_a_loop_of_ones_own_knows_how_long_a_round_is() -> None:
    by_fit, by_hand = two_heads(), two_heads()
    fit(by_fit, LotteryTicket(0.2, rounds=2, rewind=0.25), steps=8, schedule=lambda progress: 1.0)
    torch.manual_seed(0)
    lengths = []
    by_hand.model.train()
    batches = (batch for _ in range(99) for batch in by_hand.train)
    with Pruning(by_hand, LotteryTicket(0.2, rounds=2, rewind=0.25), steps=8) as pruning:
        while pruning.done < pruning.total:
            optimizer = pruning.attach(adam()(pruning.groups()))
            lengths.append(pruning.left)
            for _ in range(pruning.left):
                x, targets = next(batches)
                pruning.loss(by_hand.model(x), targets).backward()
                optimizer.step()
                optimizer.zero_grad()
                pruning.step()
    assert lengths == [8, 6]
    assert equal(weights(by_fit), weights(by_hand))


def test_less_is_more_trains_depth_on_its_squared_error() -> None:
    """Errors of 1 and 3, one place without depth: absolute (1 + 3) / 2, squared (1 + 9) / 2."""
    prediction, target = torch.tensor([[[[2.0, 5.0, 9.0]]]]), torch.tensor([[[[1.0, 2.0, 0.0]]]])
    for recipe, loss in (("less_is_more_paper", 5.0), ("less_is_more", 2.0)):
        config = resolved(parse([recipe, *TINY[2:], "--model.width", "0.0625"]))
        problem, _ = make_problem(config)
        assert float(problem.tasks["depth"].loss(prediction, target)) == pytest.approx(loss)
    assert float(masked_l1(prediction, target, above=0.0)) == 2.0


def test_other_losses_are_left_alone() -> None:
    tasks = {"seg": segmentation(3), "depth": depth()}
    assert squared_errors(tasks)["seg"] is tasks["seg"]
    assert squared_errors(tasks)["depth"].metrics == tasks["depth"].metrics
    assert squared_errors({"seg": tasks["seg"]}) == {"seg": tasks["seg"]}
