"""The pool of threads, in LLVM's IR.

A job is published in one 64-bit word, the *cursor*: how many chunks are left, and below which
number workers may take some. A chunk is taken by lowering the cursor with a compare-and-swap; only
then are the job's other fields read, and they stay as they are until every taken chunk is done.
So a worker that wakes late, even during another job, finds nothing or takes a chunk of the job
there is; the caller never waits for a worker that has not taken any.

A worker without work watches the cursor for some microseconds and then sleeps on a word of its own
(Linux: a futex; elsewhere: a condition variable). To sleep it writes 1 there and looks at the
cursor once more; to wake it, the caller writes the cursor and then looks for the 1 (Dekker's order,
all sequentially consistent), so no work is missed. The caller waits for others' chunks alike.

A worker without work on the caller's processor sleeps at once: watching, it would keep from running
what it waits for. Linux likes to wake it just there, where it may wait for milliseconds; so before
it is woken it is forbidden the caller's processor, anew whenever the caller has moved.

Workers are detached, with every signal blocked but those of faults, so that Python's handlers run
in the main thread. They never take the interpreter's lock and end with the process.
"""

from __future__ import annotations

import re
import signal
import sys
import time

from clew.evaluate.native import threads
from clew.evaluate.native.pool_system import ALONE, CONDITION, FUTEX

ENTRY_POINTS = (
    "clew_parallel",
    "clew_parallel_within",
    "clew_pool_set",
    "clew_pool_started",
    "clew_pool_forget",
)

# How often a thread looks for work before it reads the clock.
_LOOKS = 64

