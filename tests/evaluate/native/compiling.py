"""Compile loops over arrays as the tests need them: for this machine, fully optimised."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from clew.evaluate.native.compiling import Compiler
from clew.evaluate.native.emitter import INT64, Emitter, Module, Value
from clew.evaluate.native.linking import Linker
from clew.evaluate.native.toolchain import Library as Code

ATTRIBUTES = 'nounwind "prefer-vector-width"="512"'


def linked(module: Module, entry_points: Sequence[str]) -> Code:
    """The machine code of a module that was written without a linker."""
    with Compiler() as compiler:
        linker = Linker(compiler)
        for unit in module.required.values():
            linker.require(unit)
        return linker.library(module, entry_points)


class Loops:
    """A module of loops ``out[i] = body(e, x0[i], ...)``, one for each name."""

    def __init__(self) -> None:
        self.module = Module()
        self.dtypes: dict[str, tuple[np.dtype, int]] = {}

    def add(self, name: str, dtype: Any, count: int, body: Callable[..., Value]) -> None:
        """Write ``void name(x0, ..., out, n)``, all arrays of one dtype."""
        dtype = np.dtype(dtype)
        names = [f"x{k}" for k in range(count)]
        parameters = [("ptr", each, "noalias") for each in [*names, "out"]]
        e = Emitter(
            self.module,
            name,
            [*parameters, ("i64", "n", "")],
            attributes=ATTRIBUTES,
            linkage="external",
        )
        with e.loop(0, Value(INT64, "%n")) as i:
            e.store("%out", body(e, *(e.load(f"%{each}", dtype, i) for each in names)), i)
        e.ret()
        self.module.add(e)
        self.dtypes[name] = (dtype, count)

    def compiled(self, vectorise: bool = True) -> Library:
        """Compile what has been written."""
        return Library(self, vectorise)


class Library:
    """Compiled loops; they live as long as this does."""

    def __init__(self, loops: Loops, vectorise: bool) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.dtypes = loops.dtypes
        self.machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(),
            features=llvm.get_host_cpu_features().flatten(),
            opt=3,
            jit=True,
        )
        needed = Module()
        needed.required = loops.module.required
        linked(needed, [])
        self.parsed = llvm.parse_assembly(loops.module.text())
        self.parsed.verify()
        options = llvm.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization = vectorise
        options.slp_vectorization = vectorise
        builder = llvm.create_pass_builder(self.machine, options)
        builder.getModulePassManager().run(self.parsed, builder)
        self.engine = llvm.create_mcjit_compiler(self.parsed, self.machine)
        self.engine.finalize_object()

    @property
    def assembly(self) -> str:
        """The machine code, as text."""
        return self.machine.emit_assembly(self.parsed)

    def __call__(self, name: str, *arrays: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Run a loop over arrays of one shape."""
        dtype, count = self.dtypes[name]
        given = [np.ascontiguousarray(a, dtype) for a in arrays]
        result = np.empty_like(given[0]) if out is None else out
        assert len(given) == count
        assert all(a.shape == result.shape for a in given)
        assert result.dtype == dtype
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (count + 1), ctypes.c_int64)
        function = kind(self.engine.get_function_address(name))
        function(*(a.ctypes.data for a in [*given, result]), result.size)
        return result
