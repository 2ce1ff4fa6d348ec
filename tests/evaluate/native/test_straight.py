"""Bodies of loops read back from LLVM's text."""

from __future__ import annotations

import pytest

from clew.evaluate.native.straight import read

LOAD = ["  %v1 = getelementptr inbounds double, ptr %p0, i64 %i", "  %v2 = load double, ptr %v1"]
STORE = ["  %v8 = getelementptr inbounds double, ptr %p1, i64 %i", "  store double %v9, ptr %v8"]


def body(*lines: str) -> list[str]:
    return [*LOAD, *(f"  {line}" for line in lines), *STORE]


@pytest.mark.parametrize(
    "line",
    [
        "%v9 = fadd contract double %v2, 0x3FF0000000000000",
        "%v9 = fneg double %v2",
        "%v9 = call double @llvm.fma.f64(double %v2, double %v2, double 1.0)",
        "%v9 = call reassoc nsz double @llvm.maximum.f64(double %v2, double 1.0)",
        "%v9 = sitofp i64 %i to double",
        "%v9 = select i1 true, double %v2, double 1.0",
    ],
)
def test_what_is_understood(line: str) -> None:
    found = read(body(line))
    assert found is not None
    assert [each.what for each in found.instructions] == [
        *("address", "load", "value", "address", "store")
    ]


@pytest.mark.parametrize(
    "line",
    [
        "%v9 = call double @llvm.powi.f64.i32(double %v2, i32 3)",
        "%v9 = call double @sin(double %v2)",
        "%v9 = call double @llvm.exp.f64(double %v2)",
        "%v9 = call double @llvm.copysign.f64(double %v2, float %x)",
        "%v9 = fpext half %v3 to double",
        "%v9 = fadd half %v3, %v3",
        "%v9 = load half, ptr %p2",
        "%v9 = getelementptr inbounds half, ptr %p2, i64 %i",
        "%v9 = getelementptr inbounds double, ptr %p2, i32 %i",
        "%v9 = frem double %v2, 2.0",
        "%v9 = phi double [ %v2, %a ], [ 1.0, %b ]",
        "%v9 = select <2 x i1> %c, double %v2, double 1.0",
        "call void @work(ptr %p0)",
        "%v9 = load volatile double, ptr %p1",
        "br i1 %c, label %then1, label %after2",
        "fence seq_cst",
    ],
)
def test_what_is_not(line: str) -> None:
    assert read(body(line)) is None


@pytest.mark.parametrize(
    "line",
    [
        "fmul reassoc nsz contract double %v2, %x",
        "fcmp une float %x, %y",
        "sdiv exact i64 %x, 3",
        "zext i1 %c to i64",
        "fptosi float %x to i32",
        "call i64 @llvm.abs.i64(i64 %x, i1 false)",
        "call nnan float @llvm.fma.f32(float %x, float %y, float %z)",
        "select i1 %c, i8 %x, i8 7",
    ],
)
def test_what_was_read_can_be_written_again(line: str) -> None:
    found = read([f"  %r = {line}"])
    assert found is not None
    (one,) = found.instructions
    suffix = {"double": "f64", "float": "f32"}.get(one.kind, one.kind)
    given = {f"t{i}": kind for i, (kind, _) in enumerate(one.operands)}
    operands = [name for _, name in one.operands]
    assert one.form.format(*operands, **given, t=one.kind, s=suffix) == line


@pytest.mark.parametrize(("kind", "size"), [("double", 8), ("i16", 2), ("[24 x i8]", 24)])
def test_addresses_know_the_bytes_of_an_element(kind: str, size: int) -> None:
    found = read([f"  %a = getelementptr inbounds {kind}, ptr %p0, i64 %i"])
    assert found is not None
    assert found.instructions[0].size == size


def test_blocks_that_follow_each_other_are_one() -> None:
    lines = [*LOAD, "  br label %inner1", "inner1:", "  %v9 = fneg double %v2", *STORE]
    found = read(lines)
    assert found is not None
    assert len(found.instructions) == 5
    assert read([*LOAD, "  br label %elsewhere", "inner1:"]) is None


