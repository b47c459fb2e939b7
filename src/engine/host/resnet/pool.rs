//! Buffers that outlive a step: fresh memory of this size comes from the kernel page by page, which took a
//! fifth of a training step.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Buffers not in use.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Vec<f32>>>);

/// A lent buffer; goes back when dropped.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    data: Vec<f32>,
    len: usize,
    pool: Option<Arc<Pool>>,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<f32>>> {
        // The list is whole between any two of its operations, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends `len` numbers of any value. A request that no free buffer fits frees one, so that the pool never
    /// holds more buffers than were once in use together.
    pub(super) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let mut free = self.lock();
        let fits = |data: &Vec<f32>| data.len() >= len && data.len() / 2 <= len;
        let best =
            (free.iter().enumerate().filter(|(_, data)| fits(data))).min_by_key(|(_, data)| data.len());
        let data = match best.map(|(i, _)| i) {
            Some(i) => free.swap_remove(i),
            None => {
                free.pop();
                drop(free);
                vec![0.0; len]
            }
        };
        Buffer {
            data,
            len,
            pool: Some(self.clone()),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.lock().push(std::mem::take(&mut self.data));
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // `len` is at most what `take` found or made.
        &self.data[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_and_the_pool_stays_bounded() {
        let pool = Arc::new(Pool::default());
        let first = pool.take(100);
        let address = first.as_ptr();
        drop(first);
        let again = pool.take(60);
        assert_eq!((again.as_ptr(), again.len()), (address, 60));
        drop(again);
        // Neither too small nor wastefully large buffers are lent.
        assert_eq!(pool.take(200).len(), 200);
        assert_eq!(pool.lock().len(), 1);
        assert_ne!(pool.take(10).len(), 200);
        assert_eq!(pool.lock().len(), 1);
    }
}