_POOL = """
; A slot for each thread: the word it sleeps on at 0, a mutex at 64, a condition variable at 128,
; its number in the system at 192, and one more than the processor that it avoids at 196.
@slots = internal global [MOST x [256 x i8]] zeroinitializer, align 256
@cursor = internal global { i64, [120 x i8] } zeroinitializer, align 128
@pending = internal global { i64, [120 x i8] } zeroinitializer, align 128
@function = internal global ptr null, align 128
@context = internal global ptr null
@chunks = internal global i64 0
@busy = internal global i32 0, align 128
@wanted = internal global i64 1
@watch = internal global i64 0
@caller = internal global i32 -1
@started = internal global i64 1
@startable = internal global i64 MOST

declare i64 @llvm.umin.i64(i64, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

define internal ptr @slot(i64 %number) alwaysinline nounwind {
  %place = getelementptr inbounds [256 x i8], ptr @slots, i64 %number
  ret ptr %place
}

; Nanoseconds on the monotonic clock.
define internal i64 @now() nounwind {
  %time = alloca { i64, i64 }
  %a = call i32 @clock_gettime(i32 CLOCK, ptr %time)
  %seconds = load i64, ptr %time
  %place = getelementptr inbounds { i64, i64 }, ptr %time, i64 0, i32 1
  %part = load i64, ptr %place
  %whole = mul i64 %seconds, 1000000000
  %sum = add i64 %whole, %part
  ret i64 %sum
}

; Whether a worker may take a chunk of the job that the cursor describes.
define internal i1 @open(i64 %cursor, i64 %worker) alwaysinline nounwind {
  %left = and i64 %cursor, 4294967295
  %limit = lshr i64 %cursor, 32
  %some = icmp ne i64 %left, 0
  %allowed = icmp ult i64 %worker, %limit
  %both = and i1 %some, %allowed
  ret i1 %both
}

; Take chunks and run them until there are no more; then say how many are done.
define internal i64 @work(i64 %worker) nounwind {
entry:
  br label %look
look:
  %done = phi i64 [ 0, %entry ], [ %more, %run ]
  %first = load atomic i64, ptr @cursor monotonic, align 8
  br label %try
try:
  %seen = phi i64 [ %first, %look ], [ %found, %take ]
  %may = call i1 @open(i64 %seen, i64 %worker)
  br i1 %may, label %take, label %out
take:
  %lower = sub i64 %seen, 1
  %swap = cmpxchg ptr @cursor, i64 %seen, i64 %lower acquire monotonic
  %found = extractvalue { i64, i1 } %swap, 0
  %taken = extractvalue { i64, i1 } %swap, 1
  br i1 %taken, label %run, label %try
run:
  %function = load ptr, ptr @function
  %context = load ptr, ptr @context
  %chunks = load i64, ptr @chunks
  %left = and i64 %seen, 4294967295
  %chunk = sub i64 %chunks, %left
  call void %function(ptr %context, i64 %chunk, i64 %worker)
  %more = add i64 %done, 1
  br label %look
out:
  %any = icmp ne i64 %done, 0
  br i1 %any, label %tell, label %end
tell:
  %before = atomicrmw sub ptr @pending, i64 %done seq_cst
  %last = icmp eq i64 %before, %done
  br i1 %last, label %wake, label %end
wake:
  call void @wake(i64 0)
  br label %end
end:
  ret i64 %done
}

define internal ptr @worker(ptr %argument) nounwind {
entry:
  %number = ptrtoint ptr %argument to i64
  %slot = call ptr @slot(i64 %number)
  call void @arrive(ptr %slot)
  br label %busy
busy:
  %done = call i64 @work(i64 %number)
  %watch = load atomic i64, ptr @watch monotonic, align 8
  %watches = icmp ne i64 %watch, 0
  br i1 %watches, label %begin, label %sleepy
begin:
  %began = call i64 @now()
  br label %round
round:
  ; On the caller's processor one would keep from running what one waits for.
  %here = call i32 @processor()
  %caller = load atomic i32, ptr @caller monotonic, align 4
  %same = icmp eq i32 %here, %caller
  %known = icmp sge i32 %here, 0
  %shared = and i1 %same, %known
  br i1 %shared, label %sleepy, label %look
look:
  %i = phi i64 [ 0, %round ], [ %next, %pause ]
  %cursor = load atomic i64, ptr @cursor monotonic, align 8
  %may = call i1 @open(i64 %cursor, i64 %number)
  br i1 %may, label %busy, label %count
count:
  %next = add i64 %i, 1
  %again = icmp ult i64 %i, LOOKS
  br i1 %again, label %pause, label %time
pause:
  PAUSE
  br label %look
time:
  %now = call i64 @now()
  %spent = sub i64 %now, %began
  %patient = icmp ult i64 %spent, %watch
  br i1 %patient, label %round, label %sleepy
sleepy:
  store atomic i32 1, ptr %slot seq_cst, align 4
  %recheck = load atomic i64, ptr @cursor seq_cst, align 8
  %missed = call i1 @open(i64 %recheck, i64 %number)
  br i1 %missed, label %rouse, label %sleep
rouse:
  store atomic i32 0, ptr %slot seq_cst, align 4
  br label %busy
sleep:
  call void @sleep(i64 %number)
  br label %busy
}

; Wake a thread if it sleeps, or is about to.
define internal void @wake(i64 %number) nounwind {
  %slot = call ptr @slot(i64 %number)
  %word = load atomic i32, ptr %slot seq_cst, align 4
  %asleep = icmp eq i32 %word, 1
  br i1 %asleep, label %claim, label %end
claim:
  %before = atomicrmw xchg ptr %slot, i32 0 seq_cst
  %mine = icmp eq i32 %before, 1
  br i1 %mine, label %call, label %end
call:
  call void @avoid(i64 %number)
  call void @rouse(ptr %slot)
  br label %end
end:
  ret void
}

; Start threads until there are %limit; return how many of these there are. The system may refuse.
define internal i64 @start(i64 %limit) nounwind {
entry:
  %have = load i64, ptr @started
  %short = icmp ult i64 %have, %limit
  br i1 %short, label %prepare, label %out
prepare:
  %attributes = alloca [256 x i8], align 16
  %signals = alloca [256 x i8], align 16
  %before = alloca [256 x i8], align 16
  %thread = alloca i64
  call void @survey()
  %a = call i32 @pthread_attr_init(ptr %attributes)
  %b = call i32 @pthread_attr_setstacksize(ptr %attributes, i64 4194304)
  %c = call i32 @pthread_attr_setdetachstate(ptr %attributes, i32 DETACHED)
  %d = call i32 @sigfillset(ptr %signals)
  %e = call i32 @sigdelset(ptr %signals, i32 SIGSEGV)
  %f = call i32 @sigdelset(ptr %signals, i32 SIGBUS)
  %g = call i32 @sigdelset(ptr %signals, i32 SIGFPE)
  %h = call i32 @sigdelset(ptr %signals, i32 SIGILL)
  %i = call i32 @pthread_sigmask(i32 SETMASK, ptr %signals, ptr %before)
  br label %next
next:
  %number = phi i64 [ %have, %prepare ], [ %following, %made ]
  %slot = call ptr @slot(i64 %number)
  call void @ready(ptr %slot)
  %argument = inttoptr i64 %number to ptr
  %status = call i32 @pthread_create(ptr %thread, ptr %attributes, ptr @worker, ptr %argument)
  %refused = icmp ne i32 %status, 0
  br i1 %refused, label %give_up, label %made
made:
  %following = add i64 %number, 1
  %enough = icmp uge i64 %following, %limit
  br i1 %enough, label %finish, label %next
give_up:
  store i64 %number, ptr @startable
  br label %finish
finish:
  %count = phi i64 [ %number, %give_up ], [ %following, %made ]
  store i64 %count, ptr @started
  %j = call i32 @pthread_sigmask(i32 SETMASK, ptr %before, ptr null)
  %k = call i32 @pthread_attr_destroy(ptr %attributes)
  br label %out
out:
  %started = phi i64 [ %have, %entry ], [ %count, %finish ]
  %usable = call i64 @llvm.umin.i64(i64 %started, i64 %limit)
  ret i64 %usable
}

define void @clew_parallel(ptr %function, ptr %context, i64 %chunks) nounwind {
  call void @clew_parallel_within(ptr %function, ptr %context, i64 %chunks, i64 MOST)
  ret void
}

; The same, on workers below a number only: as many as the caller has scratch memory for.
define void @clew_parallel_within(ptr %function, ptr %context, i64 %chunks, i64 %below) nounwind {
entry:
  %wanted = load atomic i64, ptr @wanted monotonic, align 8
  %startable = load atomic i64, ptr @startable monotonic, align 8
  %m = call i64 @llvm.umin.i64(i64 %wanted, i64 %below)
  %n = call i64 @llvm.umin.i64(i64 %m, i64 %startable)
  %most = call i64 @llvm.umin.i64(i64 %n, i64 %chunks)
  %useful = icmp ugt i64 %most, 1
  ; The cursor has 32 bits for the number of chunks.
  %small = icmp ult i64 %chunks, 4294967296
  %worth = and i1 %useful, %small
  br i1 %worth, label %enter, label %alone
enter:
  %lock = cmpxchg ptr @busy, i32 0, i32 1 acquire monotonic
  %free = extractvalue { i32, i1 } %lock, 1
  br i1 %free, label %publish, label %alone
publish:
  %limit = call i64 @start(i64 %most)
  %here = call i32 @processor()
  store atomic i32 %here, ptr @caller monotonic, align 4
  store ptr %function, ptr @function
  store ptr %context, ptr @context
  store i64 %chunks, ptr @chunks
  store atomic i64 %chunks, ptr @pending monotonic, align 8
  %high = shl i64 %limit, 32
  %job = or i64 %high, %chunks
  store atomic i64 %job, ptr @cursor seq_cst, align 8
  br label %waking
waking:
  %worker = phi i64 [ 1, %publish ], [ %following, %one ]
  %more = icmp ult i64 %worker, %limit
  br i1 %more, label %one, label %join
one:
  call void @wake(i64 %worker)
  %following = add i64 %worker, 1
  br label %waking
join:
  %done = call i64 @work(i64 0)
  call void @finish()
  store atomic i32 0, ptr @busy release, align 4
  br label %end
alone:
  %some = icmp sgt i64 %chunks, 0
  br i1 %some, label %serial, label %end
serial:
  %chunk = phi i64 [ 0, %alone ], [ %then, %serial ]
  call void %function(ptr %context, i64 %chunk, i64 0)
  %then = add i64 %chunk, 1
  %again = icmp ult i64 %then, %chunks
  br i1 %again, label %serial, label %end
end:
  ret void
}

; Wait until the chunks that workers took are done.
define internal void @finish() nounwind {
entry:
  %slot = call ptr @slot(i64 0)
  %short = load atomic i64, ptr @watch monotonic, align 8
  %watches = icmp ne i64 %short, 0
  br i1 %watches, label %begin, label %sleepy
begin:
  ; Longer than a worker does: the chunks are under way.
  %watch = mul i64 %short, 2
  %began = call i64 @now()
  br label %round
round:
  br label %look
look:
  %i = phi i64 [ 0, %round ], [ %next, %pause ]
  %left = load atomic i64, ptr @pending acquire, align 8
  %done = icmp eq i64 %left, 0
  br i1 %done, label %end, label %count
count:
  %next = add i64 %i, 1
  %again = icmp ult i64 %i, LOOKS
  br i1 %again, label %pause, label %time
pause:
  PAUSE
  br label %look
time:
  %late = call i64 @now()
  %spent = sub i64 %late, %began
  %patient = icmp ult i64 %spent, %watch
  br i1 %patient, label %round, label %sleepy
sleepy:
  store atomic i32 1, ptr %slot seq_cst, align 4
  %recheck = load atomic i64, ptr @pending seq_cst, align 8
  %over = icmp eq i64 %recheck, 0
  br i1 %over, label %rouse, label %sleep
rouse:
  store atomic i32 0, ptr %slot seq_cst, align 4
  br label %end
sleep:
  call void @sleep(i64 0)
  %now = load atomic i64, ptr @pending acquire, align 8
  %finished = icmp eq i64 %now, 0
  br i1 %finished, label %end, label %sleepy
end:
  ret void
}

; How many threads to use, and for how many nanoseconds one without work watches before it sleeps.
define void @clew_pool_set(i64 %threads, i64 %watch) nounwind {
  store atomic i64 %threads, ptr @wanted monotonic, align 8
  store atomic i64 %watch, ptr @watch monotonic, align 8
  ret void
}

define i64 @clew_pool_started() nounwind {
  %started = load atomic i64, ptr @started monotonic, align 8
  ret i64 %started
}

; In a forked child only the calling thread is left, whatever the others were doing.
define void @clew_pool_forget() nounwind {
  call void @llvm.memset.p0.i64(ptr align 256 @slots, i8 0, i64 SLOT_BYTES, i1 false)
  store i64 0, ptr @cursor
  store i64 0, ptr @pending
  store i64 1, ptr @started
  store i64 MOST, ptr @startable
  %slot = call ptr @slot(i64 0)
  call void @ready(ptr %slot)
  store atomic i32 0, ptr @busy release, align 4
  ret void
}

declare i32 @pthread_attr_init(ptr)
declare i32 @pthread_attr_setstacksize(ptr, i64)
declare i32 @pthread_attr_setdetachstate(ptr, i32)
declare i32 @pthread_attr_destroy(ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @clock_gettime(i32, ptr)
declare i32 @sigfillset(ptr)
declare i32 @sigdelset(ptr, i32)
"""

