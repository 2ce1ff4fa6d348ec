"""Which kernels may run chunk by chunk after a product, and where their chunks begin."""

from __future__ import annotations

import numpy as np
import pytest

from clew.evaluate.native.affine import Affine, Term
from clew.evaluate.native.products.contraction import Axis, Contraction, Cut
from clew.evaluate.native.products.plan import Pieces
from clew.evaluate.native.regions import Region, step_of
from clew.evaluate.native.storage import Memory, contiguous

F64 = np.dtype(np.float64)
ROW, COLUMN = Term(12, "%i"), Term(10, "%j")
STARTS = (0, 40, 120)


def array(pointer: str, shape: tuple[int, ...] = (12, 10)) -> Memory:
    return contiguous(F64, shape, pointer)


def at(row: int, column: int, constant: int = 0) -> Affine:
    return Affine(constant, ((ROW, row), (COLUMN, column)))


def region(apart: bool = True) -> Region:
    return Region.of_product(array("%c"), [array("%a"), array("%b")], Pieces(STARTS, apart))


def test_rows_read_where_they_were_computed() -> None:
    reads = [(array("%c"), at(10, 1)), (array("%d"), at(1, 12))]
    assert region().bounds([ROW], 12, reads, [(array("%e"), at(10, 1))]) == (0, 4, 12)


def test_loops_that_run_as_one() -> None:
    reads = [(array("%c"), at(10, 1))]
    assert region().bounds([ROW, COLUMN], 120, reads, [(array("%e"), at(10, 1))]) == (0, 40, 120)


@pytest.mark.parametrize("place", [at(10, 1, 1), at(10, -1), at(1, 12), at(20, 1), None])
def test_rows_of_other_chunks(place: Affine | None) -> None:
    assert region().bounds([ROW], 12, [(array("%c"), place)], [(array("%e"), at(10, 1))]) is None


def test_a_kernel_that_reads_nothing_of_it_is_cut_evenly() -> None:
    assert region().bounds([ROW], 12, [(array("%d"), None)], [(array("%e"), at(10, 1))]) == (
        0,
        6,
        12,
    )
    assert region().bounds([ROW], 1, [], [(array("%e"), at(10, 1))]) is None


def test_what_others_read_is_not_overwritten() -> None:
    reads = [(array("%c"), at(10, 1))]
    assert region().bounds([ROW], 12, reads, [(array("%a"), at(10, 1))]) is None
    assert region().bounds([ROW], 12, reads, [(array("%c"), at(10, 1))]) == (0, 4, 12)
    assert region(apart=False).bounds([ROW], 12, reads, [(array("%c"), at(10, 1))]) is None
    assert region().bounds([ROW], 12, [], [(array("%c"), at(1, 12))]) is None


def test_what_a_member_computes_belongs_to_its_chunks() -> None:
    one = region()
    reads, writes = (
        [(array("%c"), at(10, 1)), (array("%d"), None)],
        [(array("%e", (12,)), at(1, 0))],
    )
    one.join([ROW], (0, 4, 12), reads, writes, [array("%f", (10,))])
    assert one.runs["%e"] == (0, 4, 12)
    assert one.bounds([ROW], 12, [(array("%e", (12,)), at(1, 0))], []) == (0, 4, 12)
    assert one.bounds([ROW], 12, [(array("%f", (10,)), at(0, 1))], []) is None
    assert one.bounds([ROW], 12, [], [(array("%d"), at(10, 1))]) is None


def test_an_array_written_out_of_order_is_finished_last() -> None:
    one = region()
    one.join([ROW], (0, 4, 12), [], [(array("%e"), at(1, 12))], [])
    assert "%e" in one.unfinished
    assert one.bounds([ROW], 12, [(array("%e"), at(10, 1))], []) is None


def test_arrays_must_agree() -> None:
    one = region()
    one.join([ROW], (0, 6, 12), [], [(array("%e", (12,)), at(1, 0))], [])
    reads = [(array("%c"), at(10, 1)), (array("%e", (12,)), at(1, 0))]
    assert one.bounds([ROW], 12, reads, []) is None


def test_steps() -> None:
    assert step_of(at(10, 1, 5), [ROW], 5) == (10, 5)
    assert step_of(at(10, 1, 5), [ROW], 6) is None
    assert step_of(at(10, 1, 25), [ROW], 5) == (10, 25)
    assert step_of(at(9, 1), [ROW], 0) is None
    assert step_of(at(0, 1), [ROW], 0) is None


# --- products ----------------------------------------------------------------------------------


def cut(chunks: int, rows: int = 12, inner: int = 6, columns: int = 10) -> Cut:
    one = Contraction(
        F64,
        (),
        (Axis(rows, left=inner, result=columns),),
        (Axis(inner, left=1, right=columns),),
        (Axis(columns, right=1, result=1),),
    )
    found = one.cut(chunks)
    assert found is not None
    return found


A, B, C = array("%a", (12, 6)), array("%b", (6, 10)), array("%c")


def test_a_product_takes_the_rows_of_its_chunk() -> None:
    one = Region(3)
    assert one.takes(cut(3), C, A, B)
    assert one.runs == {"%c": (0, 40, 80, 120), "%a": (0, 24, 48, 72)}
    assert one.read == {"%b"}
    assert one.bounds([ROW], 12, [(C, at(10, 1))], [(A, at(6, 0))]) == (0, 4, 8, 12)


def test_a_product_of_what_a_kernel_made() -> None:
    one = Region(3)
    place = Affine(0, ((ROW, 6), (Term(6), 1)))
    assert one.bounds([ROW], 12, [], [(A, place)]) == (0, 4, 8, 12)
    one.join([ROW], (0, 4, 8, 12), [], [(A, place)], [])
    assert one.takes(cut(3), C, A, B)
    assert one.born == {"%a", "%c"}


def test_a_product_of_other_rows() -> None:
    one = Region(3)
    one.join([ROW], (0, 4, 8, 12), [], [(B, Affine(0, ((ROW, 5), (Term(5), 1))))], [])
    assert not one.takes(cut(3), C, A, B)  # it reads all of B in every chunk
    assert "%c" not in one.runs


def test_the_result_must_not_be_what_others_read() -> None:
    one = Region(3)
    one.enter({"%c": None}, {})
    assert not one.takes(cut(3), C, A, B)


def test_pieces_that_belong_to_one_worker() -> None:
    one = Region(3)
    one.takes(cut(3), C, A, B)
    assert one.run_of(C) == 40
    assert one.run_of(A) is None  # it was there before
    assert one.run_of(C.view((12, 5), (10, 2))) is None


def test_cuts() -> None:
    assert cut(3).part.rows == (Axis(4, left=6, result=10),)
    assert (cut(3).result, cut(3).left, cut(3).right) == (40, 24, 0)
    whole = Contraction(F64, (), (Axis(12, 6, 0, 10),), (Axis(6, 1, 10),), (Axis(10, 0, 1, 1),))
    assert whole.cut(5) is None
    folded = Contraction(F64, (), (Axis(12, 6, 0, 10),), (Axis(6, 1, 10),), (Axis(11, 0, 1, 1),))
    assert folded.cut(3) is None  # rows of the result overlap
