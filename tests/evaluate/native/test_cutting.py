"""Products in equal parts."""

from __future__ import annotations

import numpy as np
import pytest

from clew.evaluate.native.host import Host
from clew.evaluate.native.products.contraction import Contraction
from clew.evaluate.native.products.cutting import evenly, joining
from clew.evaluate.native.products.product import Product

HOST = Host(64, 32, True, 48 << 10, 2 << 20, 32 << 20, 2)


def product(rows: int, inner: int, columns: int, turned: bool = False) -> Contraction:
    right = (0, 1, inner) if turned else (0, columns, 1)
    strides = (0, inner, 1), right, (0, columns, 1)
    return Product(np.dtype(np.float64), 1, rows, inner, columns, *strides).contraction()


@pytest.mark.parametrize("rows", [64, 96, 250, 1000])
def test_parts_are_equal_and_cover_all(rows: int) -> None:
    one = product(rows, 128, 128)
    cut = evenly(one, HOST)
    assert cut is not None
    assert cut.chunks > 1
    assert cut.part.elements * cut.chunks == one.elements == cut.result * cut.chunks
    assert (cut.left * cut.chunks, cut.right) == (rows * 128, 0)


def test_small_products_and_prime_rows_stay_whole() -> None:
    assert evenly(product(16, 16, 16), HOST) is None
    assert evenly(product(127, 128, 128), HOST) is None


def test_parts_that_copy_too_much_do_not_join() -> None:
    assert joining(product(64, 128, 128), 2, HOST) is not None
    assert joining(product(64, 128, 128), 7, HOST) is None
    assert joining(product(32, 512, 512, turned=True), 32, HOST) is None  # all of B for each row
