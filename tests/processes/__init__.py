"""Processes that are killed, and processes that train together."""
