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
    push_frame
    addi t0, sp, 256
    sd t0, 16(sp)
    mv a0, sp
    call \handler
    pop_frame
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
    push_saved
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
    ld t0, 104(sp)
    csrw mscratch, t0
    pop_saved
    ret

.section .stacks, "aw", @nobits
_stacks:
    .skip 8 << STACK_SHIFT
