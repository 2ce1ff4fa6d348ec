"""Gradient paths through a graph."""

from clew.paths.count import count_paths

__all__ = ["count_paths"]
