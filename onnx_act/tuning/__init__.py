"""Choices made by measuring: which way to write an activation."""
