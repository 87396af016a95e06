"""What a user's model, loader, loss and task may be, and the sentence where they are of another form."""

from __future__ import annotations

from collections import namedtuple
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import TwoHeads, equal, tasks, two_heads, weights
from secateur import DiSparse, OneShot, Problem, SoftThreshold, Task, components, evaluate, fit
from secateur.problem import fed, to_device

Pair = namedtuple("Pair", ["colour", "shade"])


class Odd(TwoHeads):
    """Returns its predictions in a form of its own, and takes the image by a keyword alone."""

    form: Any = staticmethod(tuple)

    def forward(self, *, pixels: Tensor) -> Any:
        found = super().forward(pixels)
        return self.form((found["colour"], found["shade"]))


def odd(form: Any) -> Odd:
    torch.manual_seed(0)
    model = Odd()
    model.form = form
    return model


FORMS: dict[str, tuple[Any, Any]] = {
    "tuple": (tuple, lambda model, x: dict(zip(("colour", "shade"), model(pixels=x), strict=True))),
    "named": (lambda t: Pair(*t), lambda model, x: model(pixels=x)._asdict()),
    "nested": (
        lambda t: {"out": {"colour": t[0], "shade": t[1]}, "aux": None},
        lambda model, x: model(pixels=x)["out"],
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "make",
    [
        lambda: SoftThreshold(0.2),
        lambda: OneShot(0.2, "snip", batches=2),
        lambda: OneShot(0.2, "taylor", batches=2),
        lambda: DiSparse(0.2, batches=2),
    ],
    ids=["soft", "snip", "taylor", "disparse"],
)
def test_a_model_and_a_loader_of_another_form_train_bit_for_bit_as_plain_ones(form: str, make: Any) -> None:
    plain = two_heads()
    returned, call = FORMS[form]
    batches = [{"pixels": x, "labels": list(t.values())} for x, t in plain.train]
    unpack = lambda b: (b["pixels"], dict(zip(("colour", "shade"), b["labels"], strict=True)))  # noqa: E731
    problem = Problem(odd(returned), tasks(), batches, batches[:2], call=call, unpack=unpack)
    assert problem.owners == plain.owners
    for own in (plain, problem):
        fit(own, make(), steps=8, recalibrate=2)
    assert equal(weights(plain), weights(problem))
    assert components(problem, "kind") == components(plain, "kind")
    assert evaluate(problem, "val") == evaluate(plain, "val")


WRONG_MODELS: dict[str, tuple[Any, str]] = {
    "tensor": (
        lambda c, s: c,
        r"returned Tensor \(4, 5, 8, 8\) .*call=lambda model, x: \{'colour': model\(x\)",
    ),
    "tuple": (
        lambda c, s: (c, s),
        r"returned tuple of 2 .*call=lambda model, x: dict\(zip\(\('colour', 'shade'\), model",
    ),
    "list": (lambda c, s: [c, s], r"returned list of 2 .*dict\(zip"),
    "nested": (
        lambda c, s: {"out": {"colour": c}},
        r"\['colour', 'shade'\].* returned only dict \{out: dict .*model\(x\)\['out'\]",
    ),
    "parts": (
        lambda c, s: {"colour": [c, c], "shade": s},
        r"returned list of 2 .* for task 'colour'; a prediction is one tensor",
    ),
    "object": (
        lambda c, s: type("Output", (), {"colour": c})(),
        r"returned Output; .*'colour': model\(x\)\.colour",
    ),
    "nothing": (lambda c, s: None, "returned NoneType; it must return a dict"),
}


@pytest.mark.parametrize("kind", WRONG_MODELS)
def test_a_model_of_another_form_is_said_before_anything_changes(kind: str) -> None:
    form, match = WRONG_MODELS[kind]
    problem = two_heads()

    class Net(TwoHeads):
        def forward(self, x: Tensor) -> Any:
            return form(*super().forward(x).values())

    own = Problem(Net(), problem.tasks, problem.train, problem.train)
    before = weights(own)
    for use in (
        lambda: fit(own, SoftThreshold(0.2), steps=2),
        lambda: evaluate(own, "val"),
        lambda: own.owners,
    ):
        with pytest.raises(ValueError, match=match):
            use()
    assert equal(before, weights(own))


def loader_of(form: Any) -> list[Any]:
    return [form(x, t["colour"], t["shade"]) for x, t in two_heads().train]


WRONG_LOADERS: dict[str, tuple[Any, str]] = {
    "dict": (
        lambda x, c, s: {"image": x, "colour": c, "shade": s},
        r"gave dict \{image: .*unpack=lambda b: \(b\['image'\], \{'colour': b\['colour'\]",
    ),
    "three": (
        lambda x, c, s: (x, c, s),
        r"gave tuple of 3 .*unpack=lambda b: \(b\[0\], \{'colour': b\[1\], 'shade': b\[2\]\}\)",
    ),
    "tensor": (
        lambda x, c, s: x,
        r"gave Tensor .*a batch is \(x, \{task: target\}\) with the tasks \['colour', 'shade'\]",
    ),
    "bare": (lambda x, c, s: (x, c), "gave tuple of 2 .*Say how to take it apart"),
    "names": (
        lambda x, c, s: (x, {"color": c, "shade": s}),
        r"name \['color'\], .*Is 'color' meant to be 'colour'\?",
    ),
}


@pytest.mark.parametrize("kind", WRONG_LOADERS)
def test_a_loader_of_another_form_is_said(kind: str) -> None:
    form, match = WRONG_LOADERS[kind]
    own = Problem(TwoHeads(), tasks(), loader_of(form), loader_of(form))
    for use in (lambda: fit(own, SoftThreshold(0.2), steps=2), lambda: evaluate(own, "val")):
        with pytest.raises(ValueError, match=match):
            use()


def test_an_unpack_that_does_not_fit_is_said() -> None:
    problem = two_heads()
    for unpack, match in (
        (lambda b: b["image"], r"unpack does not take the batch, tuple of 2 .*TypeError"),
        (lambda b: b[0], r"unpack returned Tensor .*Return that"),
    ):
        with pytest.raises(ValueError, match=match):
            fit(Problem(problem.model, problem.tasks, problem.train, unpack=unpack), steps=1)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda x: (x * 9).byte(),
            r"does not take Tensor \(4, 3, 8, 8\) uint8 .*x.to\(torch.float32\) / 255",
        ),
        (lambda x: x.double(), r"float64 .*x.to\(torch.float32\)"),
        (lambda x: {"pixels": x}, r"dict \{pixels: .*call=lambda model, x: \{task: model\(\*\*x\)"),
        (
            lambda x: (x, x),
            r"Problem.train gave tuple of 2 \(Tensor .* as x; an input is one tensor, .* Name them: Problem\(\.\.\., "
            r"unpack=lambda b: \(\{'x0': b\[0\]\[0\], 'x1': b\[0\]\[1\]\}, b\[1\]\), call=lambda model, x: model\(x\['x0'\], x\['x1'\]\)\)",
        ),
    ],
)
def test_an_input_that_the_model_does_not_take(change: Any, match: str) -> None:
    problem = two_heads()
    data = [(change(x), t) for x, t in problem.train]
    with pytest.raises(ValueError, match=match):
        fit(Problem(problem.model, problem.tasks, data), SoftThreshold(0.2), steps=1)


