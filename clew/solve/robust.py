"""Robust losses: large residuals count less than their square.

With ``z = (r / scale)^2`` the loss is ``0.5 scale^2 sum rho(z)``; ``rho(z) = z`` is least squares.
Sources: Huber, Robust Statistics (1981); Triggs et al., Bundle Adjustment (2000), section 4.3.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core.errors import InputError

CURVATURE_FLOOR = 0.1  # part of rho' kept as curvature, so that outliers keep a say in the step


@dataclass(frozen=True)
class RobustLoss:
    """A loss of squared residuals and its first two derivatives.

    >>> huber = robust_loss(("huber", 2.0))
    >>> float(huber.total(np.array([1.0, 4.0])))   # 0.5 * 1 inside, 2 * (4 - 1) outside
    6.5
    """

    name: str
    scale: float
    rho: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    curve: Callable[[Any], Any]

    def total(self, residual: Any) -> Any:
        """Return ``0.5 scale^2 sum rho((r / scale)^2)``; works on traced values too."""
        ratio = residual / self.scale
        return 0.5 * self.scale**2 * np.sum(self.rho(ratio * ratio))

    def reweighted(self, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return row factors of the Jacobian and residuals of the same gradient.

        The normal equations of the scaled system have the gradient ``J' rho' r`` exactly, and
        the curvature ``J' (rho' + 2 rho'' z) J``, kept from falling below a tenth of ``rho'``.
        """
        z = (residual / self.scale) ** 2
        slope = self.slope(z)
        curvature = np.maximum(slope + 2 * self.curve(z) * z, CURVATURE_FLOOR * slope)
        rows = np.sqrt(curvature)
        return rows, residual * slope / rows

    def influence(self, residual: np.ndarray) -> np.ndarray:
        """Return ``psi = rho' r``, what each datum pulls with."""
        return self.slope((residual / self.scale) ** 2) * residual


def _huber(scale: float) -> RobustLoss:
    # maximum(z, 1) keeps the square root's infinite slope at 0 out of the branch not taken
    return RobustLoss(
        "huber",
        scale,
        rho=lambda z: np.where(z <= 1, z, 2 * np.sqrt(np.maximum(z, 1)) - 1),
        slope=lambda z: np.where(z <= 1, 1.0, 1 / np.sqrt(np.maximum(z, 1))),
        curve=lambda z: np.where(z <= 1, 0.0, -0.5 * np.maximum(z, 1) ** -1.5),
    )


def _soft_l1(scale: float) -> RobustLoss:
    return RobustLoss(
        "soft_l1",
        scale,
        rho=lambda z: 2 * (np.sqrt(1 + z) - 1),
        slope=lambda z: 1 / np.sqrt(1 + z),
        curve=lambda z: -0.5 * (1 + z) ** -1.5,
    )


def _cauchy(scale: float) -> RobustLoss:
    return RobustLoss(
        "cauchy",
        scale,
        rho=lambda z: np.log1p(z),
        slope=lambda z: 1 / (1 + z),
        curve=lambda z: -1 / (1 + z) ** 2,
    )


LOSSES = {"huber": _huber, "soft_l1": _soft_l1, "cauchy": _cauchy}


def robust_loss(robust: str | tuple[str, float] | None) -> RobustLoss | None:
    """Return the loss for ``"huber"``, ``("huber", scale)``, ... or None for least squares.

    The scale is the residual beyond which a datum counts as an outlier, in the units of the
    (weighted) residual; 1 when not given.

    Raises
    ------
    InputError
        If there is no such loss (the nearest names are offered), or the scale is not positive.
    """
    if robust is None:
        return None
    name, scale = (robust, 1.0) if isinstance(robust, str) else robust
    if name not in LOSSES:
        near = difflib.get_close_matches(str(name), LOSSES, 1)
        raise InputError(
            f"robust={name!r} is not a robust loss",
            f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(LOSSES)}",
        )
    if not (np.isfinite(scale) and scale > 0):
        raise InputError(
            f"robust: the scale is {scale}",
            "give a positive number: the residual beyond which a datum is an outlier",
        )
    return LOSSES[name](float(scale))
