"""The makers of tests/vectors, one file or two each."""
