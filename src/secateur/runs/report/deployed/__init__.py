"""The last chapter of a run: what was deployed, before and after."""

from secateur.runs.report.deployed.chapter import Chapter, chapter

__all__ = ["Chapter", "chapter"]
