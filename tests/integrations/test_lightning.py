"""Pruning in Lightning's Trainer, the real one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import secateur
from contract import overall
from problems import TwoHeads, batches, equal, shuffled_loader, tasks
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
from secateur.integrations.lightning import Prune
from secateur.problem import seed_all
from secateur.pruning import Sparsifier, constant, is_effective
from secateur.weighting import Weighting

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:.*LeafSpec.* is deprecated:FutureWarning"
    ),  # Lightning's own use of torch
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:The 'val_dataloader' does not have many workers"),
]
Make = Callable[[], Sparsifier]
METHODS: dict[str, Make] = {
    "soft_threshold": lambda: SoftThreshold(density=0.2),
    "gradual_magnitude": lambda: GradualMagnitude(0.2),
    "group_lasso": lambda: GroupLasso(density=0.3),
    "snip": lambda: OneShot(0.2, "snip", batches=2),
    "disparse": lambda: DiSparse(0.2),
    "rigl": lambda: RigL(0.2),
}
EPOCHS = 5


def adam(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, lr=1e-2)


def loader() -> DataLoader:
    """It draws from a generator of its own, so that the global one is for methods and dropout alone."""
    return DataLoader(batches(), batch_size=None, generator=torch.Generator())


class Seeded(pl.Callback):
    """Seeds where fit does."""

    def on_train_start(self, *_: Any) -> None:
        seed_all(0)


class Module(pl.LightningModule):
    """What a user has: a network, a step and an optimizer."""

    def __init__(self, prune: Prune | None = None, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.net = TwoHeads()
        self.prune: Any = [prune]  # in a list, as modules hold callbacks that are no modules

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.net(x)

    def training_step(self, batch: Any, _: int) -> Tensor:
        x, targets = batch
        found = self(x)
        if self.prune[0] is not None:
            return self.prune[0].loss(found, targets)
        return F.cross_entropy(found["colour"], targets["colour"]) + F.l1_loss(
            found["shade"], targets["shade"]
        )

    def configure_optimizers(self) -> Any:
        return adam(self.parameters())


def trainer(folder: Path, *callbacks: Any, **settings: Any) -> pl.Trainer:
    given: dict[str, Any] = {"max_epochs": EPOCHS, "enable_checkpointing": False, **settings}
    return pl.Trainer(
        callbacks=list(callbacks),
        default_root_dir=folder,
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        **given,
    )


def trained(
    folder: Path, make: Make, weighting: Weighting | None = None, own: bool = True, **settings: Any
) -> Module:
    prune = Prune(make(), tasks(), weighting)
    module = Module(None if own else prune)
    trainer(folder, Seeded(), prune, **settings).fit(module, loader())
    return module


def fitted(make: Make, weighting: Weighting | None = None, optimizer: Any = adam) -> nn.Module:
    problem = Problem(Module(), tasks(), batches())
    fit(problem, make(), weighting, optimizer=optimizer, schedule=constant, epochs=EPOCHS)
    return problem.model


def density(module: nn.Module) -> float:
    return overall(Problem(module, tasks(), batches()))


def test_the_room_is_reached_from_the_front_door() -> None:
    assert secateur.integrations.lightning.Prune is Prune
    assert issubclass(Prune, pl.Callback)


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS.keys())
def test_six_methods_end_as_fit_ends(make: Make, tmp_path: Path) -> None:
    module = trained(tmp_path, make)
    assert equal(module.state_dict(), fitted(make).state_dict())
    assert not is_effective(module)
    if not isinstance(
        make(), (GroupLasso, RigL)
    ):  # of groups; and what RigL grew last is zero until it is trained
        assert density(module) == pytest.approx(0.2, abs=0.0005)


LOSSES = {
    "adaptive": (METHODS["soft_threshold"], AdaptiveWeighting),
    "uncertainty": (METHODS["group_lasso"], UncertaintyWeighting),
    "penalty": (lambda: LearnedThreshold(0.2, pressure="l1_density", initial=-6.0), Weighting),
}


@pytest.mark.filterwarnings("ignore:LearnedThreshold. the thresholds reached")  # so few steps
@pytest.mark.parametrize(("make", "weighting"), LOSSES.values(), ids=LOSSES.keys())
def test_the_loss_of_prune_is_that_of_fit(make: Make, weighting: Any, tmp_path: Path) -> None:
    module = trained(tmp_path, make, weighting(), own=False)
    assert equal(module.state_dict(), fitted(make, weighting()).state_dict())


@pytest.mark.parametrize(("make", "weighting"), LOSSES.values(), ids=LOSSES.keys())
def test_a_loss_that_is_needed_is_asked_for(make: Make, weighting: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"return prune\.loss\(predictions, targets\) from training_step"):
        trained(tmp_path, make, weighting())


def test_gradients_that_are_accumulated_are_divided_once(tmp_path: Path) -> None:
    make, steps, found = METHODS["soft_threshold"], 6 // 2 * EPOCHS, Problem(Module(), tasks(), batches())
    seed_all(0)
    weighting = AdaptiveWeighting(window=3)
    with secateur.Pruning(found, make(), weighting, steps=steps, accumulate=2) as pruning:
        optimizer = pruning.attach(adam(pruning.groups()))
        found.model.train()
        for number, (x, targets) in enumerate(batches() * EPOCHS):
            pruning.loss(found.model(x), targets).backward()
            if number % 2:
                optimizer.step()
                optimizer.zero_grad()
                pruning.step()
    module = trained(tmp_path, make, AdaptiveWeighting(window=3), own=False, accumulate_grad_batches=2)
    assert equal(module.state_dict(), found.model.state_dict())


class Scheduled(Module):
    """Two groups of its own, and a schedule of two parts."""

    def configure_optimizers(self) -> Any:
        heads = [p for n, p in self.named_parameters() if "trunk" not in n]
        trunk = [p for n, p in self.named_parameters() if "trunk" in n]
        made = torch.optim.AdamW(
            [{"params": trunk, "weight_decay": 0.1}, {"params": heads, "lr": 3e-3}], lr=1e-2
        )
        rate = torch.optim.lr_scheduler
        parts = [rate.LinearLR(made, 0.1, 1.0, 5), rate.LambdaLR(made, lambda step: 1 / (1 + step))]
        return [made], [{"scheduler": rate.SequentialLR(made, parts, [5]), "interval": "step"}]


class Watched(pl.Callback):
    """Writes down the optimizer's learning rates, eps and decay at each step."""

    def __init__(self) -> None:
        self.rows: list[list[tuple[float, float, float, int]]] = []

    def on_before_optimizer_step(self, _: Any, module: Any, optimizer: Any) -> None:
        groups = optimizer.param_groups
        self.rows.append([(g["lr"], g["eps"], g["weight_decay"], len(g["params"])) for g in groups])


def test_what_a_method_asks_of_the_optimizer_follows_its_schedule(tmp_path: Path) -> None:
    watched, prune = Watched(), Prune(GroupLasso(density=0.3), tasks(), UncertaintyWeighting())
    module = Scheduled(prune)
    run = trainer(tmp_path, prune, watched, max_epochs=2)
    run.fit(module, loader())
    (optimizer,) = run.optimizers
    trunk, heads, grouped, joined = watched.rows[-1]
    assert (trunk[1:], grouped[1:], joined[2]) == (
        (1e-8, 0.1, 4),
        (1e-6, 0.1, 2),
        0.0,
    )  # the weighting wants no decay
    assert all(row[0][0] == row[2][0] == row[3][0] for row in watched.rows)
    assert len({row[0][0] for row in watched.rows}) == 12
    assert heads[3] == 6
    assert len(optimizer.param_groups) == 2  # as it was made
    assert [len(group["params"]) for group in optimizer.param_groups] == [6, 6]


def checkpoints(folder: Path, **settings: Any) -> pl.callbacks.ModelCheckpoint:
    return pl.callbacks.ModelCheckpoint(dirpath=folder, save_top_k=-1, filename="{epoch}", **settings)


RESUMED: dict[str, tuple[Make, Any]] = {
    **{name: (make, Weighting) for name, make in METHODS.items()},
    "adaptive": (METHODS["soft_threshold"], AdaptiveWeighting),
    "uncertainty": (METHODS["group_lasso"], UncertaintyWeighting),
}