def test_places_vanish() -> None:
    lines = ["store double %v2, ptr %slot1", "%v3 = load double, ptr %slot1"]
    found = read(body(*lines, "%v9 = fadd double %v3, %v3"))
    assert found is not None
    assert not found.gathered
    assert found.instructions[2].operands == (("double", "%v2"), ("double", "%v2"))


def gathering(*lines: str) -> list[str]:
    return [*LOAD, *(f"  {line}" for line in lines)]


def test_a_sum() -> None:
    found = read(
        gathering(
            "%v3 = load double, ptr %slot1",
            "%v4 = fadd reassoc double %v3, %v2",
            "store double %v4, ptr %slot1",
            "%v5 = load double, ptr %slot1",
            "%v6 = fadd reassoc double %v2, %v5",
            "store double %v6, ptr %slot1",
        )
    )
    assert found is not None
    (each,) = found.gathered
    assert (each.place, each.operation, each.new) == ("%slot1", "fadd", "%v6")
    assert each.terms == {"%v4": "%v2", "%v6": "%v2"}


@pytest.mark.parametrize(
    "lines",
    [
        ["%v4 = fsub double %v3, %v2", "store double %v4, ptr %slot1"],  # no sum
        ["%v4 = fadd double %v3, %v3", "store double %v4, ptr %slot1"],  # of itself
        ["%v4 = fadd double %v2, %v2", "store double %v4, ptr %slot1"],  # forgets
        [  # what was gathered so far is read by another
            *("%v4 = fadd double %v3, %v2", "store double %v4, ptr %slot1"),
            "%v5 = fmul double %v3, %v3",
        ],
        [  # and the sum itself
            *("%v4 = fadd double %v3, %v2", "store double %v4, ptr %slot1"),
            "%v5 = fmul double %v4, %v2",
        ],
        [  # something between the sum and the place
            *("%v4 = fadd double %v3, %v2", "%v5 = fneg double %v2"),
            "store double %v4, ptr %slot1",
        ],
        [  # two operations
            *("%v4 = fadd double %v3, %v2", "store double %v4, ptr %slot1"),
            *("%v5 = fmul double %v4, %v2", "store double %v5, ptr %slot1"),
        ],
        [],
    ],
)
def test_other_changes_of_a_place(lines: list[str]) -> None:
    assert read(gathering("%v3 = load double, ptr %slot1", *lines)) is None


RARE = [
    "  store double %v2, ptr %slot1",
    "  %v3 = fcmp ogt double %v2, 1.0",
    "  br i1 %v3, label %then4, label %after5",
    "then4:",
    '  %v6 = call double @clew_math_sin_double(double %v2) nounwind "vector"="x"',
    "  store double %v6, ptr %slot1",
    "  br label %after5",
    "after5:",
    "  %v7 = load double, ptr %slot1",
    "  %v9 = fneg double %v7",
]


def test_rare_cases() -> None:
    found = read([*LOAD, *RARE, *STORE])
    assert found is not None
    rare = found.instructions[3]
    assert (rare.what, rare.form) == ("rare", "clew_math_sin_double")
    assert rare.operands == (("i1", "%v3"), ("double", "%v2"))
    assert found.instructions[4].operands == (("double", "%v6"),)


@pytest.mark.parametrize("number", [0, 3, 4, 5, 6, 7])
def test_branches_that_are_no_rare_cases(number: int) -> None:
    changed = list(RARE)
    changed[number] = "  store double 2.0, ptr %slot1"
    assert read([*LOAD, *changed, *STORE]) is None


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (2, "  br i1 %v3, label %after5, label %then4"),
        (4, "  %v6 = call double @sin(double %v2) nounwind"),
        (4, "  %v6 = call double @clew_math_sin_double(double 1.0) nounwind"),
        (5, "  store double %v6, ptr %slot2"),
        (5, "  store double %v2, ptr %slot1"),
        (6, "  br label %elsewhere"),
    ],
)
def test_cases_that_leave_something_else(number: int, line: str) -> None:
    changed = list(RARE)
    changed[number] = line
    assert read([*LOAD, *changed, *STORE]) is None
