"""Pruning in Hugging Face's Trainer, the real one."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

import secateur
from contract import overall
from problems import TwoHeads, batches, equal, tasks
from secateur import (
    AdaptiveWeighting,
    DiSparse,
    GradualMagnitude,
    GroupLasso,
    LearnedThreshold,
    LotteryTicket,
    OneShot,
    Problem,
    RigL,
    SoftThreshold,
    Task,
    UncertaintyWeighting,
    fit,
)
from secateur.integrations.transformers import Adapter, Prune
from secateur.problem import seed_all
from secateur.pruning import Sparsifier, constant, is_effective
from secateur.weighting import Weighting

Make = Callable[[], Sparsifier]
METHODS: dict[str, Make] = {
    "soft_threshold": lambda: SoftThreshold(density=0.2),
    "gradual_magnitude": lambda: GradualMagnitude(0.2),
    "group_lasso": lambda: GroupLasso(density=0.3),
    "snip": lambda: OneShot(0.2, "snip", batches=2),
    "disparse": lambda: DiSparse(0.2, batches=3),
    "rigl": lambda: RigL(0.2),
}
EPOCHS = 5
SAMPLES = [{n: v[i] for n, v in {"x": x, **t}.items()} for x, t in batches() for i in range(len(x))]
OWN = {"loss": Task(lambda prediction, _: prediction)}


class Net(nn.Module):
    """In the manner of transformers: keywords in, an object with the loss out."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.net = TwoHeads()

    def forward(
        self, x: Tensor, colour: Tensor | None = None, shade: Tensor | None = None
    ) -> dict[str, Tensor]:
        found = self.net(x)
        if colour is None or shade is None:
            return found
        loss = F.cross_entropy(found["colour"], colour) + F.l1_loss(found["shade"], shade)
        return {"loss": loss, **found}


class Seeded(TrainerCallback):
    """Seeds each step, as Steps does."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        seed_all(state.global_step)


class Steps:
    """The batches that the Trainer makes of the samples, for fit."""

    def __init__(self, wrap: Callable[[Any], Any]) -> None:
        self.batches = [wrap({"x": x, **targets}) for x, targets in batches()]

    def __iter__(self) -> Any:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def from_step(self, step: int) -> Any:
        for number in count(step):
            seed_all(number)
            yield self.batches[number % len(self)]


class Own(Trainer):
    """A Trainer of one's own, which asks for the loss."""

    loss_is_scaled_for_ga = False
    prune: Any = None

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        outputs = model(**inputs)
        loss = self.prune.loss(outputs, inputs)
        return (loss, outputs) if return_outputs else loss


def trainer(
    folder: Path, model: nn.Module, *callbacks: Any, kind: type = Trainer, more: Any = None, **settings: Any
) -> Any:
    given: dict[str, Any] = {
        "num_train_epochs": EPOCHS, "save_strategy": "no", "lr_scheduler_type": "constant", "max_grad_norm": 0.0,
        "learning_rate": 1e-2, "per_device_train_batch_size": 4, "train_sampling_strategy": "sequential", **settings,
    }  # fmt: skip
    args = TrainingArguments(
        folder, use_cpu=True, report_to="none", disable_tqdm=True, logging_strategy="no", **given
    )
    return kind(model, args, train_dataset=SAMPLES, callbacks=list(callbacks), **(more or {}))


def problem(model: nn.Module, tasks: Any = None) -> Problem:
    adapter = Adapter(model, tasks)
    return Problem(adapter, tasks or OWN, Steps(adapter.batch))


def trained(
    folder: Path, make: Make, tasks: Any = None, weighting: Weighting | None = None, **settings: Any
) -> Net:
    prune, model = Prune(make(), tasks, weighting), Net()
    run = trainer(folder, model, Seeded(), prune, **settings)
    run.prune = prune
    run.train()
    return model


def fitted(make: Make, tasks: Any = None, weighting: Weighting | None = None) -> Net:
    def adam(groups: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.0, fused=True)

    model = Net()
    fit(problem(model, tasks), make(), weighting, optimizer=adam, schedule=constant, epochs=EPOCHS)
    return model


def test_the_room_is_reached_from_the_front_door() -> None:
    assert secateur.integrations.transformers.Prune is Prune


