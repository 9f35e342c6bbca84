//! The kernel with stimecmp as its timer, as xv6 since 2024.
#![no_std]
#![no_main]

use m_kernel as _;

#[unsafe(no_mangle)]
static TIMER_BY_CLINT: bool = false;
