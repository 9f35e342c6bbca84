//! The hosted monitor: everything around the machine that needs an operating system.
