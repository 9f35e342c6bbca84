//! The mutex that devices use: the host's own where there is one, a spin lock on bare metal.

#[cfg(not(feature = "std"))]
mod imp {
    /// A mutex.
    pub struct Lock<T>(spin::Mutex<T>);
    impl<T> Lock<T> {
        /// A free lock around `value`.
        pub const fn new(value: T) -> Self {
            Self(spin::Mutex::new(value))
        }
        /// Waits for the lock and takes it.
        pub fn lock(&self) -> impl core::ops::DerefMut<Target = T> + '_ {
            self.0.lock()
        }
    }
}

#[cfg(feature = "std")]
mod imp {
    use std::sync::{Mutex, PoisonError};

    /// A mutex.
    pub struct Lock<T>(Mutex<T>);
    impl<T> Lock<T> {
        /// A free lock around `value`.
        pub const fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }
        /// Waits for the lock and takes it. A thread that panicked with the lock held does not
        /// take the others with it: device state is data, valid at every step.
        pub fn lock(&self) -> impl core::ops::DerefMut<Target = T> + '_ {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

pub use imp::Lock;
