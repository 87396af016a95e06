"""MLflow: a server, or a database on this machine."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from secateur.training.trackers.backend import Picture, Tracked, needed

_LONGEST = 500  # characters of a parameter that every release takes
_PATIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}  # while a run is opened


class MLflow:
    """Logs to ``MLFLOW_TRACKING_URI``, or to ``mlflow.db`` in ``folder`` or here; show it by ``mlflow ui``."""

    def __init__(self) -> None:
        try:
            api: Any = import_module("mlflow")
            entities: Any = import_module("mlflow.entities")
        except ImportError as error:
            raise needed("mlflow", "mlflow") from error
        self._client_class: Any = api.MlflowClient
        self._client: Any = None
        self._metric, self._param = entities.Metric, entities.Param
        self._id, self._last = "", -1

    def open(self, run: Tracked) -> str:
        """The project is an experiment; a server that does not answer is an error at once."""
        uri, place = os.environ.get("MLFLOW_TRACKING_URI"), None
        if not uri:
            folder = run.folder.resolve() if run.folder else None
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                place = (folder / "mlartifacts").as_uri()
            uri = f"sqlite:///{folder / 'mlflow.db'}" if folder else None
        with _impatient():
            self._client = self._client_class(uri)
            if run.id:
                self._id = run.id
                self._client.update_run(run.id, status="RUNNING")
                held = self._client.get_metric_history(run.id, "lr")
                self._last = max((metric.step for metric in held), default=-1)
                return run.id
            found = self._client.get_experiment_by_name(run.project)
            experiment = found.experiment_id if found else self._client.create_experiment(run.project, place)
            self._id = self._client.create_run(experiment, run_name=run.name).info.run_id
            params = [self._param(_named(k), str(v)[:_LONGEST]) for k, v in _flat(run.config)]
            for start in range(0, len(params), 100):
                self._client.log_batch(self._id, params=params[start : start + 100])
        return self._id

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics; what the run has already, of before it was stopped, is not sent twice."""
        if step <= self._last:
            return
        now = int(time.time() * 1000)
        metrics = [self._metric(_named(name), value, now, step) for name, value in values.items()]
        for start in range(0, len(metrics), 1000):
            self._client.log_batch(self._id, metrics=metrics[start : start + 1000])

    def picture(self, step: int, name: str, image: Picture) -> None:
        """An image, by its step."""
        if step > self._last:
            self._client.log_image(self._id, image, key=_named(name), step=step)

    def close(self, ended: bool) -> None:
        """Ends the run."""
        self._client.set_terminated(self._id, "FINISHED" if ended else "KILLED")


def _named(name: str) -> str:
    return re.sub(r"[^\w./ :-]", "_", name)


def _flat(config: Mapping[str, Any], start: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in config.items():
        inner = isinstance(value, Mapping)
        found += _flat(value, f"{start}{key}.") if inner else [(f"{start}{key}", value)]  # pyright: ignore[reportUnknownArgumentType]
    return found


@contextmanager
def _impatient() -> Generator[None]:
    added = {name: value for name, value in _PATIENT.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
