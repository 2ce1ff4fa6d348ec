"""What the pool of threads asks of the system, in LLVM's IR: to sleep and to be woken.

``FUTEX`` is for Linux, ``CONDITION`` for other POSIX systems; where threads cannot be had,
``ALONE`` is the whole pool.
"""

from __future__ import annotations

# futex(2): FUTEX_WAIT_PRIVATE is 128, FUTEX_WAKE_PRIVATE 129.
FUTEX = """
declare i64 @syscall(i64, ...)
declare i32 @sched_getcpu()

define internal i32 @processor() nounwind {
  %number = call i32 @sched_getcpu()
  ret i32 %number
}

define internal void @sleep(i64 %number) nounwind {
entry:
  %slot = call ptr @slot(i64 %number)
  br label %look
look:
  %word = load atomic i32, ptr %slot acquire, align 4
  %asleep = icmp eq i32 %word, 1
  br i1 %asleep, label %wait, label %end
wait:
  %r = call i64 (i64, ...) @syscall(i64 FUTEX, ptr %slot, i64 128, i64 1, ptr null)
  br label %look
end:
  ret void
}

define internal void @rouse(ptr %slot) nounwind {
  %r = call i64 (i64, ...) @syscall(i64 FUTEX, ptr %slot, i64 129, i64 1)
  ret void
}

define internal void @ready(ptr %slot) nounwind {
  ret void
}

@allowed = internal global [16 x i64] zeroinitializer, align 64

declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_setaffinity(i32, i64, ptr)
declare i64 @llvm.vector.reduce.or.v16i64(<16 x i64>)

; Which processors the process may run on.
define internal void @survey() nounwind {
  %r = call i32 @sched_getaffinity(i32 0, i64 128, ptr @allowed)
  ret void
}

define internal void @arrive(ptr %slot) nounwind {
  %number = call i64 (i64, ...) @syscall(i64 GETTID)
  %short = trunc i64 %number to i32
  %place = getelementptr inbounds i8, ptr %slot, i64 192
  store atomic i32 %short, ptr %place release, align 4
  ret void
}

; Keep a worker that is about to be woken away from the caller's processor.
define internal void @avoid(i64 %number) nounwind {
entry:
  %slot = call ptr @slot(i64 %number)
  %place = getelementptr inbounds i8, ptr %slot, i64 192
  %thread = load atomic i32, ptr %place acquire, align 4
  %memory = getelementptr inbounds i8, ptr %slot, i64 196
  %old = load atomic i32, ptr %memory monotonic, align 4
  %here = load atomic i32, ptr @caller monotonic, align 4
  %new = add i32 %here, 1
  %there = icmp sgt i32 %thread, 0
  %known = icmp ult i32 %here, 1024
  %other = icmp ne i32 %old, %new
  %a = and i1 %there, %known
  %due = and i1 %a, %other
  br i1 %due, label %choose, label %end
choose:
  %mask = alloca [16 x i64], align 64
  %every = load <16 x i64>, ptr @allowed, align 64
  store <16 x i64> %every, ptr %mask, align 64
  %wide = zext i32 %here to i64
  %word = lshr i64 %wide, 6
  %low = and i64 %wide, 63
  %bit = shl i64 1, %low
  %rest = xor i64 %bit, -1
  %at = getelementptr inbounds i64, ptr %mask, i64 %word
  %before = load i64, ptr %at
  %after = and i64 %before, %rest
  store i64 %after, ptr %at
  %left = load <16 x i64>, ptr %mask, align 64
  %any = call i64 @llvm.vector.reduce.or.v16i64(<16 x i64> %left)
  %some = icmp ne i64 %any, 0
  br i1 %some, label %apply, label %end
apply:
  %r = call i32 @sched_setaffinity(i32 %thread, i64 128, ptr %mask)
  store atomic i32 %new, ptr %memory monotonic, align 4
  br label %end
end:
  ret void
}
"""

CONDITION = """
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)

; Not known here.
define internal i32 @processor() nounwind {
  ret i32 -1
}

define internal void @survey() nounwind {
  ret void
}

define internal void @arrive(ptr %slot) nounwind {
  ret void
}

define internal void @avoid(i64 %number) nounwind {
  ret void
}

define internal void @sleep(i64 %number) nounwind {
entry:
  %slot = call ptr @slot(i64 %number)
  %mutex = getelementptr inbounds i8, ptr %slot, i64 64
  %condition = getelementptr inbounds i8, ptr %slot, i64 128
  %a = call i32 @pthread_mutex_lock(ptr %mutex)
  br label %look
look:
  %word = load atomic i32, ptr %slot acquire, align 4
  %asleep = icmp eq i32 %word, 1
  br i1 %asleep, label %wait, label %end
wait:
  %b = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %look
end:
  %c = call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}

define internal void @rouse(ptr %slot) nounwind {
  %mutex = getelementptr inbounds i8, ptr %slot, i64 64
  %condition = getelementptr inbounds i8, ptr %slot, i64 128
  %a = call i32 @pthread_mutex_lock(ptr %mutex)
  %b = call i32 @pthread_cond_signal(ptr %condition)
  %c = call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}

define internal void @ready(ptr %slot) nounwind {
  %mutex = getelementptr inbounds i8, ptr %slot, i64 64
  %condition = getelementptr inbounds i8, ptr %slot, i64 128
  %a = call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  %b = call i32 @pthread_cond_init(ptr %condition, ptr null)
  ret void
}
"""

ALONE = """
define void @clew_parallel(ptr %function, ptr %context, i64 %chunks) nounwind {
entry:
  %some = icmp sgt i64 %chunks, 0
  br i1 %some, label %serial, label %end
serial:
  %chunk = phi i64 [ 0, %entry ], [ %then, %serial ]
  call void %function(ptr %context, i64 %chunk, i64 0)
  %then = add i64 %chunk, 1
  %again = icmp ult i64 %then, %chunks
  br i1 %again, label %serial, label %end
end:
  ret void
}

define void @clew_parallel_within(ptr %function, ptr %context, i64 %chunks, i64 %below) nounwind {
  call void @clew_parallel(ptr %function, ptr %context, i64 %chunks)
  ret void
}

define void @clew_pool_set(i64 %threads, i64 %watch) nounwind {
  ret void
}

define i64 @clew_pool_started() nounwind {
  ret i64 1
}

define void @clew_pool_forget() nounwind {
  ret void
}
"""
