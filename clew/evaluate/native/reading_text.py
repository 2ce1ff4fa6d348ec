"""How a compiled program's arguments are read, in LLVM's IR: a part of ``entry_text.py``."""

from __future__ import annotations

READING = """
; Find the leaves of an argument.
define internal i1 @read(ptr %object, ptr %cursor, ptr %objects) nounwind {
entry:
  %what = call i64 @word(ptr %cursor)
  switch i64 %what, label %container [
    i64 LEAF, label %leaf
    i64 ONLY, label %only
    i64 EQUAL, label %equal
  ]
leaf:
  %number = call i64 @word(ptr %cursor)
  %again = call i64 @word(ptr %cursor)
  %place = getelementptr ptr, ptr %objects, i64 %number
  %before = load ptr, ptr %place
  %first = icmp eq i64 %again, 0
  %same = icmp eq ptr %before, %object
  %agreed = or i1 %first, %same
  store ptr %object, ptr %place
  ret i1 %agreed
only:
  %wanted = call ptr @object(ptr %cursor)
  %it = icmp eq ptr %object, %wanted
  ret i1 %it
equal:
  %model = call ptr @object(ptr %cursor)
  %model.kind = call ptr @kind(ptr %model)
  %object.kind = call ptr @kind(ptr %object)
  %alike = icmp eq ptr %model.kind, %object.kind
  br i1 %alike, label %compare, label %bad
compare:
  %compared = call i32 @PyObject_RichCompareBool(ptr %object, ptr %model, i32 2) ; Py_EQ
  %is.equal = icmp eq i32 %compared, 1
  ret i1 %is.equal
container:
  %type = call ptr @object(ptr %cursor)
  %count = call i64 @word(ptr %cursor)
  %found = call ptr @kind(ptr %object)
  %fits = icmp eq ptr %found, %type
  br i1 %fits, label %measure, label %bad
measure:
  switch i64 %what, label %measured [
    i64 TUPLE, label %tuple
    i64 LIST, label %list
    i64 DICT, label %dict
  ]
tuple:
  %tuples = call i64 @PyTuple_Size(ptr %object)
  br label %measured
list:
  %lists = call i64 @PyList_Size(ptr %object)
  br label %measured
dict:
  %dicts = call i64 @PyDict_Size(ptr %object)
  br label %measured
measured:
  %size = phi i64 [ %count, %measure ], [ %tuples, %tuple ], [ %lists, %list ], [ %dicts, %dict ]
  %long = icmp eq i64 %size, %count
  br i1 %long, label %head, label %bad
head:
  %i = phi i64 [ 0, %measured ], [ %next, %step ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %pick, label %good
pick:
  switch i64 %what, label %field [
    i64 TUPLE, label %tuple.item
    i64 LIST, label %list.item
    i64 DICT, label %dict.item
  ]
tuple.item:
  %in.tuple = call ptr @PyTuple_GetItem(ptr %object, i64 %i)
  br label %picked
list.item:
  %in.list = call ptr @PyList_GetItem(ptr %object, i64 %i)
  br label %picked
dict.item:
  %key = call ptr @object(ptr %cursor)
  %in.dict = call ptr @PyDict_GetItemWithError(ptr %object, ptr %key)
  br label %picked
field:
  %name = call ptr @object(ptr %cursor)
  %stored = call ptr @PyObject_GetAttr(ptr %object, ptr %name)
  call void @Py_DecRef(ptr %stored) ; the object still has it
  br label %picked
picked:
  %item = phi ptr [ %in.tuple, %tuple.item ], [ %in.list, %list.item ], [ %in.dict, %dict.item ],
    [ %stored, %field ]
  %missing = icmp eq ptr %item, null
  br i1 %missing, label %bad, label %step
step:
  %read = call i1 @read(ptr %item, ptr %cursor, ptr %objects)
  %next = add i64 %i, 1
  br i1 %read, label %head, label %bad
good:
  ret i1 true
bad:
  ret i1 false
}

; Whether an array has the type of a leaf and lies in one piece, in row-major order.
define internal i1 @fits(ptr %array, ptr %leaf) nounwind {
entry:
  %flags = FIELD i32 %array 8 of %array
  %layout = and i32 %flags, 257 ; C_CONTIGUOUS and ALIGNED
  %plain = icmp eq i32 %layout, 257
  %axes.short = FIELD i32 %array 3 of %array
  %axes = sext i32 %axes.short to i64
  %wanted = FIELD i64 %leaf 2 of %leaf
  %deep = icmp eq i64 %axes, %wanted
  %both = and i1 %plain, %deep
  br i1 %both, label %types, label %bad
types:
  %descr = FIELD ptr %array 7 of %array
  %own = load ptr, ptr %leaf
  %same = icmp eq ptr %descr, %own
  br i1 %same, label %shape, label %equal
equal: ; copies of a dtype come from pickles
  %number = FIELD i32 %descr 7 of %descr
  %number.long = sext i32 %number to i64
  %own.number = FIELD i64 %leaf 1 of %leaf
  %alike = icmp eq i64 %number.long, %own.number
  %order = FIELD i8 %descr 5 of %descr
  %native = icmp eq i8 %order, 61 ; '='
  %none = icmp eq i8 %order, 124 ; '|'
  %readable = or i1 %native, %none
  %equal.both = and i1 %alike, %readable
  br i1 %equal.both, label %shape, label %bad
shape:
  %lengths = FIELD ptr %array 4 of %array
  %own.lengths = FIELD ptr %leaf 3 of %leaf
  br label %head
head:
  %i = phi i64 [ 0, %shape ], [ %next, %step ]
  %more = icmp slt i64 %i, %axes
  br i1 %more, label %step, label %good
step:
  %length.at = getelementptr i64, ptr %lengths, i64 %i
  %length = load i64, ptr %length.at
  %own.length.at = getelementptr i64, ptr %own.lengths, i64 %i
  %own.length = load i64, ptr %own.length.at
  %agrees = icmp eq i64 %length, %own.length
  %next = add i64 %i, 1
  br i1 %agrees, label %head, label %bad
good:
  ret i1 true
bad:
  ret i1 false
}

; Store where the data of a leaf is; a number's is put into %room.
define internal i1 @take(ptr %object, ptr %leaf, ptr %arrays, ptr %room, ptr %into) nounwind {
entry:
  %overflow = alloca i32
  %kind = call ptr @kind(ptr %object)
  %is.array = icmp eq ptr %kind, %arrays
  br i1 %is.array, label %array, label %number
array:
  %fits = call i1 @fits(ptr %object, ptr %leaf)
  %data = FIELD ptr %array 2 of %object
  store ptr %data, ptr %into
  ret i1 %fits
number:
  store ptr %room, ptr %into
  %axes = FIELD i64 %leaf 2 of %leaf
  %single = icmp eq i64 %axes, 0
  br i1 %single, label %python, label %bad
python:
  %type = FIELD ptr %leaf 5 of %leaf
  %is.python = icmp eq ptr %kind, %type
  br i1 %is.python, label %which, label %numpy
numpy:
  %scalar = FIELD ptr %leaf 4 of %leaf
  %is.scalar = icmp eq ptr %kind, %scalar
  br i1 %is.scalar, label %copy, label %bad
copy:
  call void @PyArray_ScalarAsCtype(ptr %object, ptr %room)
  ret i1 true
which:
  %what = FIELD i64 %leaf 6 of %leaf
  switch i64 %what, label %float [
    i64 1, label %int
    i64 2, label %bool
    i64 3, label %complex
  ]
float:
  %double = call double @PyFloat_AsDouble(ptr %object)
  store double %double, ptr %room
  ret i1 true
int:
  %word = call i64 @PyLong_AsLongLongAndOverflow(ptr %object, ptr %overflow)
  store i64 %word, ptr %room
  %over = load i32, ptr %overflow
  %whole = icmp eq i32 %over, 0
  ret i1 %whole
bool:
  %truth = call i32 @PyObject_IsTrue(ptr %object)
  %byte = trunc i32 %truth to i8
  store i8 %byte, ptr %room
  ret i1 true
complex:
  %real = call double @PyComplex_RealAsDouble(ptr %object)
  %imag = call double @PyComplex_ImagAsDouble(ptr %object)
  store double %real, ptr %room
  %second = getelementptr double, ptr %room, i64 1
  store double %imag, ptr %second
  ret i1 true
bad:
  ret i1 false
}

; Whether an array is met at no earlier place of its argument: sharing is part of the structure.
; %seen is a hash table of the leaves met, by address, their numbers counted from 1.
define internal i1 @alone(ptr %objects, ptr %leaves, i64 %number, ptr %seen, i64 %mask) nounwind {
entry:
  %leaf = getelementptr %leaf, ptr %leaves, i64 %number
  %first = FIELD i64 %leaf 8 of %leaf
  %free = icmp slt i64 %first, 0
  br i1 %free, label %good, label %search
search:
  %own.at = getelementptr ptr, ptr %objects, i64 %number
  %own = load ptr, ptr %own.at
  %address = ptrtoint ptr %own to i64
  %mixed = mul i64 %address, -7046029254386353131 ; 2^64 by the golden ratio
  %start = lshr i64 %mixed, 40
  br label %head
head:
  %probe = phi i64 [ %start, %search ], [ %next, %step ]
  %at = and i64 %probe, %mask
  %entry.at = getelementptr i64, ptr %seen, i64 %at
  %met = load i64, ptr %entry.at
  %empty = icmp eq i64 %met, 0
  br i1 %empty, label %new, label %step
step:
  %next = add i64 %probe, 1
  %other = sub i64 %met, 1
  %other.at = getelementptr ptr, ptr %objects, i64 %other
  %object = load ptr, ptr %other.at
  %same = icmp eq ptr %object, %own
  %other.leaf = getelementptr %leaf, ptr %leaves, i64 %other
  %other.first = FIELD i64 %leaf 8 of %other.leaf
  %together = icmp eq i64 %other.first, %first
  %shared = and i1 %same, %together
  br i1 %shared, label %bad, label %head
new:
  %counted = add i64 %number, 1
  store i64 %counted, ptr %entry.at
  ret i1 true
good:
  ret i1 true
bad:
  ret i1 false
}

; Take the data of all leaves.
define internal i1 @take.all(ptr %table, ptr %objects, ptr %rooms, ptr %pointers) nounwind {
entry:
  %unread = alloca ptr
  %count = FIELD i64 %table 2 of %table
  %leaves = FIELD ptr %table 3 of %table
  %arrays = FIELD ptr %table 17 of %table
  %mask = FIELD i64 %table 18 of %table
  %size = add i64 %mask, 1
  %seen = alloca i64, i64 %size
  %bytes = mul i64 %size, 8
  call void @llvm.memset.p0.i64(ptr %seen, i8 0, i64 %bytes, i1 false)
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %step ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %good
one:
  %object.at = getelementptr ptr, ptr %objects, i64 %i
  %object = load ptr, ptr %object.at
  %leaf = getelementptr %leaf, ptr %leaves, i64 %i
  %room = getelementptr [16 x i8], ptr %rooms, i64 %i
  %place = FIELD i64 %leaf 7 of %leaf
  %pointer = getelementptr ptr, ptr %pointers, i64 %place
  %read = icmp sge i64 %place, 0
  %into = select i1 %read, ptr %pointer, ptr %unread
  %taken = call i1 @take(ptr %object, ptr %leaf, ptr %arrays, ptr %room, ptr %into)
  br i1 %taken, label %step, label %bad
step:
  %alone = call i1 @alone(ptr %objects, ptr %leaves, i64 %i, ptr %seen, i64 %mask)
  %next = add i64 %i, 1
  br i1 %alone, label %head, label %bad
good:
  ret i1 true
bad:
  ret i1 false
}
"""
