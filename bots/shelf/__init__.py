"""Bots to use as they are, and to learn from: each is one module with a `bot`."""
