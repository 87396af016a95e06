"""Prune one PyTorch network that does several tasks: sparse, small, fast, and as good at every task."""