# What makes room for another thread of the same core, and its declaration.
_PAUSES = {
    "x86_64": ("call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()"),
    "aarch64": ("call void @llvm.aarch64.hint(i32 1)", "declare void @llvm.aarch64.hint(i32)"),
}
_PAUSES["arm64"] = _PAUSES["aarch64"]
_NO_PAUSE = ('fence syncscope("singlethread") seq_cst', "")

# Numbers of the system calls futex and gettid.
_FUTEX_CALLS = {"x86_64": 202, "aarch64": 98}
_THREAD_CALLS = {"x86_64": 186, "aarch64": 178}


def pool_text(triple: str, portable: bool = False) -> str:
    """Return the pool's module for a target; ``portable`` asks for condition variables."""
    if sys.platform == "win32":
        return ALONE
    machine = triple.split("-")[0]
    pause, declaration = _PAUSES.get(machine, _NO_PAUSE)
    futex = _FUTEX_CALLS.get(machine) if sys.platform == "linux" and not portable else None
    numbers = {
        "PAUSE": pause,
        "FUTEX": futex,
        "GETTID": _THREAD_CALLS.get(machine),
        "SLOT_BYTES": 256 * threads.MOST,
        "MOST": threads.MOST,
        "LOOKS": _LOOKS,
        "CLOCK": int(time.CLOCK_MONOTONIC),
        "DETACHED": 2 if sys.platform == "darwin" else 1,
        "SETMASK": int(signal.SIG_SETMASK),
        **{name: int(getattr(signal, name)) for name in ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL")},
    }
    text = _POOL + (CONDITION if futex is None else FUTEX)
    words = re.compile(rf"\b({'|'.join(numbers)})\b")
    return words.sub(lambda found: str(numbers[found[1]]), text) + declaration + "\n"
