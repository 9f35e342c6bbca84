# Reset: every hart comes here at once, in M-mode, with its number in a0, the device tree in a1
# and, where the machine hands over as OpenSBI expects it, struct fw_dynamic_info in a2.

.equ STACK_SHIFT, 17
.equ MAX_CPUS, {MAX_CPUS}

.option arch, +a
.section .text.entry, "ax"
.global _start
_start:
    csrw mie, zero
    csrw mstatus, zero
    csrw mscratch, zero          # a trap from now on is the monitor's own
    la t0, trap_vector
    csrw mtvec, t0
    la t0, harts_seen            # the first one here sets up the machine
    li t1, 1
    amoadd.w.aqrl t2, t1, (t0)
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
    call first_hart

2:  la t0, harts_released        # the others wait until it has
3:  lw t1, 0(t0)
    bnez t1, 4f
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
    mv a1, t2
    call other_hart
5:  wfi                          # more harts than stacks: this one takes no part
    j 5b

.section .data
.balign 4
harts_seen:   .word 0
.global harts_released
harts_released: .word 0
stacks_taken: .word 1

.section .stacks, "aw", @nobits
_stacks:
    .skip MAX_CPUS << STACK_SHIFT
