"""Losses, each the mean over its batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.nn.activation import log_softmax

Array = Any


def logistic_loss(logit: Array, label: Array) -> Array:
    """Return the mean of ``-label log p - (1 - label) log(1 - p)``, ``p = sigmoid(logit)``.

    Worked out from the logit as ``log(1 + exp(logit)) - label logit``, so it never overflows.

    >>> round(float(logistic_loss(np.array([0.0, 0.0]), np.array([0.0, 1.0]))), 6)
    0.693147
    """
    return np.mean(np.logaddexp(0.0, logit) - label * logit)


def cross_entropy(logits: Array, classes: Array) -> Array:
    """Return the mean of ``-log softmax(logits)[class]``.

    Parameters
    ----------
    logits : array (examples, classes)
    classes : integer array (examples,)

    >>> round(float(cross_entropy(np.zeros((2, 4)), np.array([0, 3])) / np.log(4)), 12)
    1.0
    """
    rows = np.arange(len(classes))
    return -np.mean(log_softmax(logits)[rows, classes])


def squared_distance(left: Array, right: Array) -> Array:
    """Return ``sum((left - right)^2)`` over the last axis.

    >>> float(squared_distance(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    4.0
    """
    difference = left - right
    return np.sum(difference * difference, axis=-1)


def contrastive_loss(squared: Array, same: Array, margin: float = 1.0) -> Array:
    """Return the mean of ``d^2`` for like pairs, ``max(0, margin - d)^2`` for unlike ones, halved.

    Hadsell, Chopra and LeCun (2006), equation 4. At distance 0 an unlike pair is not pushed.

    Parameters
    ----------
    squared : array (pairs,)
        Squared distances.
    same : array (pairs,)
        1 for like pairs, 0 for unlike ones.

    >>> float(contrastive_loss(np.array([4.0, 0.25]), np.array([1.0, 0.0])))
    1.0625
    """
    apart = squared > 0.0
    distance = np.where(apart, np.sqrt(np.where(apart, squared, 1.0)), 0.0)
    short = np.where(distance < margin, margin - distance, 0.0)
    return 0.5 * np.mean(same * squared + (1.0 - same) * short * short)
