"""Losses, inputs, gradients and weights are finite; or it is said since when not, and the weights of before are put back."""