CASES = [(name, None) for name in METHODS] + [(name, tasks()) for name in ("group_lasso", "disparse")]


@pytest.mark.parametrize(
    ("name", "named"), CASES, ids=[f"{n}-{'tasks' if t else 'its own'}" for n, t in CASES]
)
def test_six_methods_end_as_fit_ends(name: str, named: Any, tmp_path: Path) -> None:
    make = METHODS[name]
    model = trained(tmp_path, make, named)
    assert equal(model.state_dict(), fitted(make, named).state_dict())
    assert not is_effective(model)
    if not isinstance(
        make(), (GroupLasso, RigL)
    ):  # of groups; and what RigL grew last is zero until it is trained
        assert overall(problem(model)) == pytest.approx(0.2, abs=0.0005)


LOSSES: dict[str, tuple[Make, Any]] = {
    "adaptive": (METHODS["soft_threshold"], AdaptiveWeighting),
    "uncertainty": (METHODS["group_lasso"], UncertaintyWeighting),
    "penalty": (lambda: LearnedThreshold(0.2, pressure="l1_density", initial=-6.0), Weighting),
}


@pytest.mark.filterwarnings("ignore:LearnedThreshold. the thresholds reached")  # so few steps
@pytest.mark.parametrize(("make", "weighting"), LOSSES.values(), ids=LOSSES.keys())
def test_the_loss_of_prune_is_that_of_fit(make: Make, weighting: Any, tmp_path: Path) -> None:
    model = trained(tmp_path, make, tasks(), weighting(), kind=Own)
    assert equal(model.state_dict(), fitted(make, tasks(), weighting()).state_dict())


@pytest.mark.parametrize(("make", "weighting"), LOSSES.values(), ids=LOSSES.keys())
def test_a_loss_that_is_needed_is_asked_for(make: Make, weighting: Any, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"compute_loss_func=prune\.compute_loss.*return prune\.loss\(outputs, inputs\)"
    ):
        trained(tmp_path, make, tasks(), weighting())


def test_gradients_that_are_accumulated_are_divided_once(tmp_path: Path) -> None:
    make, model, given = METHODS["soft_threshold"], Net(), {"gradient_accumulation_steps": 2}
    found = problem(model, tasks())
    with secateur.Pruning(found, make(), AdaptiveWeighting(window=3), steps=15, accumulate=2) as pruning:
        optimizer = pruning.attach(torch.optim.AdamW(pruning.groups(), lr=1e-2, weight_decay=0.0, fused=True))
        model.train()
        for number, (x, targets) in enumerate([*found.train] * EPOCHS):
            if number % 2 == 0:
                seed_all(pruning.done)
            pruning.loss(found.model(x), targets).backward()
            if number % 2:
                optimizer.step()
                optimizer.zero_grad()
                pruning.step()
    own = trained(tmp_path, make, tasks(), AdaptiveWeighting(window=3), kind=Own, **given)
    assert equal(own.state_dict(), model.state_dict())


def test_a_loss_function_of_a_single_task_takes_the_labels(tmp_path: Path) -> None:
    model, prune = (
        bert(),
        Prune(SoftThreshold(0.3), {"logits": Task(F.cross_entropy)}, UncertaintyWeighting()),
    )
    more = {"compute_loss_func": prune.compute_loss}
    run = trainer(tmp_path, model, prune, more=more, gradient_accumulation_steps=2)
    run.train_dataset = words()
    run.train()
    assert run.evaluate(words(4))["eval_loss"] > 0
    found = Problem(Adapter(model, None), OWN, [Adapter(model, None).batch(run.data_collator(words(4)))])
    assert overall(found) == pytest.approx(0.3, abs=0.0005)


def nested(samples: list[Any]) -> dict[str, Any]:
    stacked = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
    return {"x": stacked.pop("x"), "labels": stacked}


def test_a_loss_function_of_several_tasks_takes_nested_labels(tmp_path: Path) -> None:
    model, prune = Net(), Prune(METHODS["soft_threshold"](), tasks(), AdaptiveWeighting())
    more = {"data_collator": nested, "compute_loss_func": prune.compute_loss}
    trainer(tmp_path, model, Seeded(), prune, more=more).train()
    assert equal(
        model.state_dict(), fitted(METHODS["soft_threshold"], tasks(), AdaptiveWeighting()).state_dict()
    )


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


