"""One training on several devices and nodes: what Fabric is asked for, who starts the processes, and who speaks when one fails."""

from secateur.runs.processes.devices import Devices, ElsewhereError
from secateur.runs.processes.started import Processes, started

__all__ = [
    "Devices",
    "ElsewhereError",
    "Processes",
    "started",
]
