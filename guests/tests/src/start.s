# Entry of every test (M-mode, all harts at once) and its two trap vectors.

.equ STACK_SHIFT, 14

.section .text.entry, "ax"
.global _start
_start:
    csrr a0, mhartid
    la sp, _stacks
    addi t0, a0, 1
    slli t0, t0, STACK_SHIFT
    add sp, sp, t0
    li t0, 8
    bgeu a0, t0, 2f
    la t0, machine_vector
    csrw mtvec, t0
    li t0, 0x6000                # mstatus.FS = dirty
    csrs mstatus, t0
    csrw mie, zero
    bnez a0, 1f
    call first_hart
1:  call other_hart
2:  wfi                          # a hart beyond the stacks takes no part
    j 2b

# Both vectors push all registers on the interrupted stack: tests run with an identity mapping, so
# the stack pointer means the same in every mode.
.macro vector handler, return
    addi sp, sp, -256
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
    addi t0, sp, 256
    sd t0, 16(sp)
    mv a0, sp
    call \handler
    ld x1, 8(sp)
    ld x3, 24(sp)
    ld x4, 32(sp)
    ld x5, 40(sp)
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
    ld sp, 16(sp)
    \return
.endm

.section .text
.balign 4
.global machine_vector
machine_vector:
    vector on_machine_trap, mret
.balign 4
.global supervisor_vector
supervisor_vector:
    vector on_supervisor_trap, sret

# run_below(f = a0, argument = a1, mpp bits = a2): calls f in S- or U-mode and comes back by an
# ecall with a7 = LEAVE, upon which the machine handler resumes at come_back with our stack.
.global run_below
run_below:
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
    csrr t0, mscratch
    sd t0, 104(sp)
    csrw mscratch, sp
    csrw mepc, a0
    li t0, 0x1800
    csrc mstatus, t0
    csrs mstatus, a2
    la ra, leave
    mv a0, a1
    mret
.global leave
leave:
    li a7, 0x6c656176
    ecall
.global come_back
come_back:
    csrr sp, mscratch
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
    ld t0, 104(sp)
    csrw mscratch, t0
    addi sp, sp, 112
    ret

.section .stacks, "aw", @nobits
_stacks:
    .skip 8 << STACK_SHIFT
