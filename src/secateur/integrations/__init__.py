"""Pruning in the loops of others: callbacks for Lightning and for Hugging Face's Trainer."""
