//! An allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The system's allocator, with the bytes that are given out now and the most that were.
pub struct Counting {
    now: AtomicUsize,
    peak: AtomicUsize,
}

impl Counting {
    pub const fn new() -> Self {
        Self {
            now: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        }
    }

    /// Begins to look for a new peak, and returns the bytes that are given out.
    pub fn begin(&self) -> usize {
        let now = self.now.load(Relaxed);
        self.peak.store(now, Relaxed);
        now
    }

    /// Returns the most bytes that were given out since [`Self::begin`].
    pub fn peak(&self) -> usize {
        self.peak.load(Relaxed)
    }

    fn count(&self, more: usize, less: usize) {
        let now = self.now.fetch_add(more, Relaxed).wrapping_add(more);
        self.now.fetch_sub(less, Relaxed);
        self.peak.fetch_max(now, Relaxed);
    }
}

// Safety: all is the system's; counting asks for no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.count(layout.size(), 0);
        // Safety: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.count(layout.size(), 0);
        // Safety: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.count(size, layout.size());
        // Safety: the caller's.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        self.count(0, layout.size());
        // Safety: the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}
