# Reset: every hart comes here at once, in M-mode, with its number in a0, the device tree in a1
# and, where the machine hands over as OpenSBI expects it, struct fw_dynamic_info in a2.

.equ STACK_SHIFT, 17
.equ CLOSED, 1 << 15           # as in stack.rs
.equ MAX_CPUS, {MAX_CPUS}

# Fills the stack below sp with a pattern that stack.rs knows.
.macro paint_stack
    li t0, 0x5ca1ab1e5ca1ab1e
    li t1, 1 << STACK_SHIFT
    sub t1, sp, t1
    li t2, CLOSED
    add t1, t1, t2
6:  sd t0, 0(t1)
    addi t1, t1, 8
    bltu t1, sp, 6b
.endm

.option arch, +a
.section .text.entry, "ax"
.global _start
_start:
    csrw mie, zero
    csrw mstatus, zero
    csrw mscratch, zero          # a trap from now on is the monitor's own
    la t0, trap_vector
    csrw mtvec, t0
0:  la t0, first_is_here         # the first one here sets up the machine
    li t1, 1
    amoswap.w.aqrl t2, t1, (t0)
    bnez t2, 2f

    la t0, _bss_start
    la t1, _bss_end
1:  bgeu t0, t1, 1f
    sd zero, 0(t0)
    addi t0, t0, 8
    j 1b
1:  la sp, _stacks
    li t0, 1 << STACK_SHIFT
    add sp, sp, t0
    mv tp, zero
    paint_stack
    call first_hart

2:  la t3, harts_released        # the others wait until it has, or leaves that to them
3:  lw t1, 0(t3)
    bnez t1, 4f
    lw t1, 0(t0)
    beqz t1, 0b
    .option push
    .option arch, +zihintpause
    pause
    .option pop
    j 3b
4:  fence rw, rw
    la t0, stacks_taken
    li t1, 1
    amoadd.w.aqrl t2, t1, (t0)
    li t1, MAX_CPUS
    bgeu t2, t1, 5f
    la sp, _stacks
    addi t0, t2, 1
    slli t0, t0, STACK_SHIFT
    add sp, sp, t0
    mv tp, zero
    paint_stack
    call other_hart
5:  wfi                          # more harts than stacks: this one takes no part
    j 5b

.section .data
.balign 4
.global first_is_here
first_is_here: .word 0
.global harts_released
harts_released: .word 0
stacks_taken: .word 1

.section .stacks, "aw", @nobits
.global _stacks
_stacks:
    .skip MAX_CPUS << STACK_SHIFT
    .skip 1 << STACK_SHIFT       # for last words
.global last_stack
last_stack:
