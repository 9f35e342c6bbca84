# Macros for entries and exits of trap handlers, and for functions that leave by other ways than
# `ret`. To be put before the assembly that uses them.

# Pushes a trap frame (`trap::Frame`): each register at 8 times its number, but for sp, whose place
# the user of the macro fills.
.macro push_frame
    addi sp, sp, -256
    .irp number, 1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    sd x\number, 8*\number(sp)
    .endr
.endm

# Takes all registers back from the trap frame at sp, sp last.
.macro pop_frame
    .irp number, 1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    ld x\number, 8*\number(sp)
    .endr
    ld sp, 16(sp)
.endm

# Pushes what a function must keep for its caller; 104(sp) is free for one thing more.
.macro push_saved
    addi sp, sp, -112
    sd ra, 0(sp)
    .irp number, 0,1,2,3,4,5,6,7,8,9,10,11
    sd s\number, 8+8*\number(sp)
    .endr
.endm

# Takes it back.
.macro pop_saved
    ld ra, 0(sp)
    .irp number, 0,1,2,3,4,5,6,7,8,9,10,11
    ld s\number, 8+8*\number(sp)
    .endr
    addi sp, sp, 112
.endm
