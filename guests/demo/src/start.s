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
1:  addi sp, sp, -272
    sd x1, 8(sp)
    sd x3, 24(sp)
    sd x4, 32(sp)
    sd x5, 40(sp)
    sd x6, 48(sp)
    sd x7, 56(sp)
    sd x8, 64(sp)
    sd x9, 72(sp)
    sd x10, 80(sp)
    sd x11, 88(sp)
    sd x12, 96(sp)
    sd x13, 104(sp)
    sd x14, 112(sp)
    sd x15, 120(sp)
    sd x16, 128(sp)
    sd x17, 136(sp)
    sd x18, 144(sp)
    sd x19, 152(sp)
    sd x20, 160(sp)
    sd x21, 168(sp)
    sd x22, 176(sp)
    sd x23, 184(sp)
    sd x24, 192(sp)
    sd x25, 200(sp)
    sd x26, 208(sp)
    sd x27, 216(sp)
    sd x28, 224(sp)
    sd x29, 232(sp)
    sd x30, 240(sp)
    sd x31, 248(sp)
    csrrw t0, sscratch, zero     # the user's sp, or zero
    sd t0, 256(sp)
    mv a0, sp
    call on_trap
    ld t0, 256(sp)
    beqz t0, 2f
    addi t1, sp, 272             # back to U-mode: keep the kernel's stack for the next trap
    csrw sscratch, t1
2:  ld x1, 8(sp)
    ld x3, 24(sp)
    ld x4, 32(sp)
    ld x6, 48(sp)
    ld x7, 56(sp)
    ld x8, 64(sp)
    ld x9, 72(sp)
    ld x10, 80(sp)
    ld x11, 88(sp)
    ld x12, 96(sp)
    ld x13, 104(sp)
    ld x14, 112(sp)
    ld x15, 120(sp)
    ld x16, 128(sp)
    ld x17, 136(sp)
    ld x18, 144(sp)
    ld x19, 152(sp)
    ld x20, 160(sp)
    ld x21, 168(sp)
    ld x22, 176(sp)
    ld x23, 184(sp)
    ld x24, 192(sp)
    ld x25, 200(sp)
    ld x26, 208(sp)
    ld x27, 216(sp)
    ld x28, 224(sp)
    ld x29, 232(sp)
    ld x30, 240(sp)
    ld x31, 248(sp)
    beqz t0, 3f
    mv t0, sp
    ld sp, 256(t0)
    ld t0, 40(t0)
    sret
3:  ld t0, 40(sp)
    addi sp, sp, 272
    sret

# visit_user(entry = a0, stack = a1): runs U-mode code until its `ecall` with a7 = 0, whose a0 it
# returns. on_trap ends the visit by returning to `visit_over` in S-mode.
.global visit_user
visit_user:
    addi sp, sp, -112
    sd ra, 0(sp)
    sd s0, 8(sp)
    sd s1, 16(sp)
    sd s2, 24(sp)
    sd s3, 32(sp)
    sd s4, 40(sp)
    sd s5, 48(sp)
    sd s6, 56(sp)
    sd s7, 64(sp)
    sd s8, 72(sp)
    sd s9, 80(sp)
    sd s10, 88(sp)
    sd s11, 96(sp)
    csrw sscratch, sp
    csrw sepc, a0
    li t0, 0x120                 # SPP = U, SPIE = 0: interrupts stay off
    csrc sstatus, t0
    mv sp, a1
    sret
.global visit_over
visit_over:
    ld ra, 0(sp)
    ld s0, 8(sp)
    ld s1, 16(sp)
    ld s2, 24(sp)
    ld s3, 32(sp)
    ld s4, 40(sp)
    ld s5, 48(sp)
    ld s6, 56(sp)
    ld s7, 64(sp)
    ld s8, 72(sp)
    ld s9, 80(sp)
    ld s10, 88(sp)
    ld s11, 96(sp)
    addi sp, sp, 112
    ret

.section .stacks, "aw", @nobits
    .skip 65536
_boot_stack_top:
