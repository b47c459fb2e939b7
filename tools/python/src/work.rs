//! Long work: on a thread of its own, while the calling one tells Python how far it has come and looks
//! whether it is to stop.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Builder};
use std::time::Duration;

use dream_ood::stage::Progress;
use dream_ood::stop::Stop;
use dream_ood::{Error, Kind};
use pyo3::prelude::*;

use crate::errors::{of_kind, raised};

/// How often Python is told.
const EVERY: Duration = Duration::from_millis(50);

/// Stack of the thread: that of a program's main one.
const STACK: usize = 8 << 20;

/// What there is to tell.
enum Event {
    Begin { what: String, total: u64, unit: String },
    Advance(u64),
    Note(String),
    End,
}

/// What the work has told and Python has not heard yet.
#[derive(Default)]
pub struct Told {
    events: Mutex<VecDeque<Event>>,
    unwanted: AtomicBool,
}

impl Told {
    /// Returns the wish to stop that it carries.
    pub fn stop(self: &Arc<Self>) -> Stop {
        let told = self.clone();
        Stop::when(move || told.cancelled())
    }

    fn add(&self, event: Event) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        match (events.back_mut(), event) {
            (Some(Event::Advance(before)), Event::Advance(more)) => *before += more,
            (_, event) => events.push_back(event),
        }
    }

    fn take(&self) -> VecDeque<Event> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Progress for Told {
    fn begin(&self, what: &str, total: u64, unit: &str) {
        let (what, unit) = (what.to_owned(), unit.to_owned());
        self.add(Event::Begin { what, total, unit });
    }

    fn advance(&self, n: u64) {
        self.add(Event::Advance(n));
    }

    fn note(&self, text: &str) {
        self.add(Event::Note(text.to_owned()));
    }

    fn end(&self) {
        self.add(Event::End);
    }

    fn cancelled(&self) -> bool {
        self.unwanted.load(Ordering::Relaxed)
    }
}

/// Does work, and tells `listener` (an object with `begin`, `advance`, `note` and `end`) how far it has come.
/// Ctrl-C, or an exception of the listener, asks it to stop; what is committed then stays.
pub fn work<T: Send>(
    py: Python<'_>,
    listener: &Py<PyAny>,
    task: impl FnOnce(&Arc<Told>) -> Result<T, Error> + Send,
) -> PyResult<T> {
    let told = Arc::new(Told::default());
    py.detach(|| {
        thread::scope(|scope| {
            let (sender, done) = sync_channel(1);
            let told = &told;
            let worker = move || {
                // Nobody listens any more only where the calling thread panicked.
                let _ = sender.send(task(told));
            };
            Builder::new()
                .name("dream-work".to_owned())
                .stack_size(STACK)
                .spawn_scoped(scope, worker)
                .map_err(|error| of_kind(Kind::Resource, format!("no thread for the work: {error}")))?;
            let mut stopped: Option<PyErr> = None;
            let result = loop {
                let result = done.recv_timeout(EVERY);
                let heard = Python::attach(|py| {
                    py.check_signals()?;
                    told.take()
                        .into_iter()
                        .try_for_each(|event| tell(listener.bind(py), event))
                });
                if let Err(error) = heard {
                    told.unwanted.store(true, Ordering::Relaxed);
                    stopped.get_or_insert(error);
                }
                match result {
                    Ok(result) => break result,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => {
                        let words = "the work ended without a word, which is a fault of this library";
                        return Err(of_kind(Kind::Internal, words));
                    }
                }
            };
            match (result, stopped) {
                (Ok(value), None) => Ok(value),
                (_, Some(error)) => Err(error),
                (Err(error), None) => Err(raised(error)),
            }
        })
    })
}

fn tell(listener: &Bound<'_, PyAny>, event: Event) -> PyResult<()> {
    match event {
        Event::Begin { what, total, unit } => listener.call_method1("begin", (what, total, unit)),
        Event::Advance(n) => listener.call_method1("advance", (n,)),
        Event::Note(text) => listener.call_method1("note", (text,)),
        Event::End => listener.call_method0("end"),
    }
    .map(|_| ())
}
