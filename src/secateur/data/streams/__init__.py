"""Data that are read from beginning to end: shards, their order, and batches that resume in mid-epoch."""
