# Entry of the boot hart (a0 = hart id, a1 = device tree) and of the harts that `harts` starts
# (a0 = hart id, a1 = the top of its stack), and the trap vector.

.section .text.entry, "ax"
.global _start
_start:
    csrw satp, zero
    csrw sie, zero
    la sp, _boot_stack_top
    la t0, trap_vector
    csrw stvec, t0
    li t0, 0x6000                # sstatus.FS = dirty
    csrs sstatus, t0
    call main

.global hart_entry
hart_entry:
    mv sp, a1
    la t0, trap_vector
    csrw stvec, t0
    csrw sie, zero
    call hart_main

.section .text
# Saves all registers on the kernel stack. From U-mode the stack pointer comes from sscratch,
# which is zero while the kernel runs.
.balign 4
.global trap_vector
trap_vector:
    csrrw sp, sscratch, sp
    bnez sp, 1f
    csrrw sp, sscratch, sp
1:  push_frame
    csrrw t0, sscratch, zero     # the user's sp, or zero
    bnez t0, 2f
    addi t0, sp, 256
2:  sd t0, 16(sp)
    mv a0, sp
    call on_trap
    csrr t0, sstatus
    andi t0, t0, 0x100           # SPP
    bnez t0, 3f
    addi t0, sp, 256             # back to U-mode: keep the kernel's stack for the next trap
    csrw sscratch, t0
3:  pop_frame
    sret

# visit_user(entry = a0, stack = a1): runs U-mode code until its `ecall` with a7 = 0, whose a0 it
# returns. on_trap ends the visit by returning to `visit_over` in S-mode.
.global visit_user
visit_user:
    push_saved
    csrw sscratch, sp
    csrw sepc, a0
    li t0, 0x120                 # SPP = U, SPIE = 0: interrupts stay off
    csrc sstatus, t0
    mv sp, a1
    sret
.global visit_over
visit_over:
    pop_saved
    ret

.section .stacks, "aw", @nobits
    .skip 65536
_boot_stack_top:
