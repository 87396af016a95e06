"""Pruning in Hugging Face's Trainer, the real one: it trains as ``fit`` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import BertConfig, BertForSequenceClassification

import secateur
from contract import overall
from loops.hosted import EPOCHS, METHODS, Make, every_loss, exact
from loops.transformers import Net, Own, Seeded, fitted, problem, trained, trainer
from problems import equal, tasks
from secateur import AdaptiveWeighting, GroupLasso, Problem, SoftThreshold, Task, UncertaintyWeighting
from secateur.integrations.adapter import OWN, batch_of, fields
from secateur.integrations.transformers import Prune
from secateur.problem import seed_all
from secateur.pruning import is_effective

CASES = [(name, None) for name in METHODS] + [(name, tasks()) for name in ("group_lasso", "disparse")]


@pytest.mark.parametrize(
    ("name", "named"), CASES, ids=[f"{n}-{'tasks' if t else 'its own'}" for n, t in CASES]
)
def test_six_methods_end_as_fit_ends(name: str, named: Any, tmp_path: Path) -> None:
    make = METHODS[name]
    model = trained(tmp_path, make, named)
    assert equal(model.state_dict(), fitted(make, named).state_dict())
    assert not is_effective(model)
    if exact(make):
        assert overall(problem(model)) == pytest.approx(0.2, abs=0.0005)


@pytest.mark.filterwarnings("ignore:LearnedThreshold. the thresholds reached")  # so few steps
@every_loss
def test_the_loss_of_prune_is_that_of_fit(make: Make, weighting: Any, tmp_path: Path) -> None:
    model = trained(tmp_path, make, tasks(), weighting(), kind=Own)
    assert equal(model.state_dict(), fitted(make, tasks(), weighting()).state_dict())


def test_gradients_that_are_accumulated_are_divided_once(tmp_path: Path) -> None:
    make, model, given = METHODS["soft_threshold"], Net(), {"gradient_accumulation_steps": 2}
    found = problem(model, tasks())
    with secateur.Pruning(found, make(), AdaptiveWeighting(window=3), steps=15, accumulate=2) as pruning:
        optimizer = pruning.attach(torch.optim.AdamW(pruning.groups(), lr=1e-2, weight_decay=0.0, fused=True))
        model.train()
        for number, (x, targets) in enumerate([*found.train] * EPOCHS):
            if number % 2 == 0:
                seed_all(pruning.done)
            pruning.loss(found.network(x), targets).backward()
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
    found = Problem(model, OWN, [batch_of(run.data_collator(words(4)), None)], call=fields(None))
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
    plain = run.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    batch = batch_of(run.data_collator(words(4)), None)
    found = Problem(plain, OWN, [batch], call=fields(None))
    assert 0.2 < overall(found) <= 0.3
    small = secateur.compact(plain.eval(), batch[0], call=fields(None))
    assert sum(p.numel() for p in small.parameters()) < 0.6 * sum(p.numel() for p in model.parameters())
