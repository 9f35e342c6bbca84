//! The kernel with the CLINT as its timer and an M-mode handler, as older xv6.
#![no_std]
#![no_main]

use m_kernel as _;

#[unsafe(no_mangle)]
static TIMER_BY_CLINT: bool = true;
