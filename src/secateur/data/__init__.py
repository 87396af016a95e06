"""Data sets, one function each."""
