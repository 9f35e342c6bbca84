# Entry, the M-mode timer vector, the two trap paths into the kernel, and the context switch.

.section .text.entry, "ax"
.global _start
_start:                          # all harts, in M-mode
    csrr a0, mhartid
    la sp, _boot_stacks
    addi t0, a0, 1
    slli t0, t0, 13
    add sp, sp, t0
    li t0, 8
    bgeu a0, t0, 1f
    call start                   # a1 is the device tree
1:  wfi                          # a hart beyond the table takes no part
    j 1b

.section .text
# The M-mode timer interrupt of the CLINT variant: arms the next, and raises a supervisor software
# interrupt. mscratch points to three saved registers, the address of mtimecmp, and the interval.
.balign 4
.global machine_timer_vector
machine_timer_vector:
    csrrw a0, mscratch, a0
    sd a1, 0(a0)
    sd a2, 8(a0)
    sd a3, 16(a0)
    ld a1, 24(a0)
    ld a2, 32(a0)
    ld a3, 0(a1)
    add a3, a3, a2
    sd a3, 0(a1)
    li a1, 2
    csrw sip, a1
    ld a3, 16(a0)
    ld a2, 8(a0)
    ld a1, 0(a0)
    csrrw a0, mscratch, a0
    mret

# Traps in the kernel: on the current stack. tp is the hart's, not the thread's, so it is not restored.
.balign 4
.global kernel_vector
kernel_vector:
    addi sp, sp, -256
    sd x1, 0(sp)
    sd x3, 16(sp)
    sd x5, 32(sp)
    sd x6, 40(sp)
    sd x7, 48(sp)
    sd x10, 72(sp)
    sd x11, 80(sp)
    sd x12, 88(sp)
    sd x13, 96(sp)
    sd x14, 104(sp)
    sd x15, 112(sp)
    sd x16, 120(sp)
    sd x17, 128(sp)
    sd x28, 216(sp)
    sd x29, 224(sp)
    sd x30, 232(sp)
    sd x31, 240(sp)
    call kernel_trap
    ld x1, 0(sp)
    ld x3, 16(sp)
    ld x5, 32(sp)
    ld x6, 40(sp)
    ld x7, 48(sp)
    ld x10, 72(sp)
    ld x11, 80(sp)
    ld x12, 88(sp)
    ld x13, 96(sp)
    ld x14, 104(sp)
    ld x15, 112(sp)
    ld x16, 120(sp)
    ld x17, 128(sp)
    ld x28, 216(sp)
    ld x29, 224(sp)
    ld x30, 232(sp)
    ld x31, 240(sp)
    addi sp, sp, 256
    sret

# switch_context(old = a0, new = a1): ra, sp and the saved registers.
.global switch_context
switch_context:
    sd ra, 0(a0)
    sd sp, 8(a0)
    sd s0, 16(a0)
    sd s1, 24(a0)
    sd s2, 32(a0)
    sd s3, 40(a0)
    sd s4, 48(a0)
    sd s5, 56(a0)
    sd s6, 64(a0)
    sd s7, 72(a0)
    sd s8, 80(a0)
    sd s9, 88(a0)
    sd s10, 96(a0)
    sd s11, 104(a0)
    ld ra, 0(a1)
    ld sp, 8(a1)
    ld s0, 16(a1)
    ld s1, 24(a1)
    ld s2, 32(a1)
    ld s3, 40(a1)
    ld s4, 48(a1)
    ld s5, 56(a1)
    ld s6, 64(a1)
    ld s7, 72(a1)
    ld s8, 80(a1)
    ld s9, 88(a1)
    ld s10, 96(a1)
    ld s11, 104(a1)
    ret

# The way between user and kernel page tables, mapped at the same address in both: the top page.
# The process's trap frame is on the page below it.
.equ TRAP_FRAME, (1 << 38) - 2 * 4096

.section .trampoline, "ax"
.global user_vector
.balign 4
user_vector:
    csrw sscratch, a0
    li a0, TRAP_FRAME
    sd x1, 40(a0)
    sd x2, 48(a0)
    sd x3, 56(a0)
    sd x4, 64(a0)
    sd x5, 72(a0)
    sd x6, 80(a0)
    sd x7, 88(a0)
    sd x8, 96(a0)
    sd x9, 104(a0)
    sd x11, 120(a0)
    sd x12, 128(a0)
    sd x13, 136(a0)
    sd x14, 144(a0)
    sd x15, 152(a0)
    sd x16, 160(a0)
    sd x17, 168(a0)
    sd x18, 176(a0)
    sd x19, 184(a0)
    sd x20, 192(a0)
    sd x21, 200(a0)
    sd x22, 208(a0)
    sd x23, 216(a0)
    sd x24, 224(a0)
    sd x25, 232(a0)
    sd x26, 240(a0)
    sd x27, 248(a0)
    sd x28, 256(a0)
    sd x29, 264(a0)
    sd x30, 272(a0)
    sd x31, 280(a0)
    csrr t0, sscratch
    sd t0, 112(a0)
    ld sp, 8(a0)
    ld tp, 32(a0)
    ld t0, 16(a0)
    ld t1, 0(a0)
    sfence.vma zero, zero
    csrw satp, t1
    sfence.vma zero, zero
    jr t0

.global user_return              # a0 = the user's satp
user_return:
    sfence.vma zero, zero
    csrw satp, a0
    sfence.vma zero, zero
    li a0, TRAP_FRAME
    ld x1, 40(a0)
    ld x2, 48(a0)
    ld x3, 56(a0)
    ld x4, 64(a0)
    ld x5, 72(a0)
    ld x6, 80(a0)
    ld x7, 88(a0)
    ld x8, 96(a0)
    ld x9, 104(a0)
    ld x11, 120(a0)
    ld x12, 128(a0)
    ld x13, 136(a0)
    ld x14, 144(a0)
    ld x15, 152(a0)
    ld x16, 160(a0)
    ld x17, 168(a0)
    ld x18, 176(a0)
    ld x19, 184(a0)
    ld x20, 192(a0)
    ld x21, 200(a0)
    ld x22, 208(a0)
    ld x23, 216(a0)
    ld x24, 224(a0)
    ld x25, 232(a0)
    ld x26, 240(a0)
    ld x27, 248(a0)
    ld x28, 256(a0)
    ld x29, 264(a0)
    ld x30, 272(a0)
    ld x31, 280(a0)
    ld a0, 112(a0)
    sret

.section .stacks, "aw", @nobits
_boot_stacks:
    .skip 8 << 13
