"""Captions: pieces, the built-in clips, files, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from miniatures.captions import written
from problems import equal, weights
from secateur import (
    AdaptiveWeighting,
    DiSparse,
    OneShot,
    Problem,
    SoftThreshold,
    components,
    density,
    evaluate,
    fit,
)
from secateur.data.captions import captions, stories
from secateur.data.captions.captions import captions_frames
from secateur.data.captions.clips import Greedy
from secateur.data.captions.stories import Stories
from secateur.data.captions.vocabulary import SPECIAL, Vocabulary
from secateur.pruning.sparsifier import Sparsifier
from secateur.zoo import video_captioner


def small() -> Problem:
    data = stories(dim=16, batch=8, train_count=64, val_count=8, test_count=12)
    torch.manual_seed(0)
    model = video_captioner(data.channels, 16, 16, 2, 32, (1, 1))
    return Problem(model, data.tasks, data.train, data.val, data.test)


def test_words_are_cut_into_the_longest_pieces() -> None:
    vocabulary = Vocabulary.of(["The cat sat.", "the cat, the dog!"], least=2)
    assert vocabulary.pieces[:6] == (*SPECIAL, "the", "cat")
    assert [vocabulary.pieces[n] for n in vocabulary.encode("The dog sat")] == [
        "the",
        "d",
        "##o",
        "##g",
        "s",
        "##a",
        "##t",
    ]
    assert vocabulary.text(vocabulary.encode("The DOG sat on?")) == "the dog sat [UNK]"
    said = [vocabulary.begin, *vocabulary.encode("cat"), vocabulary.end, 5, vocabulary.pad]
    assert vocabulary.text(said) == "cat"
    with pytest.raises(ValueError, match=r"\['\[CLS\]'\] missing"):
        Vocabulary(("[PAD]", "[UNK]", "[SEP]"))
    with pytest.raises(ValueError, match="twice"):
        Vocabulary((*SPECIAL, "a", "a"))


def test_clips_are_functions_of_the_seed() -> None:
    one, same, other = Stories(4), Stories(2, first=2), Stories(4, seed=1)
    assert torch.equal(one.features(3), same.features(1))
    assert one.caption(3) == same.caption(1)
    assert not torch.equal(one.features(0)[:3], other.features(0)[:3])
    assert one.features(0).shape[1] == 64
    with pytest.raises(IndexError, match="index 4 of 4"):
        one.caption(4)
    with pytest.raises(ValueError, match="count=0"):
        Stories(0)
    with pytest.raises(ValueError, match="noise=-1"):
        Stories(1, noise=-1)


def test_batches_are_functions_of_seed_and_step() -> None:
    train = stories(batch=8, train_count=20, val_count=2, test_count=2).train
    assert len(train) == 2
    first = [batch for batch, _ in zip(train.from_step(0), range(6), strict=False)]
    for step in (1, 2, 5):
        x, targets = next(train.from_step(step))
        assert equal(dict(x), dict(first[step][0]))
        assert torch.equal(targets["caption"], first[step][1]["caption"])
    assert not torch.equal(first[0][0]["words"], first[2][0]["words"])  # a new order in the second epoch
    x, targets = first[0]
    assert x["features"].shape == (8, 16, 64)
    assert bool((x["mask"].sum(1) >= 3).all())
    assert not x["features"][~x["mask"]].any()
    words, target = x["words"][0], targets["caption"][0]
    length = int((target != 0).sum())
    assert torch.equal(words[1:length], target[: length - 1])
    shares = [next(train.share(rank, 2).from_step(5)) for rank in (0, 1)]
    assert torch.equal(torch.cat([x["words"] for x, _ in shares]), first[5][0]["words"])
    assert torch.equal(torch.cat([y["caption"] for _, y in shares]), first[5][1]["caption"])
    with pytest.raises(ValueError, match="must not be negative"):
        train.from_step(-1)
    with pytest.raises(ValueError, match="do not fill one batch"):
        stories(batch=30, train_count=20)


class Parrot(nn.Module):
    """Says the pieces 4, 5, ... one after the other, ``count[i]`` of them in row i, then the end."""

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        words, count = x["words"], x["features"].long()
        following = torch.arange(words.shape[1]).expand_as(words) + 4
        following = torch.where(following - 4 >= count[:, None], 3, following)
        return {"caption": nn.functional.one_hot(following, 20).float().transpose(1, 2)}


def test_greedy_stops_at_the_end_piece() -> None:
    decode = Greedy(begin=2, end=3, pad=0, length=4)
    x = {"features": torch.tensor([0.0, 2.0, 9.0]), "words": torch.zeros(3, 7).long()}
    assert decode(Parrot(), x).tolist() == [[3, 0, 0, 0], [4, 5, 3, 0], [4, 5, 6, 7]]
    x = {"features": torch.tensor([0.0, 1.0]), "words": torch.zeros(2, 7).long()}
    assert decode(Parrot(), x).tolist() == [[3, 0, 0, 0], [4, 3, 0, 0]]


def test_metrics_see_captions_that_the_model_said_itself() -> None:
    problem = small()
    before = weights(problem)
    found = evaluate(problem)
    assert set(found["caption"]) == {"bleu3", "bleu4", "meteor", "rouge_l", "cider"}
    assert found == evaluate(problem)
    blind = [({**x, "words": torch.zeros_like(x["words"])}, t) for x, t in problem.test or ()]
    told = Problem(problem.model, problem.tasks, problem.train, test=blind)
    assert evaluate(told) == found  # the truth is not looked at
    assert equal(before, weights(problem))
    assert problem.model.training


@pytest.mark.parametrize(
    "make",
    [lambda: SoftThreshold(0.2, "kind"), lambda: OneShot(0.2, "snip", batches=2), lambda: DiSparse(0.2)],
    ids=["adapmtl", "snip", "disparse"],
)
def test_methods_prune_the_captioner_and_resume(make, tmp_path: Path) -> None:
    straight = small()
    losses = [
        row["loss"]["caption"]
        for row in fit(straight, make(), AdaptiveWeighting(), steps=24, log_every=8).rows
    ]
    assert losses[-1] < losses[0]
    assert density(straight.model, components(straight)).overall == pytest.approx(0.2, abs=0.0005)

    def stop(rows: list) -> None:
        if rows[-1]["step"] >= 13:
            raise InterruptedError

    def go(problem: Problem, method: Sparsifier, on_log=None) -> None:
        options = {"steps": 24, "log_every": 1, "checkpoint": tmp_path / "c.pt", "checkpoint_every": 5}
        fit(problem, method, AdaptiveWeighting(), on_log=on_log, **options)

    with pytest.raises(InterruptedError):
        go(small(), make(), stop)
    resumed = small()
    go(resumed, make())
    assert equal(weights(straight), weights(resumed))


def test_files(tmp_path: Path) -> None:
    data = captions(root=str(written(tmp_path)), batch=2, least=2)
    x, targets = next(iter(data.test))
    assert x["features"].shape == (1, 9, 8)
    assert x["mask"].sum() == 9
    pieces = data.classes["caption"]
    assert {"the", "girl", "peels", "onions"} <= set(pieces)
    assert "beans" not in pieces
    assert (
        data.tasks["caption"].metrics["bleu4"].text(targets["caption"][0].tolist()) == "a boy peels carrots"
    )
    x, _ = next(iter(captions(root=str(tmp_path), batch=2, frames=3).test))
    assert x["features"].shape == (1, 3, 8)
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, "girl", "boy", "the", "a"]))
    given = captions(root=str(tmp_path), vocabulary=str(tmp_path / "vocab.txt"), batch=2)
    assert given.channels == {"caption": 8}
    with pytest.raises(FileNotFoundError, match="No vocabulary"):
        captions(root=str(tmp_path), vocabulary=str(tmp_path / "none.txt"))


def test_lists_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"captions\.json is missing; it lists the clips"):
        captions(root=str(tmp_path / "nowhere"))
    for number, (changed, message) in enumerate(
        [
            ({"val": []}, r"no clips for \['val'\]"),
            ({"val": 3}, r"no clips for \['val'\]"),
            ({"test": [{"clip": "clip0"}]}, r"test\[0\] is .*give"),
            (
                {"test": [{"clip": "clip0", "caption": " ... "}]},
                r"test\[0\], clip 'clip0', has a caption without",
            ),
        ]
    ):
        with pytest.raises(ValueError, match=message):
            captions(root=str(written(tmp_path / str(number), **changed)))
    absent = [{"clip": f"gone{n}", "caption": "a boy"} for n in range(5)]
    with pytest.raises(FileNotFoundError, match=r"5 of the 10 clips.*gone0\.npy, gone1\.npy"):
        captions(root=str(written(tmp_path / "absent", val=absent)))
    root = written(tmp_path / "json")
    (root / "captions.json").write_text("{")
    with pytest.raises(ValueError, match=r"captions\.json cannot be read as JSON"):
        captions(root=str(root))
    (root / "captions.json").write_bytes(b"\xff{}")
    with pytest.raises(ValueError, match=r"captions\.json is no UTF-8 text"):
        captions(root=str(root))
    (root / "vocab.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"vocab\.txt is no UTF-8 text"):
        Vocabulary.read(root / "vocab.txt")


@pytest.mark.parametrize(
    "bad",
    [np.zeros(4), np.zeros((4, 9)), np.zeros((4, 8, 1)), np.zeros((0, 8)), np.zeros((4, 8), dtype=int)],
    ids=str,
)
def test_features_that_are_wrong(bad: np.ndarray, tmp_path: Path) -> None:
    root = written(tmp_path)
    np.save(root / "features" / "clip2.npy", bad)
    with pytest.raises(ValueError, match=r"clip2\.npy is .*it must be floats of \(frames, 8\)"):
        captions(root=str(root))
    with pytest.raises(ValueError, match=r"clip2\.npy is .*it must be floats of \(frames, 8\)"):
        captions_frames(root=str(root))["train"][2]  # the doctor reads these


def test_features_that_cannot_be_read(tmp_path: Path) -> None:
    root = written(tmp_path)
    np.savez(root / "archive.npz", np.zeros((4, 8)))
    whole = (root / "features" / "clip1.npy").read_bytes()
    for content in (b"nothing", b"", whole[:-8], (root / "archive.npz").read_bytes()):
        (root / "features" / "clip1.npy").write_bytes(content)
        with pytest.raises(ValueError, match=r"clip1\.npy is no readable"):
            captions(root=str(root))
        with pytest.raises(ValueError, match=r"clip1\.npy is no readable"):
            captions_frames(root=str(root))["train"][1]
    np.save(root / "features" / "clip1.npy", np.full((4, 8), np.nan))
    with pytest.raises(ValueError, match="not finite"):
        list(captions(root=str(root), batch=4).train)
