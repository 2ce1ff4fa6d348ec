"""How a compiled program's results are made, in LLVM's IR: a part of ``entry_text.py``."""

from __future__ import annotations

RESULT = """
; Whether an array may be written in another's place: it owns its memory, and it fits.
define internal i1 @spare(ptr %array, ptr %leaf) nounwind {
entry:
  %flags = FIELD i32 %array 8 of %array
  %own = and i32 %flags, 1028 ; OWNDATA and WRITEABLE
  %owned = icmp eq i32 %own, 1028
  br i1 %owned, label %whole, label %bad
whole:
  %fits = call i1 @fits(ptr %array, ptr %leaf)
  ret i1 %fits
bad:
  ret i1 false
}

; A new array for an output, or the one given away before if it is not an argument now.
define internal ptr @room(ptr %table, ptr %output, ptr %objects) nounwind {
entry:
  %given.at = getelementptr %output, ptr %output, i64 0, i32 3
  %given = load ptr, ptr %given.at
  %none = icmp eq ptr %given, null
  br i1 %none, label %fresh, label %check
check:
  store ptr null, ptr %given.at
  %leaf = FIELD ptr %output 4 of %output
  %count = FIELD i64 %table 2 of %table
  %fits = call i1 @spare(ptr %given, ptr %leaf)
  br i1 %fits, label %head, label %drop
head:
  %i = phi i64 [ 0, %check ], [ %next, %step ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %step, label %reuse
step:
  %other.at = getelementptr ptr, ptr %objects, i64 %i
  %other = load ptr, ptr %other.at
  %same = icmp eq ptr %other, %given
  %next = add i64 %i, 1
  br i1 %same, label %drop, label %head
reuse:
  ret ptr %given
drop:
  call void @Py_DecRef(ptr %given)
  br label %fresh
fresh:
  %descr = load ptr, ptr %output
  call void @Py_IncRef(ptr %descr) ; which PyArray_Empty takes over
  %axes = FIELD i64 %output 1 of %output
  %axes.short = trunc i64 %axes to i32
  %lengths = FIELD ptr %output 2 of %output
  %new = call ptr @PyArray_Empty(i32 %axes.short, ptr %lengths, ptr %descr, i32 0)
  ret ptr %new
}

; Make room for all outputs; numbers have theirs on the stack until they are known.
define internal i1 @room.all(ptr %table, ptr %objects, ptr %rooms, ptr %results, ptr %pointers)
    nounwind {
entry:
  %count = FIELD i64 %table 4 of %table
  %outputs = FIELD ptr %table 5 of %table
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %placed ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %good
one:
  %output = getelementptr %output, ptr %outputs, i64 %i
  %pointer = getelementptr ptr, ptr %pointers, i64 %i
  %next = add i64 %i, 1
  %axes = FIELD i64 %output 1 of %output
  %single = icmp eq i64 %axes, 0
  br i1 %single, label %number, label %array
number:
  %room = getelementptr [16 x i8], ptr %rooms, i64 %i
  store ptr %room, ptr %pointer
  br label %placed
array:
  %made = call ptr @room(ptr %table, ptr %output, ptr %objects)
  %failed = icmp eq ptr %made, null
  br i1 %failed, label %bad, label %keep
keep:
  %result.at = getelementptr ptr, ptr %results, i64 %i
  store ptr %made, ptr %result.at
  %data = FIELD ptr %array 2 of %made
  store ptr %data, ptr %pointer
  br label %placed
placed:
  br label %head
good:
  ret i1 true
bad:
  ret i1 false
}

; Keep what was given away for the outputs of the next call.
define internal void @give(ptr %table, ptr %objects) nounwind {
entry:
  %count = FIELD i64 %table 2 of %table
  %leaves = FIELD ptr %table 3 of %table
  %outputs = FIELD ptr %table 5 of %table
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %step ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %leaf = getelementptr %leaf, ptr %leaves, i64 %i
  %for = FIELD i64 %leaf 9 of %leaf
  %given = icmp sge i64 %for, 0
  br i1 %given, label %look, label %step
look:
  %output = getelementptr %output, ptr %outputs, i64 %for
  %place = getelementptr %output, ptr %output, i64 0, i32 3
  %held = load ptr, ptr %place
  %free = icmp eq ptr %held, null
  %object.at = getelementptr ptr, ptr %objects, i64 %i
  %object = load ptr, ptr %object.at
  %owned = call i1 @spare(ptr %object, ptr %leaf)
  %both = and i1 %free, %owned
  br i1 %both, label %keep, label %step
keep:
  call void @Py_IncRef(ptr %object)
  store ptr %object, ptr %place
  br label %step
step:
  %next = add i64 %i, 1
  br label %head
done:
  ret void
}

; Make objects of the outputs that are numbers.
define internal i1 @numbers(ptr %table, ptr %rooms, ptr %results) nounwind {
entry:
  %count = FIELD i64 %table 4 of %table
  %outputs = FIELD ptr %table 5 of %table
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %step ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %good
one:
  %output = getelementptr %output, ptr %outputs, i64 %i
  %axes = FIELD i64 %output 1 of %output
  %single = icmp eq i64 %axes, 0
  br i1 %single, label %make, label %step
make:
  %room = getelementptr [16 x i8], ptr %rooms, i64 %i
  %descr = load ptr, ptr %output
  %made = call ptr @PyArray_Scalar(ptr %room, ptr %descr, ptr null)
  %result.at = getelementptr ptr, ptr %results, i64 %i
  store ptr %made, ptr %result.at
  %failed = icmp eq ptr %made, null
  br i1 %failed, label %bad, label %step
step:
  %next = add i64 %i, 1
  br label %head
good:
  ret i1 true
bad:
  ret i1 false
}

; Put the result together; its references to outputs are taken out of %results.
define internal ptr @build(ptr %cursor, ptr %results, ptr %maker) nounwind {
entry:
  %what = call i64 @word(ptr %cursor)
  switch i64 %what, label %container [ i64 LEAF, label %leaf  i64 ONLY, label %only ]
leaf:
  %number = call i64 @word(ptr %cursor)
  %again = call i64 @word(ptr %cursor)
  %place = getelementptr ptr, ptr %results, i64 %number
  %result = load ptr, ptr %place
  store ptr null, ptr %place
  ret ptr %result
only:
  %same = call ptr @object(ptr %cursor)
  call void @Py_IncRef(ptr %same)
  ret ptr %same
container:
  %type = call ptr @object(ptr %cursor)
  %count = call i64 @word(ptr %cursor)
  switch i64 %what, label %instance [
    i64 TUPLE, label %tuple
    i64 LIST, label %list
    i64 DICT, label %dict
  ]
tuple:
  %new.tuple = call ptr @PyTuple_New(i64 %count)
  br label %made
list:
  %new.list = call ptr @PyList_New(i64 %count)
  br label %made
dict:
  %new.dict = call ptr @PyDict_New()
  br label %made
instance:
  %new.instance = call ptr @PyObject_CallOneArg(ptr %maker, ptr %type)
  br label %made
made:
  %new = phi ptr [ %new.tuple, %tuple ], [ %new.list, %list ], [ %new.dict, %dict ],
    [ %new.instance, %instance ]
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %none, label %head
head:
  %i = phi i64 [ 0, %made ], [ %next, %step ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  switch i64 %what, label %keyed [ i64 TUPLE, label %plain  i64 LIST, label %plain ]
keyed:
  %key = call ptr @object(ptr %cursor)
  %value = call ptr @build(ptr %cursor, ptr %results, ptr %maker)
  %no.value = icmp eq ptr %value, null
  br i1 %no.value, label %bad, label %set
set:
  %is.dict = icmp eq i64 %what, DICT
  br i1 %is.dict, label %set.item, label %set.field
set.item:
  %item.status = call i32 @PyDict_SetItem(ptr %new, ptr %key, ptr %value)
  br label %was.set
set.field:
  %field.status = call i32 @PyObject_GenericSetAttr(ptr %new, ptr %key, ptr %value)
  br label %was.set
was.set:
  %status = phi i32 [ %item.status, %set.item ], [ %field.status, %set.field ]
  call void @Py_DecRef(ptr %value)
  %refused = icmp ne i32 %status, 0
  br i1 %refused, label %bad, label %step
plain:
  %item = call ptr @build(ptr %cursor, ptr %results, ptr %maker)
  %no.item = icmp eq ptr %item, null
  br i1 %no.item, label %bad, label %put
put:
  %is.tuple = icmp eq i64 %what, TUPLE
  br i1 %is.tuple, label %put.tuple, label %put.list
put.tuple:
  %in.tuple = call i32 @PyTuple_SetItem(ptr %new, i64 %i, ptr %item)
  br label %step
put.list:
  %in.list = call i32 @PyList_SetItem(ptr %new, i64 %i, ptr %item)
  br label %step
step:
  %next = add i64 %i, 1
  br label %head
done:
  ret ptr %new
bad:
  call void @Py_DecRef(ptr %new)
  ret ptr null
none:
  ret ptr null
}
"""
