"""What README and docs show runs, and what they name exists."""

from __future__ import annotations

import re
import shlex
from itertools import cycle, islice, takewhile
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchmetrics import MeanAbsoluteError
from transformers import BertConfig, BertForSequenceClassification

import secateur
from problems import batches, two_heads
from secateur import fit
from secateur.cli import compare as cli_compare
from secateur.measures.metrics import ImageIoU
from secateur.problem.problem import Task
from secateur.runs.config import build, parse, recipes, resolved
from secateur.runs.study import grid

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


class SegDepth(nn.Module):
    """A network with the names of tasks that the docs use."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self.inner(x)
        return {"seg": found["colour"], "depth": found["shade"]}


def seg_depth(count: int = 2) -> list:
    return [(x, {"seg": t["colour"], "depth": t["shade"]}) for x, t in batches(count)]


def blocks(page: Path, language: str) -> list[str]:
    found = re.findall(r"```(\w*)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [code for named, code in found if named == language]


def test_the_whole_program_of_own_model_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, *_ = blocks(ROOT / "docs" / "own_model.md", "python")
    shown: dict = {"print": lambda *_: None}
    exec(compile(code, "own_model.md", "exec"), shown)
    assert shown["density"](shown["model"], shown["components"](shown["problem"])).overall == pytest.approx(
        0.1, abs=0.0005
    )


def test_the_five_lines_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(ROOT / "README.md", "python")
    exec(compile(code, "README.md", "exec"), {"model": SegDepth(two_heads().model), "train": seg_depth(1)})
    assert (tmp_path / "net.safetensors").exists()


def test_the_session_of_deploy_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, runtime = blocks(ROOT / "docs" / "deploy.md", "python")
    pytest.importorskip("secateur_runtime", reason="needs secateur-runtime: pip install ./runtime")
    pytest.importorskip("onnxscript", reason="needs onnx: pip install 'secateur[onnx]'")
    secateur.export(two_heads().model, torch.randn(1, 3, 16, 16), "pruned_by_anyone.onnx")
    exec(compile(runtime, "deploy.md", "exec"), {"print": lambda *_: None})


def test_the_program_of_deploy_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _ = blocks(ROOT / "docs" / "deploy.md", "python")
    model = SegDepth(two_heads(width=32).model)
    exec(compile(code, "deploy.md", "exec"), {"model": model, "train": seg_depth(), "print": lambda *_: None})
    assert (tmp_path / "small.onnx").exists()


def test_the_program_of_fit_runs() -> None:
    (code,) = blocks(ROOT / "docs" / "fit.md", "python")
    problem, dense = two_heads(), two_heads().model
    made = {
        "seg": Task(F.cross_entropy, {"error": ImageIoU()}),
        "depth": Task(F.l1_loss, {"mae": MeanAbsoluteError()}),
    }

    shown = {
        "problem": secateur.Problem(SegDepth(problem.model), made, seg_depth(), seg_depth()),
        "dense": SegDepth(dense),
        "print": lambda *_: None,
    }
    exec(compile(code.replace("epochs=30", "epochs=2"), "fit.md", "exec"), shown)
    assert shown["history"].attempts


def test_the_loops_of_own_loop_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = {"seg": Task(F.cross_entropy), "depth": Task(F.l1_loss)}
    loader = seg_depth(4)
    for code in blocks(ROOT / "docs" / "own_loop.md", "python")[:3]:
        problem = secateur.Problem(SegDepth(two_heads().model), made, loader)
        shown = {"problem": problem, "model": problem.model, "loader": loader, "epochs": 3, "steps": 12}
        shown |= {"torch": torch, "batches": lambda count: islice(cycle(loader), count)}
        shown |= {"Pruning": secateur.Pruning, "SoftThreshold": secateur.SoftThreshold}
        exec(compile(code, "own_loop.md", "exec"), shown)
        assert secateur.density(problem.model, secateur.components(problem)).overall == pytest.approx(
            0.1, abs=0.0005
        )


def test_the_examples_of_transformers_run() -> None:
    first, second = blocks(ROOT / "docs" / "transformers.md", "python")
    x = {
        "input_ids": torch.randint(0, 100, (8, 6)),
        "attention_mask": torch.ones(8, 6, dtype=torch.long),
    }
    train = [(x, {"topic": torch.randint(0, 3, (8,)), "mood": torch.randint(0, 2, (8,))})]
    shown = {name: getattr(secateur, name) for name in secateur.__all__} | {
        "cross_entropy": F.cross_entropy,
        "train": train,
        "example": x,
    }
    exec(compile(first, "transformers.md", "exec"), shown)
    small = shown["small"].eval()
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in shown["model"].parameters())
    exec(compile(second, "transformers.md", "exec"), shown)
    parts = secateur.components(shown["problem"], "kind")
    assert secateur.density(shown["problem"].model, parts).overall == pytest.approx(0.2, abs=0.0005)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
def test_the_examples_of_trainers_run(tmp_path: Path) -> None:
    lightning, hugging, own = blocks(ROOT / "docs" / "own_loop.md", "python")[3:]
    quiet = {
        "logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
        "accelerator": "cpu", "default_root_dir": tmp_path,
    }  # fmt: skip
    loader = DataLoader(seg_depth(), batch_size=None)
    shown: dict = {"net": SegDepth(two_heads().model), "loader": loader, "quiet": quiet}
    exec(compile(lightning, "own_loop.md", "exec"), shown)
    found = secateur.Problem(shown["module"], shown["tasks"], seg_depth())
    assert secateur.density(found.model, secateur.components(found)).overall == pytest.approx(0.1, abs=0.0005)

    sizes = {
        "vocab_size": 9,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    model = BertForSequenceClassification(BertConfig(num_labels=2, max_position_embeddings=8, **sizes))
    data = [{"input_ids": torch.tensor([i % 9, 1, 2]), "labels": i % 2} for i in range(8)]
    quiet = {
        "max_steps": 12,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    shown = {"model": model, "data": data, "folder": tmp_path, "settings": quiet}
    exec(compile(hugging, "own_loop.md", "exec"), shown)
    weights = [p for n, p in model.named_parameters() if "encoder" in n and p.dim() == 2]
    assert sum(int(p.count_nonzero()) for p in weights) < 0.4 * sum(p.numel() for p in weights)
    exec(compile(own, "own_loop.md", "exec"), shown)


def test_the_data_set_of_ones_own_loads() -> None:
    *_, code, others = blocks(ROOT / "docs" / "data.md", "python")
    sample = {"image": torch.rand(3, 4, 6), "seg": torch.zeros(4, 6).long(), "depth": torch.ones(1, 4, 6)}
    shown: dict = dict.fromkeys(("train", "val", "test"), [sample] * 3)
    exec(compile(code, "data.md", "exec"), shown)
    data = shown["streets"](size=(4, 6), batch=2)
    assert data.channels == {"seg": 2, "depth": 1}
    image, targets = next(iter(data.train))
    assert image.shape == (2, 3, 4, 6)
    assert {task: tuple(x.shape) for task, x in targets.items()} == {"seg": (2, 4, 6), "depth": (2, 1, 4, 6)}
    exec(compile(others, "data.md", "exec"), shown)
    assert shown["parcels"]().channels == {"kind": 3, "weight": 1}


def test_the_command_of_transformers_parses() -> None:
    text = (ROOT / "docs" / "transformers.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"`secateur train ([^`]+)`", text)
    parse(shlex.split(line))


def test_the_method_of_ones_own_runs() -> None:
    (code,) = blocks(ROOT / "docs" / "methods.md", "python")
    shown = {"problem": two_heads()}
    exec(compile(code.replace("epochs=30", "epochs=2"), "methods.md", "exec"), shown)
    found = secateur.density(shown["problem"].model, secateur.components(shown["problem"]))
    assert found.overall == pytest.approx(0.2, abs=0.0005)


def test_the_weightings_of_fit_are_all_and_their_commands_build_them() -> None:
    page = ROOT / "docs" / "fit.md"
    lines = [line for block in blocks(page, "") for line in block.splitlines()]
    made = [build("weighting", resolved(parse(shlex.split(line)[2:]))) for line in lines]
    shown = {type(weighting).__name__ for weighting in made}
    assert shown == set(secateur.weighting.__all__) - {"Weighting", "adaptive_weights", "weighed"}
    for weighting in made:
        fit(two_heads() if type(weighting).__name__ != "Fixed" else renamed(), weighting=weighting, steps=3)
    text = page.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in shown)


def renamed() -> secateur.Problem:
    """The small problem with those names."""
    problem = two_heads()
    made = {"seg": problem.tasks["colour"], "depth": problem.tasks["shade"]}
    return secateur.Problem(SegDepth(problem.model), made, seg_depth())


@pytest.mark.parametrize(
    "page", ["README.md", "docs/compare.md", "docs/howto/command_line.md", "docs/howto/which_recipe.md"]
)
def test_the_comparisons_shown_have_a_grid(page: str) -> None:
    lines = [line for block in blocks(ROOT / page, "") for line in block.splitlines()]
    shown = [line for line in lines if line.startswith("secateur compare")]
    assert shown
    for line in shown:
        argv = shlex.split(line.split("#")[0])[2:]
        recipes = list(takewhile(lambda argument: not argument.startswith("-"), argv))
        arguments, options = cli_compare.parser().parse_known_args(argv[len(recipes) :])
        densities = [d for several in arguments.density or () for d in several]
        assert grid(recipes, options, densities=densities, seeds=arguments.seeds, over=arguments.over or ())


def test_every_recipe_parses_and_is_among_the_methods() -> None:
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8").partition("## Recipes")[2]
    for recipe in recipes():
        parse([recipe])
        assert f"`{recipe}`" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
