"""How Python calls a compiled program, in LLVM's IR: one function for all programs.

``clew_call`` is a function of Python's C API (``METH_FASTCALL``). What differs between programs is
in a table that its ``self`` holds: the types of the leaves, how they lie in the arguments, what to
build of the results. Arguments that do not fit are no error: the result is then an object
(``miss``) that tells the caller to look at them in Python.

How arguments and results are put together is written in words: ``LEAF number again``, ``ONLY
object``, ``EQUAL object``, ``TUPLE type count ...``, ``LIST type count ...``, ``DICT type count
(key ...) ...``, ``RECORD type count (name ...) ...``.

Sources: Python/C API Reference Manual; NumPy C-API, "PyArrayObject" and "Array API".
"""

from __future__ import annotations

import re

from clew.evaluate.native.reading_text import READING
from clew.evaluate.native.result_text import RESULT

WORDS = {"LEAF": 0, "ONLY": 1, "EQUAL": 2, "TUPLE": 3, "LIST": 4, "DICT": 5, "RECORD": 6}
"""Words of a layout."""

ARENAS = 4
"""Places for arenas that wait for the next call."""

NUMPY = {"PyArray_Empty": 184, "PyArray_Scalar": 60, "PyArray_ScalarAsCtype": 62}
"""Functions of NumPy that the code calls, with their places in its table of functions."""

_HEAD = """
; reference count, type, data, axes, lengths, strides, base, descr, flags
%array = type { i64, ptr, ptr, i32, ptr, ptr, ptr, ptr, i32 }
; reference count, type, typeobj, kind, type, byteorder, flags, number
%descr = type { i64, ptr, ptr, i8, i8, i8, i8, i32 }
; descr, its number, axes, lengths, scalar's type, Python number's type and kind, place among the
; program's inputs or -1, first leaf of the same argument (-1: it may be met there again), output
; that may have its memory or -1
%leaf = type { ptr, i64, i64, ptr, ptr, ptr, i64, i64, i64, i64 }
; descr, axes, lengths, array given away for it, leaf that may be given away
%output = type { ptr, i64, ptr, ptr, ptr }
; bytes, places in use, arenas that wait
%arenas = type { i64, i64, [ARENAS x ptr] }
; 0 program, 1 callback, 2 leaves, 3 their records, 4 outputs, 5 their records, 6 constants, 7 their
; addresses, 8 inputs, 9 arenas, 10 whether the interpreter is let go, 11 runs, 12 arguments,
; 13 their layout, 14 layout of the result, 15 miss, 16 fail, 17 NumPy's array type,
; 18 size of a hash table of the leaves, less 1, 19 object.__new__
%table = type { ptr, ptr, i64, ptr, i64, ptr, i64, ptr, i64, ptr, i64, i64, i64, ptr, ptr, ptr, ptr,
  ptr, i64, ptr }

declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare void @PyErr_Clear()
declare ptr @PyErr_NoMemory()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyMem_RawMalloc(i64)
declare void @PyMem_RawFree(ptr)
declare ptr @PyObject_CallNoArgs(ptr)
declare ptr @PyObject_CallOneArg(ptr, ptr)
declare i32 @PyObject_IsTrue(ptr)
declare i32 @PyObject_RichCompareBool(ptr, ptr, i32)
declare ptr @PyObject_GetAttr(ptr, ptr)
declare i32 @PyObject_GenericSetAttr(ptr, ptr, ptr)
declare double @PyFloat_AsDouble(ptr)
declare i64 @PyLong_AsLongLongAndOverflow(ptr, ptr)
declare double @PyComplex_RealAsDouble(ptr)
declare double @PyComplex_ImagAsDouble(ptr)
declare i64 @PyTuple_Size(ptr)
declare ptr @PyTuple_GetItem(ptr, i64)
declare ptr @PyTuple_New(i64)
declare i32 @PyTuple_SetItem(ptr, i64, ptr)
declare i64 @PyList_Size(ptr)
declare ptr @PyList_GetItem(ptr, i64)
declare ptr @PyList_New(i64)
declare i32 @PyList_SetItem(ptr, i64, ptr)
declare i64 @PyDict_Size(ptr)
declare ptr @PyDict_GetItemWithError(ptr, ptr)
declare ptr @PyDict_New()
declare i32 @PyDict_SetItem(ptr, ptr, ptr)
declare ptr @PyArray_Empty(i32, ptr, ptr, i32)
declare ptr @PyArray_Scalar(ptr, ptr, ptr)
declare void @PyArray_ScalarAsCtype(ptr, ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

; The next word of a layout.
define internal i64 @word(ptr %cursor) alwaysinline nounwind {
  %at = load ptr, ptr %cursor
  %word = load i64, ptr %at
  %next = getelementptr i64, ptr %at, i64 1
  store ptr %next, ptr %cursor
  ret i64 %word
}

define internal ptr @object(ptr %cursor) alwaysinline nounwind {
  %word = call i64 @word(ptr %cursor)
  %object = inttoptr i64 %word to ptr
  ret ptr %object
}

define internal ptr @kind(ptr %object) alwaysinline nounwind {
  %kind = FIELD ptr %array 1 of %object
  ret ptr %kind
}
"""

