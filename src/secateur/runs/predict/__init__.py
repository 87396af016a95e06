"""Pictures with what a network predicts drawn: from a run folder or an exported file, for anybody's pictures."""

from secateur.runs.predict.drawing import Facts, facts_of
from secateur.runs.predict.network import Network, network_of
from secateur.runs.predict.predict import Seen, predict

__all__ = ["Facts", "Network", "Seen", "facts_of", "network_of", "predict"]
