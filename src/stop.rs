//! The wish to stop, for what reads for long and keeps nothing of it.

use std::fmt;
use std::io;
use std::sync::Arc;

/// Says whether somebody has asked to stop; without anybody to ask, nobody has.
#[derive(Clone, Default)]
pub struct Stop(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Stop {
    /// Stops once `asked` says so.
    pub fn when(asked: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(asked)))
    }

    /// Returns whether somebody has asked to stop.
    pub fn is_asked(&self) -> bool {
        self.0.as_ref().is_some_and(|asked| asked())
    }

    /// Returns an error once somebody has asked to stop, of the kind
    /// [`Interrupted`](crate::Kind::Interrupted).
    ///
    /// # Errors
    /// If somebody has.
    pub fn check(&self) -> io::Result<()> {
        check(&|| self.is_asked())
    }
}

/// The same of a function that says it.
pub(crate) fn check(asked: &dyn Fn() -> bool) -> io::Result<()> {
    match asked() {
        false => Ok(()),
        true => Err(io::Error::new(
            io::ErrorKind::Interrupted,
            "interrupted; nothing of it is kept",
        )),
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stop")
    }
}

/// When to stop is no part of what is asked: what holds it may be compared by all else.
impl PartialEq for Stop {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