@pytest.mark.parametrize(("make", "weighting"), RESUMED.values(), ids=RESUMED.keys())
def test_resumed_is_bit_for_bit_unbroken(make: Make, weighting: Any, tmp_path: Path) -> None:
    def run(seed: int, path: Path | None = None) -> Module:
        prune = Prune(make(), tasks(), weighting())
        module = Scheduled(prune, seed)
        seed_all(seed)
        made = trainer(tmp_path, prune, checkpoints(tmp_path), enable_checkpointing=True)
        made.fit(module, shuffled_loader(), ckpt_path=path, weights_only=path and True)
        return module

    whole = run(0)
    assert equal(run(1, tmp_path / "epoch=1.ckpt").state_dict(), whole.state_dict())


class Stopping(pl.Callback):
    """Raises, or asks for an end, at a batch."""

    def __init__(self, error: BaseException | None = None, at: int = 4) -> None:
        self.error, self.at = error, at

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.at:
            if self.error:
                raise self.error
            trainer.should_stop = True


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_what_raises_leaves_the_module_plain(error: BaseException, tmp_path: Path) -> None:
    prune, module = Prune(SoftThreshold(0.2), tasks()), Module()
    with pytest.raises((OSError, SystemExit)):
        trainer(tmp_path, prune, Stopping(error)).fit(module, loader())
    assert not is_effective(module)
    again = trainer(tmp_path, prune)  # the same callback once more, on the same module
    again.fit(module, loader())
    assert density(module) == pytest.approx(0.2, abs=0.0005)


def test_a_checkpoint_of_an_exception_can_be_resumed(tmp_path: Path) -> None:
    saver = checkpoints(tmp_path, save_on_exception=True)
    prune, module = Prune(GroupLasso(density=0.3), tasks(), UncertaintyWeighting()), Module()
    module.prune = [prune]
    with pytest.raises(OSError, match="disk"):
        trainer(tmp_path, prune, Stopping(OSError("disk"), 12), saver, enable_checkpointing=True).fit(
            module, loader()
        )
    (path,) = tmp_path.glob("epoch=1*.ckpt")
    state = torch.load(path, weights_only=True)
    (kept,) = (part for name, part in state["callbacks"].items() if name.startswith("Prune"))
    assert kept["pruning"]["done"] == 12 or kept["pruning"]["done"] == 11
    assert list(state["state_dict"]) == list(module.state_dict())


class Validated(Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bool] = []

    def validation_step(self, batch: Any, _: int) -> None:
        self.seen.append(is_effective(self))


def test_validation_sees_effective_weights_and_the_last_file_the_zeros(tmp_path: Path) -> None:
    module, prune = Validated(), Prune(SoftThreshold(0.2), tasks())
    run = trainer(
        tmp_path, prune, checkpoints(tmp_path, save_last=True), max_epochs=3, enable_checkpointing=True
    )
    run.fit(module, loader(), DataLoader(batches(1), batch_size=None))
    assert module.seen[-3] is True  # after the first epoch
    assert module.seen[-1] is False  # all steps are done, and the zeros are in the weights
    last, first = Module(), Module()
    for found, name in ((last, "last"), (first, "epoch=0")):
        found.load_state_dict(torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["state_dict"])
    assert density(last) == pytest.approx(0.2, abs=0.0005)
    assert density(first) == 1.0


def test_an_early_end_leaves_the_density(tmp_path: Path) -> None:
    module = Module()
    trainer(tmp_path, Prune(SoftThreshold(0.2), tasks()), Stopping()).fit(module, loader())
    assert density(module) == pytest.approx(0.2, abs=0.0005)


def test_mixed_precision_does_not_hide_the_channels(tmp_path: Path) -> None:
    module = Module()
    prune = Prune(GroupLasso(density=0.5, groups="coupled"), tasks())
    trainer(tmp_path, prune, precision="bf16-mixed").fit(module, loader())
    assert density(module) <= 0.5


def test_max_steps_end_it(tmp_path: Path) -> None:
    module = Module()
    trainer(tmp_path, Prune(GradualMagnitude(0.2), tasks()), max_epochs=-1, max_steps=9).fit(module, loader())
    assert density(module) == pytest.approx(0.2, abs=0.0005)


class Tuple(Module):
    def forward(self, x: Tensor) -> Any:
        return tuple(self.net(x).values())


