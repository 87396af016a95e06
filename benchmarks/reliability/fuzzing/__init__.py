"""What is fuzzed, one kind of file a module."""
