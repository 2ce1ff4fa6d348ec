"""Nonlinear regression problems with certified answers.

Source: NIST Statistical Reference Datasets, https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml
(public domain): data, starting values, certified parameters and their standard deviations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Regression:
    """A model, its data, two starts, and the certified answer."""

    model: Callable[..., Array]
    y: Array
    x: Array
    starts: tuple[list[float], list[float]]
    certified: list[float]
    deviations: list[float]
    squares: float


def _cubic_over_cubic(b: Array, x: Array) -> Array:
    above = b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3
    return above / (1 + b[4] * x + b[5] * x**2 + b[6] * x**3)


def _columns(text: str) -> tuple[Array, Array]:
    table = np.array([float(word) for word in text.split()]).reshape(-1, 2)
    return table[:, 0].copy(), table[:, 1].copy()


_MISRA1A = """
10.07 77.6  14.73 114.9  17.94 141.1  23.93 190.8  29.61 239.9  35.18 289.0  40.02 332.8
44.82 378.4  50.76 434.8  55.05 477.3  61.01 536.8  66.40 593.1  75.47 689.1  81.78 760.0
"""
_BOXBOD = "109 1  149 2  149 3  191 5  213 7  224 10"
_MGH09 = """
0.1957 4.0  0.1947 2.0  0.1735 1.0  0.1600 0.5  0.0844 0.25  0.0627 0.167  0.0456 0.125
0.0342 0.1  0.0323 0.0833  0.0235 0.0714  0.0246 0.0625
"""
_MGH10 = """
34780 50  28610 55  23650 60  19630 65  16370 70  13720 75  11540 80  9744 85  8261 90  7030 95
6005 100  5147 105  4427 110  3820 115  3307 120  2872 125
"""
_THURBER = """
80.574 -3.067  84.248 -2.981  87.264 -2.921  87.195 -2.912  89.076 -2.840  89.608 -2.797
89.868 -2.702  90.101 -2.699  92.405 -2.633  95.854 -2.481  100.696 -2.363  101.060 -2.322
401.672 -1.501  390.724 -1.460  567.534 -1.274  635.316 -1.212  733.054 -1.100  759.087 -1.046
894.206 -0.915  990.785 -0.714  1090.109 -0.566  1080.914 -0.545  1122.643 -0.400  1178.351 -0.309
1260.531 -0.109  1273.514 -0.103  1288.339 0.010  1327.543 0.119  1353.863 0.377  1414.509 0.790
1425.208 0.963  1421.384 1.006  1442.962 1.115  1464.350 1.572  1468.705 1.841  1447.894 2.047
1457.628 2.200
"""

PROBLEMS = {
    "Misra1a": Regression(
        lambda b, x: b[0] * (1 - np.exp(-b[1] * x)),
        *_columns(_MISRA1A),
        ([500, 0.0001], [250, 0.0005]),
        [2.3894212918e02, 5.5015643181e-04],
        [2.7070075241e00, 7.2668688436e-06],
        1.2455138894e-01,
    ),
    "BoxBOD": Regression(
        lambda b, x: b[0] * (1 - np.exp(-b[1] * x)),
        *_columns(_BOXBOD),
        ([1, 1], [100, 0.75]),
        [2.1380940889e02, 5.4723748542e-01],
        [1.2354515176e01, 1.0455993237e-01],
        1.1680088766e03,
    ),
    "MGH09": Regression(
        lambda b, x: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]),
        *_columns(_MGH09),
        ([25, 39, 41.5, 39], [0.25, 0.39, 0.415, 0.39]),
        [1.9280693458e-01, 1.9128232873e-01, 1.2305650693e-01, 1.3606233068e-01],
        [1.1435312227e-02, 1.9633220911e-01, 8.0842031232e-02, 9.0025542308e-02],
        3.0750560385e-04,
    ),
    "MGH10": Regression(
        lambda b, x: b[0] * np.exp(b[1] / (x + b[2])),
        *_columns(_MGH10),
        ([2, 400000, 25000], [0.02, 4000, 250]),
        [5.6096364710e-03, 6.1813463463e03, 3.4522363462e02],
        [1.5687892471e-04, 2.3309021107e01, 7.8486103508e-01],
        8.7945855171e01,
    ),
    "Thurber": Regression(
        _cubic_over_cubic,
        *_columns(_THURBER),
        ([1000, 1000, 400, 40, 0.7, 0.3, 0.03], [1300, 1500, 500, 75, 1, 0.4, 0.05]),
        [
            1.2881396800e03,
            1.4910792535e03,
            5.8323836877e02,
            7.5416644291e01,
            9.6629502864e-01,
            3.9797285797e-01,
            4.9727297349e-02,
        ],
        [
            4.6647963344e00,
            3.9571156086e01,
            2.8698696102e01,
            5.5675370270e00,
            3.1333340687e-02,
            1.4984928198e-02,
            6.5842344623e-03,
        ],
        5.6427082397e03,
    ),
}
