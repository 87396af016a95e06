"""Passes of the model at other sizes than the example's: what one would take, and which are tried."""
