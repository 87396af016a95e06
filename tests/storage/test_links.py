"""A link that the user names is written through; one in a run folder, which may be anybody's, leads nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from problems import equal, two_heads, weights
from secateur import export, fit, load, save
from secateur.cli.report import report as cli_report
from secateur.runs import RunFolder
from secateur.runs import report as pages
from secateur.runs.report import page
from secateur.storage import behind, put, write_text


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    link, real = tmp_path / "net", tmp_path / "store" / "v1"
    link.symlink_to(real)  # not there yet
    for text in ("one", "two"):
        (tmp_path / "new").write_text(text)
        put(tmp_path / "new", link)
        assert link.is_symlink()
        assert real.read_text() == text
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["net", "store", "v1"]
    chain = tmp_path / "chain"
    chain.symlink_to(link)
    assert behind(chain) == real.resolve()
    assert behind(real) == real


def test_a_finished_file_goes_to_another_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def apart(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    (tmp_path / "new").write_text("one")
    monkeypatch.setattr(os, "rename", apart)
    put(tmp_path / "new", tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there").read_text() == "one"


def test_weights_and_exports_go_through_a_link(tmp_path: Path) -> None:
    model = two_heads().model
    (tmp_path / "store").mkdir()
    for name in ("net.safetensors", "net.pt2"):
        (tmp_path / name).symlink_to(tmp_path / "store" / f"real.{name}")
    save(model, tmp_path / "net.safetensors")
    export(model, torch.randn(1, 3, 8, 8), tmp_path / "net.pt2")
    load(two_heads().model, tmp_path / "store" / "real.net.safetensors")
    for name in ("net.safetensors", "net.pt2"):
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "store" / f"real.{name}").is_file()


def test_a_checkpoint_goes_through_a_link_and_is_taken_up_through_it(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    link, real = tmp_path / "link.pt", tmp_path / "store" / "real.pt"
    link.symlink_to(Path("store", "real.pt"))  # not there yet
    problem = two_heads()
    fit(problem, steps=6, checkpoint=link, checkpoint_every=3)
    assert sorted(p.name for p in real.parent.iterdir()) == ["real.before.pt", "real.pt"]
    assert link.is_symlink()
    assert [p.name for p in tmp_path.iterdir() if p.is_file() and p != link] == []
    again, written = two_heads(), real.stat().st_ino
    fit(again, steps=6, checkpoint=link, checkpoint_every=3)
    assert equal(weights(problem), weights(again))
    assert real.stat().st_ino == written  # nothing was trained anew


def test_a_page_goes_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of ``--out``; the page of a run folder takes the place of a link there."""
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(pages, "read_run", lambda folder: folder)
    monkeypatch.setattr(pages, "results_table", lambda runs: "")
    monkeypatch.setattr(page, "read_run", lambda folder: folder)
    monkeypatch.setattr(page, "render", lambda runs: "page")
    real = tmp_path / "real.html"
    for link, stays in ((tmp_path / "link.html", True), (tmp_path / "run" / "report.html", False)):
        link.symlink_to(real)
        cli_report([str(tmp_path / "run"), *(["--out", str(link)] if stays else [])])
        assert link.is_symlink() == stays
        assert link.read_text() == "page"
        assert real.exists() == stays
        real.unlink(missing_ok=True)


def test_a_link_out_of_a_run_folder_is_refused_and_one_inside_is_not(tmp_path: Path) -> None:
    folder, precious = RunFolder(tmp_path / "run"), tmp_path / "precious"
    folder.path.mkdir()
    precious.write_text("text")
    folder.weights.symlink_to(precious)
    folder.compact.symlink_to("other")
    with pytest.raises(
        ValueError, match=r"model.safetensors is a link out of the run folder, to .*precious; remove it"
    ):
        folder.inside(folder.weights)
    with pytest.raises(ValueError, match="is a link out of the run folder"):
        folder.claim({})
    assert folder.inside(folder.compact) == folder.compact
    folder.weights.rename(folder.checkpoint)
    with pytest.raises(ValueError, match=r"checkpoint\.pt is a link out of the run folder"):
        folder.claim({})
    folder.checkpoint.rename(folder.weights)
    write_text(folder.weights, "ours")  # what is not asked for by name takes the place of a link
    assert precious.read_text() == "text"


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match="there is something that is no file"):
            write_text(path, "text")
    assert (tmp_path / "pipe").is_fifo()
