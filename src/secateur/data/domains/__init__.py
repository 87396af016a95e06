"""One folder, list or archive for each visual domain: PACS and its like."""

from secateur.data.domains.domains import domains, domains_frames

__all__ = [
    "domains",
    "domains_frames",
]
