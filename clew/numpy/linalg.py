"""``clew.numpy.linalg``: NumPy's; traced values reach the forms in ``clew.numpy.matrices``."""

import numpy as np
from numpy.linalg import __all__  # noqa: F401

globals().update({name: getattr(np.linalg, name) for name in np.linalg.__all__})
