"""Graph -> graph: the same values with fewer equations."""

from clew.simplify.simplify import simplify

__all__ = ["simplify"]