_CALL = """
; An arena that waits, or a new one; null and an exception if there is no memory.
define internal ptr @arena(ptr %arenas) nounwind {
entry:
  %keep = FIELD i64 %arenas 1 of %arenas
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %step ]
  %more = icmp slt i64 %i, %keep
  br i1 %more, label %step, label %fresh
step:
  %at = getelementptr %arenas, ptr %arenas, i64 0, i32 2, i64 %i
  %waiting = load ptr, ptr %at
  %next = add i64 %i, 1
  %none = icmp eq ptr %waiting, null
  br i1 %none, label %head, label %take
take:
  store ptr null, ptr %at
  ret ptr %waiting
fresh:
  %bytes = load i64, ptr %arenas
  %more.bytes = add i64 %bytes, 64
  %new = call ptr @PyMem_RawMalloc(i64 %more.bytes)
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %bad, label %good
bad:
  %null = call ptr @PyErr_NoMemory()
  ret ptr null
good:
  ret ptr %new
}

; Keep an arena for the next call, or free it if enough are kept.
define internal void @arena.back(ptr %arenas, ptr %arena) nounwind {
entry:
  %keep = FIELD i64 %arenas 1 of %arenas
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %step ]
  %more = icmp slt i64 %i, %keep
  br i1 %more, label %step, label %free
step:
  %at = getelementptr %arenas, ptr %arenas, i64 0, i32 2, i64 %i
  %waiting = load ptr, ptr %at
  %next = add i64 %i, 1
  %none = icmp eq ptr %waiting, null
  br i1 %none, label %put, label %head
put:
  store ptr %arena, ptr %at
  ret void
free:
  call void @PyMem_RawFree(ptr %arena)
  ret void
}

; Free the arenas of a program that nobody calls any more.
define void @clew_release(ptr %arenas) nounwind {
entry:
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %head ]
  %at = getelementptr %arenas, ptr %arenas, i64 0, i32 2, i64 %i
  %waiting = load ptr, ptr %at
  store ptr null, ptr %at
  call void @PyMem_RawFree(ptr %waiting)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, ARENAS
  br i1 %more, label %head, label %done
done:
  ret void
}

; Count references up: another thread may take arguments out of their containers meanwhile.
define internal void @hold(ptr %objects, i64 %count) nounwind {
entry:
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %step ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %step, label %done
step:
  %at = getelementptr ptr, ptr %objects, i64 %i
  %object = load ptr, ptr %at
  call void @Py_IncRef(ptr %object)
  %next = add i64 %i, 1
  br label %head
done:
  ret void
}

; Count references down; a place may be empty.
define internal void @drop(ptr %objects, i64 %count) nounwind {
entry:
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %step ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %step, label %done
step:
  %at = getelementptr ptr, ptr %objects, i64 %i
  %object = load ptr, ptr %at
  call void @Py_DecRef(ptr %object)
  %next = add i64 %i, 1
  br label %head
done:
  ret void
}

; Run the program; others may use the interpreter if it takes long. -1: no memory for its arena.
define internal i32 @run(ptr %table, ptr %objects, ptr %pointers) nounwind {
entry:
  %program = load ptr, ptr %table
  %callback = FIELD ptr %table 1 of %table
  %arenas = FIELD ptr %table 9 of %table
  %bytes = load i64, ptr %arenas
  %without = icmp eq i64 %bytes, 0
  br i1 %without, label %go, label %allocate
allocate:
  %memory = call ptr @arena(ptr %arenas)
  %failed = icmp eq ptr %memory, null
  br i1 %failed, label %bad, label %go
bad:
  ret i32 -1
go:
  %arena = phi ptr [ null, %entry ], [ %memory, %allocate ]
  %number = ptrtoint ptr %arena to i64
  %up = add i64 %number, 63
  %aligned = and i64 %up, -64
  %start = inttoptr i64 %aligned to ptr
  %release = FIELD i64 %table 10 of %table
  %short = icmp eq i64 %release, 0
  br i1 %short, label %quick, label %slow
quick:
  %status.quick = call i32 %program(ptr %pointers, ptr %start, ptr %callback)
  br label %after
slow:
  %count = FIELD i64 %table 2 of %table
  call void @hold(ptr %objects, i64 %count)
  %thread = call ptr @PyEval_SaveThread()
  %status.slow = call i32 %program(ptr %pointers, ptr %start, ptr %callback)
  call void @PyEval_RestoreThread(ptr %thread)
  call void @drop(ptr %objects, i64 %count)
  br label %after
after:
  %status = phi i32 [ %status.quick, %quick ], [ %status.slow, %slow ]
  br i1 %without, label %done, label %back
back:
  call void @arena.back(ptr %arenas, ptr %arena)
  br label %done
done:
  ret i32 %status
}

; Call a program: a function of Python's C API.
define ptr @clew_call(ptr %self, ptr %arguments, i64 %given) nounwind {
entry:
  %holder = call ptr @PyTuple_GetItem(ptr %self, i64 0)
  %table = FIELD ptr %array 2 of %holder
  %wanted = FIELD i64 %table 12 of %table
  %all = icmp eq i64 %given, %wanted
  br i1 %all, label %memory, label %miss
memory:
  %leaves = FIELD i64 %table 2 of %table
  %outputs = FIELD i64 %table 4 of %table
  %fixed = FIELD i64 %table 6 of %table
  %inputs = FIELD i64 %table 8 of %table
  %objects = alloca ptr, i64 %leaves
  %rooms = alloca [16 x i8], i64 %leaves, align 16
  %out.rooms = alloca [16 x i8], i64 %outputs, align 16
  %results = alloca ptr, i64 %outputs
  %before = add i64 %inputs, %outputs
  %total = add i64 %before, %fixed
  %pointers = alloca ptr, i64 %total
  %out.pointers = getelementptr ptr, ptr %pointers, i64 %inputs
  %fixed.pointers = getelementptr ptr, ptr %pointers, i64 %before
  %cursor = alloca ptr
  %read = FIELD ptr %table 13 of %table
  store ptr %read, ptr %cursor
  br label %head
head:
  %i = phi i64 [ 0, %memory ], [ %next, %step ]
  %more = icmp slt i64 %i, %given
  br i1 %more, label %step, label %leafs
step:
  %argument.at = getelementptr ptr, ptr %arguments, i64 %i
  %argument = load ptr, ptr %argument.at
  %understood = call i1 @read(ptr %argument, ptr %cursor, ptr %objects)
  %next = add i64 %i, 1
  br i1 %understood, label %head, label %miss
leafs:
  %taken = call i1 @take.all(ptr %table, ptr %objects, ptr %rooms, ptr %pointers)
  br i1 %taken, label %prepare, label %miss
prepare:
  %fixed.table = FIELD ptr %table 7 of %table
  %fixed.bytes = mul i64 %fixed, 8
  call void @llvm.memcpy.p0.p0.i64(ptr %fixed.pointers, ptr %fixed.table, i64 %fixed.bytes,
    i1 false)
  %result.bytes = mul i64 %outputs, 8
  call void @llvm.memset.p0.i64(ptr %results, i8 0, i64 %result.bytes, i1 false)
  %roomy = call i1 @room.all(ptr %table, ptr %objects, ptr %out.rooms, ptr %results,
    ptr %out.pointers)
  br i1 %roomy, label %running, label %bad
running:
  %status = call i32 @run(ptr %table, ptr %objects, ptr %pointers)
  switch i32 %status, label %fail [ i32 0, label %finish  i32 -1, label %bad ]
finish:
  %counted = call i1 @numbers(ptr %table, ptr %out.rooms, ptr %results)
  br i1 %counted, label %result, label %bad
result:
  call void @give(ptr %table, ptr %objects)
  %layout = FIELD ptr %table 14 of %table
  store ptr %layout, ptr %cursor
  %maker = FIELD ptr %table 19 of %table
  %built = call ptr @build(ptr %cursor, ptr %results, ptr %maker)
  %unbuilt = icmp eq ptr %built, null
  br i1 %unbuilt, label %bad, label %good
good:
  %runs = FIELD i64 %table 11 of %table
  %one.more = add i64 %runs, 1
  store i64 %one.more, ptr %runs.at
  ret ptr %built
fail:
  %raiser = FIELD ptr %table 16 of %table
  %null = call ptr @PyObject_CallNoArgs(ptr %raiser)
  br label %bad
bad:
  call void @drop(ptr %results, i64 %outputs)
  ret ptr null
miss:
  call void @PyErr_Clear()
  %missed = FIELD ptr %table 15 of %table
  call void @Py_IncRef(ptr %missed)
  ret ptr %missed
}
"""

PYTHON = re.findall(r"^declare .*@(Py(?!Array)\w+)", _HEAD, re.MULTILINE)
"""Functions of the interpreter that the code calls."""

_FIELD = re.compile(r"  (%[\w.]+) = FIELD (\w+) (%\w+) (\d+) of (%[\w.]+)")


def entry_text() -> str:
    """Return the module: ``FIELD type struct number of pointer`` is written out."""
    text = _HEAD + READING + RESULT + _CALL
    text = _FIELD.sub(
        r"  \1.at = getelementptr \3, ptr \5, i64 0, i32 \4\n  \1 = load \2, ptr \1.at", text
    )
    for word, number in {**WORDS, "ARENAS": ARENAS}.items():
        text = re.sub(rf"(?<= |\[){word}\b", str(number), text)
    return text
