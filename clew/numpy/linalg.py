"""``clew.numpy.linalg``: NumPy's; traced values reach the forms in ``clew.numpy.matrices``."""

from numpy.linalg import *  # noqa: F403
from numpy.linalg import __all__  # noqa: F401