def test_a_batch_of_one_under_batchnorm_says_drop_last() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    call = lambda model, x: {"a": model(x)}  # noqa: E731
    data = [(torch.randn(1, 3), {"a": torch.randn(1, 4)})]
    with pytest.raises(ValueError, match=r"BatchNorm cannot train on a batch of one; .*drop_last=True"):
        fit(Problem(model, {"a": Task(F.mse_loss)}, data, call=call), steps=1)


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        (
            lambda p, t: F.cross_entropy(p, t.float()),
            "loss of task 'colour' does not take the prediction, Tensor .*",
        ),
        (
            partial(F.cross_entropy, reduction="none"),
            r"loss of task 'colour' gave Tensor \(4, 8, 8\) .*a scalar",
        ),
        (lambda p, t: 1.0, "loss of task 'colour' gave float; it must give a scalar tensor"),
        (lambda p, t: (p.argmax(1) == t).float().mean(), "'colour' depends on no parameter that is trained"),
    ],
)
def test_a_loss_that_does_not_fit_names_the_task(loss: Any, match: str) -> None:
    problem = two_heads()
    data = [(x, {"colour": t["colour"]}) for x, t in problem.train]
    with pytest.raises(ValueError, match=match):
        fit(Problem(problem.model, {"colour": Task(loss)}, data), steps=1)


def test_errors_of_other_kinds_are_not_touched() -> None:
    class Own(RuntimeError):
        pass

    class Net(nn.Module):
        def forward(self, x: Tensor) -> Any:
            raise Own("mine")

    with pytest.raises(Own, match=r"^mine$"):
        fed(Net(), torch.ones(1))


def test_inputs_of_all_kinds_move() -> None:
    packed = nn.utils.rnn.pack_sequence([torch.ones(3, 1), torch.ones(2, 1)])
    cpu = torch.device("cpu")
    assert isinstance(to_device(packed, cpu), nn.utils.rnn.PackedSequence)
    assert to_device(Pair(torch.ones(1), [torch.ones(2)]), cpu)._fields == Pair._fields
    assert to_device(("a", 1, None), cpu) == ("a", 1, None)
