# run_wild(context = a0): loads all registers from the context (`wild::Context`: x0 to x31, pc, mstatus)
# and goes there by mret. Whatever trap comes first ends the run, and this returns.
.section .text.wild, "ax"
.global run_wild
run_wild:
    push_saved
    csrr t0, mscratch
    sd t0, 104(sp)
    csrw mscratch, sp
    la t0, escape
    csrw mtvec, t0
    ld t0, 256(a0)
    csrw mepc, t0
    ld t0, 264(a0)
    csrw mstatus, t0
    .irp number, 1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    ld x\number, 8*\number(a0)
    .endr
    ld a0, 80(a0)
    mret
.balign 4
escape:
    csrr sp, mscratch            # what ran had all other registers
    li t0, 0x6000
    csrw mstatus, t0             # FS = dirty, MPRV and MIE clear
    csrw mie, zero
    csrw satp, zero
    la t0, machine_vector
    csrw mtvec, t0
    ld t0, 104(sp)
    csrw mscratch, t0
    pop_saved
    ret