def bert() -> BertForSequenceClassification:
    sizes = {
        "vocab_size": 50,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    return BertForSequenceClassification(BertConfig(num_labels=3, max_position_embeddings=16, **sizes))


def words(count: int = 16) -> list[dict[str, Any]]:
    drawn = torch.Generator().manual_seed(0)
    made = torch.randint(0, 50, (count, 8), generator=drawn)
    return [
        {"input_ids": row, "attention_mask": torch.ones_like(row), "labels": int(row[0]) % 3} for row in made
    ]


def test_the_example_of_a_transformer_prunes_heads_and_hidden_units(tmp_path: Path) -> None:
    model = bert()
    run = trainer(tmp_path, model, Prune(GroupLasso(density=0.3)), bf16=True)
    run.train_dataset = words()
    run.train()
    adapter = Adapter(run.accelerator.unwrap_model(model, keep_fp32_wrapper=False), None)
    batch = adapter.batch(run.data_collator(words(4)))
    found = Problem(adapter, OWN, [batch])
    assert 0.2 < overall(found) <= 0.3
    small = secateur.compact(adapter.eval(), batch[0])
    assert sum(p.numel() for p in small.parameters()) < 0.6 * sum(p.numel() for p in model.parameters())


class Lossless(Net):
    def forward(self, x: Tensor, **_: Any) -> dict[str, Tensor]:
        return {k: v for k, v in super().forward(x).items() if k != "shade"}


def made(**changes: Any) -> Prune:
    return Prune(changes.get("method", SoftThreshold(0.2)), changes.get("tasks"))


ONE = made()
BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a task that the model does not return": (
        lambda p: trainer(p, Lossless(), made(tasks=tasks()), remove_unused_columns=False).train(),
        r"no tensor 'shade'; name its outputs after the tasks",
    ),
    "no loss": (
        lambda p: trainer(p, Lossless(), made()).train(),
        "no tensor 'loss'; give batches with labels, or give tasks",
    ),
    "no column of a task": (
        lambda p: trainer(p, Net(), made(tasks={"edges": Task(F.l1_loss)})).train(),
        r"the batch has the columns \['colour', 'shade', 'x'\].*remove_unused_columns=False",
    ),
    "the best model": (
        lambda p: trainer(
            p,
            Net(),
            made(),
            load_best_model_at_end=True,
            eval_strategy="epoch",
            save_strategy="epoch",
            more={"eval_dataset": SAMPLES[:4]},
        ).train(),
        "load_best_model_at_end would bring back",
    ),
    "two": (lambda p: trainer(p, Net(), made(), made()).train(), "being pruned already"),
    "the same twice": (lambda p: trainer(p, Net(), ONE, ONE).train(), "has the same one twice"),
    "rounds": (lambda _: made(method=LotteryTicket(0.2)), "trains .* rounds.*use fit, or Pruning"),
    "no tasks": (lambda _: made(tasks={}), "tasks is empty"),
    "a list of tasks": (lambda _: made(tasks=[Task(F.l1_loss)]), "give a mapping"),
    "a name as a method": (lambda _: made(method="snip"), "give a method such as"),
    "a loss without a training": (
        lambda _: made().loss({"loss": torch.ones(())}, {}),
        "no training is under way",
    ),
    "a loss function without tasks": (lambda _: made().compute_loss({}, torch.ones(1)), "it needs tasks"),
}


@pytest.mark.parametrize(("act", "says"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_sentence(act: Callable[[Path], Any], says: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError, RuntimeError), match=says) as error:
        act(tmp_path)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_a_training_without_it_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path, Net(), save_strategy="steps", save_steps=5).train()
    with pytest.raises(ValueError, match="step 5 holds no state of Prune"):
        trainer(tmp_path, Net(), made()).train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))


@pytest.mark.parametrize("name", ["transformers", "accelerate"])
def test_a_missing_library_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.find_spec("secateur.integrations.transformers")
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=r"pip install 'secateur\[transformers\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
