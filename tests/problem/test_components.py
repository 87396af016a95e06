"""Which weights may be pruned, who owns them, how they are partitioned."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from problems import TwoHeads, tasks, two_heads
from secateur.problem.components import components, prunable
from secateur.problem.problem import Problem, Task
from secateur.zoo import deeplab_resnet34


def test_prunable_are_the_weights_of_layers() -> None:
    names = set(prunable(two_heads().model))
    assert names == {"trunk.0.weight", "trunk.4.weight", "colour.weight", "shade.0.weight", "shade.2.weight"}


def test_attention_projections_are_prunable_embeddings_are_not() -> None:
    model = nn.ModuleDict(
        {"words": nn.Embedding(5, 8), "attention": nn.MultiheadAttention(8, 2), "norm": nn.LayerNorm(8)}
    )
    assert set(prunable(model)) == {"attention.in_proj_weight", "attention.out_proj.weight"}


def test_tied_weights_are_left_out_aloud() -> None:
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4), "c": nn.Linear(4, 4)})
    model["b"].weight = model["a"].weight
    with pytest.warns(UserWarning, match=r"several modules share them: \['a.weight', 'b.weight'\]"):
        assert set(prunable(model)) == {"c.weight"}


def test_frozen_weights_are_not_prunable() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[0].weight.requires_grad_(False)
    assert set(prunable(model)) == {"1.weight"}


def test_owners_are_read_off_autograd() -> None:
    owners = two_heads().owners
    both = frozenset({"colour", "shade"})
    assert owners["trunk.0.weight"] == owners["trunk.1.bias"] == both
    assert owners["colour.weight"] == {"colour"}
    assert owners["shade.2.bias"] == {"shade"}


def test_owners_survive_renaming() -> None:
    class Renamed(TwoHeads):
        def __init__(self) -> None:
            super().__init__()
            self.head_shade, self.backbone_colour = self.colour, self.shade
            del self.colour, self.shade

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            features = torch.relu(self.trunk(x))
            return {"colour": self.head_shade(features), "shade": self.backbone_colour(features)}

    problem = two_heads()
    owners = Problem(Renamed(), problem.tasks, problem.train).owners
    assert owners["head_shade.weight"] == {"colour"}
    assert owners["backbone_colour.0.weight"] == {"shade"}


def test_owners_with_an_input_for_each_task_and_partial_batches() -> None:
    class Domains(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bottoms = nn.ModuleDict({t: nn.Linear(4, 4) for t in ("a", "b", "c")})
            self.top = nn.Linear(4, 2)
            self.pair = nn.Linear(4, 4)

        def forward(self, x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            seen = {t: self.bottoms[t](value) for t, value in x.items()}
            return {t: self.top(self.pair(v) if t in "ab" else v) for t, v in seen.items()}

    def batch(*names: str) -> tuple:
        return {t: torch.randn(3, 4) for t in names}, {t: torch.randint(0, 2, (3,)) for t in names}

    task = Task(F.cross_entropy)
    problem = Problem(Domains(), {"a": task, "b": task, "c": task}, [batch("a"), batch("b", "c")])
    assert problem.owners["bottoms.b.weight"] == {"b"}
    assert problem.owners["top.weight"] == {"a", "b", "c"}
    groups = components(problem)
    assert groups["backbone"] == ("top.weight",)
    assert groups["a+b"] == ("pair.weight",)
    assert groups["c"] == ("bottoms.c.weight",)


def test_reading_owners_leaves_no_trace() -> None:
    problem = two_heads()
    problem.model.train()
    state, random = {k: v.clone() for k, v in problem.model.state_dict().items()}, torch.get_rng_state()
    _ = problem.owners
    assert all(torch.equal(v, state[k]) for k, v in problem.model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert all(m.training for m in problem.model.modules())
    assert all(p.grad is None for p in problem.model.parameters())


@pytest.mark.parametrize("by", ["owner", "sharing", "layer", "block", "all"])
def test_every_partition_covers_every_weight_once(by: str) -> None:
    problem = two_heads()
    members = [name for group in components(problem, by).values() for name in group]
    assert sorted(members) == sorted(prunable(problem.model))


def test_partitions_by_name() -> None:
    problem = two_heads()
    assert set(components(problem, "sharing")) == {"backbone", "heads"}
    assert set(
        components(problem, {"deep": ["trunk.4.*"], "rest": ["trunk.0.*", "colour.*", "shade.*"]})
    ) == {"deep", "rest"}
    with pytest.raises(ValueError, match=r"no pattern matches \['colour.weight'"):
        components(problem, {"trunk": ["trunk.*"]})
    with pytest.raises(ValueError, match="no prunable weight matches 'x'"):
        components(problem, {"x": ["nothing*"], "rest": ["*"]})
    with pytest.raises(ValueError, match="matches both 'a' and 'b'"):
        components(problem, {"a": ["*"], "b": ["colour*"]})


def test_a_pattern_by_itself_is_that_pattern_and_not_its_letters() -> None:
    problem = two_heads()
    by_hand = components(problem, {"trunk": "trunk.*", "heads": ["colour.*", "shade.*"]})
    assert by_hand["trunk"] == ("trunk.0.weight", "trunk.4.weight")
    assert by_hand["heads"] == ("colour.weight", "shade.0.weight", "shade.2.weight")
    with pytest.raises(ValueError, match=r"no prunable weight matches 'trunk' = \['truck.\*'\]"):
        components(problem, {"trunk": "truck.*"})


def test_blocks_of_a_resnet_are_its_residual_blocks() -> None:
    model = deeplab_resnet34({"seg": 2}, width=0.125)
    x = torch.zeros(1, 3, 32, 32)
    problem = Problem(
        model, {"seg": Task(F.cross_entropy)}, [(x, {"seg": torch.zeros(1, 4, 4, dtype=torch.long)})]
    )
    blocks = components(problem, "block")
    assert blocks["backbone.layer2.0"] == tuple(
        f"backbone.layer2.0.{n}.weight" for n in ("conv1", "conv2", "shortcut.0")
    )
    assert blocks["heads.seg.branches.3"] == tuple(f"heads.seg.branches.3.{n}.weight" for n in (0, 3, 6))
    assert blocks["backbone"] == ("backbone.conv1.weight",)


def test_a_task_called_backbone_is_refused() -> None:
    problem = two_heads()
    renamed = Problem(
        nn.Sequential(),
        {"backbone": tasks()["colour"]},
        [(x, {"backbone": t["colour"]}) for x, t in problem.train],
    )

    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 5, 1)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"backbone": self.layer(x)}

    with pytest.raises(ValueError, match="rename the task"):
        components(Problem(One(), renamed.tasks, renamed.train))


def test_what_two_tasks_share_and_a_task_of_that_name_are_not_one_component() -> None:
    class Sharing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.pair = nn.Linear(4, 6), nn.Linear(6, 6)
            self.heads = nn.ModuleList(nn.Linear(6, 1) for _ in range(3))

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            first = torch.relu(self.trunk(x))
            second = torch.relu(self.pair(first))
            return {"a": self.heads[0](second), "b": self.heads[1](second), "a+b": self.heads[2](first)}

    data = [(torch.ones(2, 4), {name: torch.ones(2, 1) for name in ("a", "b", "a+b")})]
    with pytest.raises(ValueError, match=r"\['a', 'b'\] and of \['a\+b'\].*'a\+b'.*rename a task"):
        components(Problem(Sharing(), {name: Task(F.mse_loss) for name in ("a", "b", "a+b")}, data))
