//! A slot per vCPU for what it is running.

use crate::arch::{MAX_VCPUS, current_vcpu_index};
use alloc::sync::Arc;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

/// One counted reference per vCPU, readable without a lock by the vCPU itself.
///
/// [`PerVcpu::get`] lends the reference for as long as the running context likes. That is sound because the slot is
/// replaced only by a context switch: a context that resumes finds its own reference in the slot again.
pub struct PerVcpu<T> {
    slots: [AtomicPtr<T>; MAX_VCPUS],
}

impl<T> PerVcpu<T> {
    /// Empty slots.
    pub const fn new() -> Self {
        PerVcpu { slots: [const { AtomicPtr::new(ptr::null_mut()) }; MAX_VCPUS] }
    }

    /// Replaces this vCPU's reference; returns the old one.
    pub fn replace(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        let new = value.map_or(ptr::null_mut(), |v| Arc::into_raw(v).cast_mut());
        let old = self.slots[current_vcpu_index().unwrap_or(0)].swap(new, Ordering::AcqRel);
        // SAFETY: a non-null slot holds one count that came from `Arc::into_raw`.
        (!old.is_null()).then(|| unsafe { Arc::from_raw(old) })
    }

    /// What this vCPU runs; `None` on other threads and while it idles.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: null or counted by the slot; see the type's documentation for the lifetime.
        unsafe { self.slots[current_vcpu_index()?].load(Ordering::Acquire).as_ref() }
    }
}

impl<T> Default for PerVcpu<T> {
    fn default() -> Self {
        Self::new()
    }
}
