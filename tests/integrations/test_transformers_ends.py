"""How a training in Hugging Face's Trainer ends, early or in an error, and goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from contract import overall
from loops.hosted import METHODS, Make
from loops.transformers import SAMPLES, Net, Own, problem, trainer
from problems import equal, tasks
from secateur import AdaptiveWeighting, GroupLasso, SoftThreshold, UncertaintyWeighting, fit
from secateur.integrations.transformers import Prune
from secateur.pruning import is_effective
from secateur.weighting import Weighting

RESUMED: dict[str, tuple[Make, Any]] = {
    **{name: (METHODS[name], Weighting) for name in ("soft_threshold", "snip", "rigl")},
    "adaptive": (METHODS["soft_threshold"], AdaptiveWeighting),
    "uncertainty": (METHODS["group_lasso"], UncertaintyWeighting),
}


@pytest.mark.parametrize(("make", "weighting"), RESUMED.values(), ids=RESUMED.keys())
def test_resumed_is_bit_for_bit_unbroken(make: Make, weighting: Any, tmp_path: Path) -> None:
    def run(seed: int, path: Path | None = None) -> Net:
        model, prune = Net(seed), Prune(make(), tasks(), weighting())
        made = trainer(
            tmp_path, model, prune, kind=Own, train_sampling_strategy="random", save_strategy="steps", save_steps=10,
            lr_scheduler_type="linear", warmup_steps=4, weight_decay=0.1, max_grad_norm=1.0,
        )  # fmt: skip
        made.prune = prune
        made.train(resume_from_checkpoint=path and str(path))
        return model

    whole = run(0)
    assert equal(run(2, tmp_path / "checkpoint-30").state_dict(), whole.state_dict())  # of the end
    moved = (tmp_path / "checkpoint-10").rename(tmp_path / "elsewhere")  # in the middle of an epoch
    assert equal(run(1, moved).state_dict(), whole.state_dict())


class Stopping(TrainerCallback):
    """Raises, or asks for an end, after a step."""

    def __init__(self, error: BaseException | None = None, at: int = 4) -> None:
        self.error, self.at = error, at

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.at:
            if self.error:
                raise self.error
            control.should_training_stop = True


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_what_raises_leaves_the_model_plain(error: BaseException, tmp_path: Path) -> None:
    prune, model = Prune(SoftThreshold(0.2), tasks(), UncertaintyWeighting()), Net()
    run = trainer(tmp_path, model, prune, Stopping(error), kind=Own)
    run.prune = prune
    with pytest.raises(type(error)), prune:
        run.train()
    assert not is_effective(model)
    assert len(run.optimizer.param_groups) == 2  # as it was made


def test_without_the_block_the_next_training_begins_plain(tmp_path: Path) -> None:
    prune, model, stopping = (
        Prune(GroupLasso(density=0.3), tasks(), UncertaintyWeighting()),
        Net(),
        Stopping(OSError("disk"), 12),
    )
    run = trainer(tmp_path, model, prune, stopping, kind=Own, save_strategy="steps", save_steps=10)
    run.prune = prune
    with pytest.raises(OSError, match="disk"):
        run.train()
    with pytest.raises(RuntimeError, match=r"prune\.undo\(\)"):
        fit(problem(model), SoftThreshold(0.2), steps=2)
    stopping.error = None
    stopping.at = 1000
    run.train(resume_from_checkpoint=True)
    (group,) = (
        {id(p) for g in run.optimizer.param_groups for p in g["params"]}
        == {id(p) for p in model.parameters()},
    )
    assert group
    prune.undo()
    fit(problem(model), SoftThreshold(0.2), steps=2)


def test_the_last_checkpoint_and_the_last_evaluation_have_the_zeros(tmp_path: Path) -> None:
    effective: list[bool] = []

    class Seen(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            effective.append(is_effective(given["model"]))

    model = Net()
    run = trainer(
        tmp_path, model, Prune(SoftThreshold(0.2)), Seen(), more={"eval_dataset": SAMPLES[:4]},
        save_strategy="epoch", eval_strategy="epoch", num_train_epochs=2,
    )  # fmt: skip
    run.train()
    assert effective == [True, False]
    for step, asked in ((12, 0.2), (6, 1.0)):
        found = Net()
        found.load_state_dict(load_file(tmp_path / f"checkpoint-{step}" / "model.safetensors"))
        assert overall(problem(found)) == pytest.approx(asked, abs=0.0005)
    assert not torch.load(tmp_path / "checkpoint-6" / "optimizer.pt", weights_only=True).keys() - {
        "state",
        "param_groups",
    }


def test_an_early_end_leaves_the_density(tmp_path: Path) -> None:
    model = Net()
    trainer(tmp_path, model, Prune(SoftThreshold(0.2)), Stopping()).train()
    assert overall(problem(model)) == pytest.approx(0.2, abs=0.0005)


def test_a_trainer_serves_twice(tmp_path: Path) -> None:
    model, prune = Net(), Prune(GroupLasso(density=0.5), tasks(), UncertaintyWeighting())
    run = trainer(tmp_path, model, prune, kind=Own, max_steps=8)
    run.prune = prune
    run.train()
    run.train()
    assert len(run.optimizer.param_groups) == 2
