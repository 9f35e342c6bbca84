# Into the guest and back. mscratch is 0 while the monitor runs, else it points to the hart's
# Passage (passage.rs): 0 stack pointer of the monitor, 8 registers of the guest, 16 a1's shelter.

.macro guest_registers op
    \op x1, 8(a0)
    \op x2, 16(a0)
    \op x3, 24(a0)
    \op x4, 32(a0)
    \op x5, 40(a0)
    \op x6, 48(a0)
    \op x7, 56(a0)
    \op x8, 64(a0)
    \op x9, 72(a0)
    \op x12, 96(a0)
    \op x13, 104(a0)
    \op x14, 112(a0)
    \op x15, 120(a0)
    \op x16, 128(a0)
    \op x17, 136(a0)
    \op x18, 144(a0)
    \op x19, 152(a0)
    \op x20, 160(a0)
    \op x21, 168(a0)
    \op x22, 176(a0)
    \op x23, 184(a0)
    \op x24, 192(a0)
    \op x25, 200(a0)
    \op x26, 208(a0)
    \op x27, 216(a0)
    \op x28, 224(a0)
    \op x29, 232(a0)
    \op x30, 240(a0)
    \op x31, 248(a0)
.endm

.macro monitor_registers op
    \op ra, 0(sp)
    \op s0, 8(sp)
    \op s1, 16(sp)
    \op s2, 24(sp)
    \op s3, 32(sp)
    \op s4, 40(sp)
    \op s5, 48(sp)
    \op s6, 56(sp)
    \op s7, 64(sp)
    \op s8, 72(sp)
    \op s9, 80(sp)
    \op s10, 88(sp)
    \op s11, 96(sp)
    \op gp, 104(sp)
    \op tp, 112(sp)
.endm

.section .text
# enter_guest(registers = a0, passage = a1): returns when the guest has trapped. The CSRs that
# say where and how it runs have been set.
.global enter_guest
enter_guest:
    addi sp, sp, -128
    monitor_registers sd
    sd sp, 0(a1)
    sd a0, 8(a1)
    csrw mscratch, a1
    guest_registers ld
    ld a1, 88(a0)
    ld a0, 80(a0)
    mret

.balign 4
.global trap_vector
trap_vector:
    csrrw a0, mscratch, a0
    beqz a0, 1f
    sd a1, 16(a0)
    mv a1, a0
    ld a0, 8(a0)
    guest_registers sd
    ld t0, 16(a1)
    sd t0, 88(a0)
    csrrw t0, mscratch, zero
    sd t0, 80(a0)
    ld sp, 0(a1)
    monitor_registers ld
    addi sp, sp, 128
    ret
1:  la sp, last_stack            # its own may be what is wrong
    csrr a0, mcause              # the monitor itself has trapped: it never does
    csrr a1, mepc
    csrr a2, mtval
    call monitor_trapped

# The floating-point registers and fcsr (a0: 32 doublewords, then fcsr). mstatus.FS is not Off.
.option push
.option arch, +d
.macro float_registers op
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    \op f\n, 8*\n(a0)
    .endr
.endm
.global load_float
load_float:
    float_registers fld
    csrw fcsr, a1
    ret
.global save_float
save_float:
    float_registers fsd
    csrr a0, fcsr
    ret
.option pop
