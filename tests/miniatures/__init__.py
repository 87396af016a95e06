"""Miniature copies of the data sets, one module each, as they lie on disk."""
