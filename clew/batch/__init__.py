"""Graph -> graph: give some inputs a batch axis."""

from clew.batch.transform import batch
from clew.batch.vmap import vmap

__all__ = ["batch", "vmap"]
