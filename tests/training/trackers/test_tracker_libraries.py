"""Each tracking library itself, offline: what it was told is read back, once, after a run that was stopped; and nothing leaves the machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from secateur import Tracker
from secateur.training import History
from training.trackers.test_trackers import expected, stopped_and_resumed, train


@pytest.fixture(autouse=True)
def _nothing_leaves(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Whoever looks up or connects to another machine is caught at the end, even in a thread that says nothing."""
    asked: list[object] = []
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def looked_up(host: Any, *rest: Any, **named: Any) -> Any:
        if host not in ("localhost", "127.0.0.1", None):
            asked.append(host)
            raise OSError("no network in this test")
        return look_up(host, *rest, **named)

    def connected(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("localhost", "127.0.0.1"):
            asked.append(address)
            raise OSError("no network in this test")
        connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    monkeypatch.setattr(socket.socket, "connect", connected)
    yield
    assert not asked


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = stopped_and_resumed(lambda: Tracker("tensorboard", folder=tmp_path / "tb"), tmp_path)
    read = EventAccumulator(str(tmp_path / "tb"), {"scalars": 0, "images": 0, "tensors": 0}).Reload()
    found = [(name, e.step, e.value) for name in read.Tags()["scalars"] for e in read.Scalars(name)]
    assert len(found) == len({(name, step) for name, step, _ in found})  # what came again is there once
    assert {(n, s): v for n, s, v in found} == pytest.approx(expected(history), rel=1e-6)
    assert {image.step for image in read.Images("shade/0")} == {4, 8}
    assert b"density: 0.2" in read.Tensors("config/text_summary")[0].tensor_proto.string_val[0]


def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    history = stopped_and_resumed(lambda: Tracker("trackio", project="p", name="mine"), tmp_path)
    (run,) = SQLiteStorage.get_runs("p")
    logs = SQLiteStorage.get_logs("p", run)
    found = [(n, row["step"], v) for row in logs for n, v in row.items() if "/" in n or n == "lr"]
    numbers = [(n, s, v) for n, s, v in found if isinstance(v, (int, float))]
    assert len(numbers) == len({(n, s) for n, s, _ in numbers})
    assert {(n, s): v for n, s, v in numbers} == pytest.approx(expected(history))
    assert any(n.startswith("shade/") and isinstance(v, dict) for n, _, v in found)
    assert not capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")  # of its own, about the releases below it
def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    history = stopped_and_resumed(lambda: Tracker("mlflow", folder=tmp_path / "ml"), tmp_path)
    read_back(MlflowClient(f"sqlite:///{tmp_path}/ml/mlflow.db"), history)
    assert list((tmp_path / "ml" / "mlartifacts").rglob("*.png"))


def read_back(client: Any, history: History) -> None:
    """The only run that MLflow has holds every number of a training that was stopped and went on, once."""
    experiment = client.get_experiment_by_name("secateur")
    (run,) = client.search_runs([experiment.experiment_id])
    for name in {name for name, _ in expected(history)}:
        held = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        assert dict(held) == {s: v for (n, s), v in expected(history).items() if n == name}, name
        assert len(held) == len(dict(held)), name
    assert run.info.status == "FINISHED"
    assert run.data.params["method.density"] == "0.2"
    assert any(file.path.startswith("images") for file in client.list_artifacts(run.info.run_id))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server of MLflow, on the loopback."""
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    place = tmp_path / "served"
    place.mkdir()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        address[0],
        "--port",
        str(address[1]),
        "--workers",
        "1",
    ]
    command += [
        "--backend-store-uri",
        f"sqlite:///{place}/mlflow.db",
        "--artifacts-destination",
        str(place / "artifacts"),
    ]
    with (place / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
                break
            assert process.poll() is None, (place / "log").read_text()
            assert time.monotonic() < deadline, (place / "log").read_text()
            time.sleep(0.2)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{address[0]}:{address[1]}")
        yield os.environ["MLFLOW_TRACKING_URI"]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.filterwarnings("ignore")
def test_mlflow_on_a_server(tmp_path: Path, server: str) -> None:
    from mlflow import MlflowClient

    read_back(MlflowClient(server), stopped_and_resumed(lambda: Tracker("mlflow"), tmp_path))
    assert list((tmp_path / "served" / "artifacts").rglob("*.png"))


class Stub:
    """The interface of Weights & Biases that we use, which writes down what it is told."""

    def __init__(self, key: str | None) -> None:
        self.api = SimpleNamespace(api_key=key)
        self.told: list[dict[str, Any]] = []
        self.rows: dict[tuple[str, int], Any] = {}
        self.step = 0
        self.Settings = type(
            "Settings", (SimpleNamespace,), {"model_fields": {"console": 0, "disable_git": 0}}
        )

    def Image(self, image: Any) -> Any:
        return image

    def init(self, **said: Any) -> Any:
        self.told.append({**said, "quiet": os.environ.get("WANDB_ERROR_REPORTING")})
        return self

    def log(self, values: Mapping[str, Any], step: int) -> None:
        assert step >= self.step
        self.step = step
        self.rows |= {(name, step): value for name, value in values.items()}

    def finish(self, exit_code: int) -> None:
        self.told[-1]["exit"] = exit_code


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub("key")
    monkeypatch.setitem(sys.modules, "wandb", stub)
    monkeypatch.delenv("WANDB_ERROR_REPORTING", raising=False)
    history = stopped_and_resumed(lambda: Tracker("wandb", folder=tmp_path / "w"), tmp_path)
    numbers = {key: value for key, value in stub.rows.items() if isinstance(value, float)}
    assert numbers == expected(history)
    first, second = stub.told
    assert first["id"] == second["id"]
    assert (first["resume"], second["resume"]) == (None, "allow")
    assert (first["exit"], second["exit"]) == (1, 0)
    assert vars(first["settings"]) == {"console": "off", "disable_git": True}
    assert first["quiet"] == "false"
    assert "WANDB_ERROR_REPORTING" not in os.environ


def test_wandb_without_a_key_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", Stub(None))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with pytest.raises(ValueError, match="no key to send with; run `wandb login`"):
        Tracker("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    Tracker("wandb")


def test_a_server_of_mlflow_that_does_not_answer_is_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed.getsockname()[1]}")
    with pytest.raises(ConnectionError, match=r"Tracker 'mlflow' cannot begin .*nothing was trained"):
        train(Tracker("mlflow"))
