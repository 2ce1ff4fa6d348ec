"""Graph -> graph: push-forward and transpose, and the derivatives composed of them."""

from clew.calculus.call import composite, custom_rule
from clew.calculus.derivatives import grad, hvp, jvp, linearize, value_and_grad, vjp
from clew.calculus.jacobian import hessian, jacobian
from clew.calculus.no_path import NoPath
from clew.calculus.stop import stop_gradient

__all__ = [
    "NoPath",
    "composite",
    "custom_rule",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "linearize",
    "stop_gradient",
    "value_and_grad",
    "vjp",
]
