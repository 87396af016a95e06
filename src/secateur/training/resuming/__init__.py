"""Stopping and going on: the place in the data, what tells one training from another, and all of it to and from one file."""
