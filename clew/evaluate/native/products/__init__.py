"""Matrix products and convolutions as emitted native code."""

from clew.evaluate.native.products.convolution import Convolution, emit_convolution
from clew.evaluate.native.products.driver import Emitted
from clew.evaluate.native.products.product import Product, emit_product

__all__ = ["Convolution", "Emitted", "Product", "emit_convolution", "emit_product"]
