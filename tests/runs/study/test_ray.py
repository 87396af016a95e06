"""Comparisons on a real Ray cluster: the table is that of one process, whatever dies; and what is said where there is none."""

from __future__ import annotations

import socket
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from processes.cluster import RUNS, figures, two_machines
from processes.forked import FORKS
from secateur.cli import main
from secateur.runs.study import ray as on_ray
from secateur.runs.study import running

SOME = ["compare", "magnitude", "--density", "0.5", *RUNS]


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_without_ray_it_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([*SOME, "--on", "ray", "--out", str(tmp_path / "out")]) == 1
    assert "pip install 'secateur[ray]'" in said(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:1", "refused"),
        ("ray://127.0.0.1:1", "refused"),
        ("http://127.0.0.1:8265", "no address of a cluster"),
        ("nowhere", "no address of a cluster"),
        ("127.0.0.1:99999999", "Is it running?"),
    ],
)
def test_a_cluster_that_is_not_there(address: str, why: str) -> None:
    with pytest.raises(ConnectionError, match=r"RAY_ADDRESS=" + address.replace(".", r"\.") + ".*" + why):
        on_ray._check_reachable(address)


def test_what_answers_and_is_no_cluster_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install 'secateur[ray]'")
    monkeypatch.setattr(on_ray, "_JOIN", 0.5)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(ConnectionError, match=r"no Ray cluster answers there within 0.5 seconds"):
            on_ray._check_reachable(f"127.0.0.1:{mute.getsockname()[1]}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Ray itself
@pytest.mark.parametrize("shared", [True, False])
def test_a_machine_that_dies_changes_nothing_in_the_table(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install 'secateur[ray]'")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "machine"))
    monkeypatch.setenv("RAY_TMPDIR", tempfile.gettempdir())  # its sockets have short names
    (tmp_path / "machine").mkdir()
    asked = [*SOME, "--steps", "120"]
    straight, out = tmp_path / "straight", tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(running, "subprocess", FORKS)
        assert main([*asked, "--out", str(straight)]) == 0
    if not shared:  # no machine finds the file by which it would know the folder
        monkeypatch.setattr(on_ray, "write_text", lambda path, text: path.parent.mkdir(exist_ok=True))
    with two_machines() as machines:
        killer = machines.kill_one_in(out if shared else tmp_path / "machine")
        assert main([*asked, "--on", "ray", "--out", str(out)]) == 0
        killer.join(timeout=10)
        assert machines.killed_at, "one was killed in the middle of a run"
    assert figures(out) == figures(straight)
    for folder in straight.glob("*-s0"):
        one, two = load_file(folder / "model.safetensors"), load_file(out / folder.name / "model.safetensors")
        assert all(torch.equal(one[name], two[name]) for name in one)
        assert (folder / "metrics.jsonl").read_bytes() == (out / folder.name / "metrics.jsonl").read_bytes()
        assert (out / "logs" / f"{folder.name}.txt").read_text(encoding="utf-8").strip()
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_no_machine_has_is_refused_before_anything_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install 'secateur[ray]'")
    asked = [*SOME, "--steps", "20", "--on", "ray", "--out", str(tmp_path / "out")]
    with two_machines() as machines:
        for option, need in (
            ("--cell-cpus=4", "4 CPUs"),
            ("--cell_gpus=1", "1 GPU"),
            ("--cell-memory=1TB", "GiB"),
        ):
            assert main([*asked, option]) == 1
            text = said(capsys)
            assert need in text.partition(";")[0]
            assert "the largest machine of the cluster has 1 CPU" in text
        assert not (tmp_path / "out").exists()
        monkeypatch.setattr(on_ray, "_ALONE", 5)
        machines.kill_one()
        killer = machines.kill_one_in(tmp_path / "out")
        assert main([*asked, "--steps=100000"]) == 1
        killer.join(timeout=10)
        assert "no machine of the cluster is left with 1 CPU" in said(capsys)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_one_is_started_here_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="needs ray: pip install 'secateur[ray]'")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    seen = {}
    init = ray.init

    def watched(*words: object, **options: object) -> object:
        seen.update(options, usage=on_ray.os.environ["RAY_USAGE_STATS_ENABLED"])
        return init(*words, **options)

    monkeypatch.setattr(ray, "init", watched)
    asked = [*SOME, "--steps", "5", "--on", "ray", "--jobs", "1", "--out", str(tmp_path / "out")]
    assert main(asked) == 0
    assert not ray.is_initialized()
    assert (seen["include_dashboard"], seen["usage"]) == (False, "0")
    assert (tmp_path / "out" / "results.json").exists()
    monkeypatch.setattr(ray, "init", None)
    assert main(asked) == 0, "all is finished: no cluster is asked for"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_search_trains_its_trials_there(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install 'secateur[ray]'")
    pytest.importorskip("optuna", reason="needs optuna: pip install 'secateur[search]'")
    over = "{method.density: [0.4, 0.6]}"
    asked = ["search", "magnitude", "--over", over, "--trials", "2", *RUNS, "--steps", "5"]
    asked += ["--objectives", "parameters", "--sampler", "random"]
    assert main([*asked, "--jobs", "1", "--out", str(tmp_path / "here")]) == 0
    with two_machines():
        assert main([*asked, "--on", "ray", "--jobs", "1", "--out", str(tmp_path / "there")]) == 0
    one, two = (sorted(p.name for p in (tmp_path / at / "trials").iterdir()) for at in ("here", "there"))
    assert one == two
    for name in one:
        weights = [
            load_file(tmp_path / at / "trials" / name / "model.safetensors") for at in ("here", "there")
        ]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
