"""Measurements, as ratios against peers or limits; ``make bench`` runs them all."""

import os

# An idle thread of NumPy's OpenBLAS watches for work for tens of milliseconds, on a processor that
# the next side needs. It reads this when NumPy is imported.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "10")
