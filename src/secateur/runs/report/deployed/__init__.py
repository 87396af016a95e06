"""The last chapter of a run: what was deployed, before and after."""

from secateur.runs.report.deployed.chapter import Chapter, chapter
from secateur.runs.report.deployed.standing import compared, standing

__all__ = ["Chapter", "chapter", "compared", "standing"]