class Manual(Module):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False


class Two(Module):
    def forward(self, x: Tensor, y: Tensor) -> Any:
        return self.net(x + y)


class Part(Module):
    def configure_optimizers(self) -> Any:
        return adam(self.net.colour.parameters())


def made(**changes: Any) -> Prune:
    return Prune(changes.get("method", SoftThreshold(0.2)), changes.get("tasks", tasks()))


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a task that the module does not return": (
        lambda p: trainer(p, made(tasks={**tasks(), "edges": Task(F.l1_loss)})).fit(Module(), loader()),
        "No training batch has a target for \\['edges'\\]",
    ),
    "a module that returns a tuple": (
        lambda p: trainer(p, made()).fit(Tuple(), loader()),
        "The model returned tuple; it must return a dict",
    ),
    "a forward of two": (
        lambda p: trainer(p, made()).fit(Two(), loader()),
        r"missing 1 required positional argument: 'y'.*forward\(x\) returns \{task: prediction\}",
    ),
    "a loader of dicts": (
        lambda p: trainer(p, made()).fit(Module(), DataLoader([{"x": 1}], batch_size=None)),
        r"the train loader gave dict\(\).*gives \(x, \{task: target\}\)",
    ),
    "a loader of three": (
        lambda p: trainer(p, made()).fit(Module(), DataLoader([(torch.ones(1),) * 3])),
        r"the train loader gave list\(Tensor, Tensor, Tensor\)",
    ),
    "manual optimization": (lambda p: trainer(p, made()).fit(Manual(), loader()), "automatic optimization"),
    "two": (lambda p: trainer(p, made(), made()).fit(Module(), loader()), "more than one|has two of them"),
    "the same twice": (
        lambda p: trainer(p, *[made()] * 2).fit(Module(), loader()),
        "more than one|has two of them",
    ),
    "no end": (
        lambda p: trainer(p, made(), max_epochs=-1).fit(Module(), loader()),
        "give the Trainer max_steps",
    ),
    "an optimizer of a part": (
        lambda p: trainer(p, made()).fit(Part(), loader()),
        r"The optimizer \(Adam\) lacks net\.trunk\.0\.weight",
    ),
    "rounds": (lambda _: made(method=LotteryTicket(0.2)), "trains .* rounds.*use fit, or Pruning"),
    "no tasks": (lambda _: made(tasks={}), "tasks is empty"),
    "a list of tasks": (lambda _: made(tasks=[Task(F.l1_loss)]), "give a mapping"),
    "a loss as a task": (lambda _: made(tasks={"colour": F.l1_loss}), "give a mapping"),
    "a name as a method": (lambda _: made(method="snip"), "give a method such as"),
    "a loss without a training": (lambda _: made().loss({}, {}), "no training is under way"),
}


@pytest.mark.parametrize(("act", "says"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_sentence(act: Callable[[Path], Any], says: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError, RuntimeError), match=says) as error:
        act(tmp_path)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_a_training_without_it_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path, checkpoints(tmp_path), max_epochs=1, enable_checkpointing=True).fit(Module(), loader())
    with pytest.raises(ValueError, match="holds no state of Prune"):
        trainer(tmp_path, made(), checkpoints(tmp_path), enable_checkpointing=True).fit(
            Module(), loader(), ckpt_path=tmp_path / "epoch=0.ckpt", weights_only=True
        )


def test_a_trainer_serves_twice(tmp_path: Path) -> None:
    module = Module()
    run = trainer(tmp_path, Prune(SoftThreshold(0.2), tasks()), max_epochs=2)
    run.fit(module, loader())
    run.fit_loop.max_epochs = 4
    run.fit(module, loader())
    assert run.global_step == 24
    assert density(module) == pytest.approx(0.2, abs=0.0005)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.find_spec("secateur.integrations.lightning")
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=r"pip install 'secateur\[lightning\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", "import pytorch_lightning;"])
def test_it_is_a_callback_of_the_package_that_is_in_use(before: str) -> None:
    code = "import lightning.pytorch as pl, secateur; assert issubclass(secateur.integrations.lightning.Prune, pl.Callback)"
    subprocess.run([sys.executable, "-c", before + code], check=True)
