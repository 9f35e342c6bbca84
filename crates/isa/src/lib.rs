//! What RISC-V instructions, CSRs and page-table entries look like: data, no behaviour.
#![no_std]
