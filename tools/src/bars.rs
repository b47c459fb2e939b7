//! Progress on stderr. A bar where there is a terminal; elsewhere (a log) a line now and then: how many, how
//! fast, how long still. Words of the stages as lines; the first Ctrl-C asks the work to stop, and so does
//! SIGTERM.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use dream_ood::stage::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::aside;
use crate::remedy;

/// How long a command that only reads has to remove what it was writing, after Ctrl-C.
const GRACE: Duration = Duration::from_secs(1);

/// How often a log gets a line.
const EVERY: Duration = Duration::from_secs(30);

/// Draws bars on stderr and carries the wish to stop.
pub struct Bars {
    bar: Mutex<Option<ProgressBar>>,
    log: Mutex<Option<Log>>,
    quiet: bool,
    terminal: bool,
    cancelled: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
}

/// Set by SIGTERM, where a command listens to it.
static TERMINATED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Says whether SIGTERM has asked the program to stop.
pub fn terminated() -> bool {
    TERMINATED.get().is_some_and(|flag| flag.load(Ordering::SeqCst))
}

impl Bars {
    /// Starts with no bar, and takes over Ctrl-C: the first one stops the work after its current step, a
    /// second one at once. SIGTERM, by which a scheduler or an operator ends the program, lets it end the
    /// pictures in hand before; again and again, it asks for no more.
    pub fn new(quiet: bool) -> Self {
        let bars = Self::silent(quiet);
        #[cfg(unix)]
        if signal_hook::flag::register(signal_hook::consts::SIGTERM, bars.terminated.clone()).is_ok() {
            let _ = TERMINATED.set(bars.terminated.clone());
        }
        let flag = bars.cancelled.clone();
        // Without the handler Ctrl-C stops the program at once, which loses no committed work either.
        let _ = ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(remedy::INTERRUPTED.into());
            }
            aside("stopping after this step; press Ctrl-C again to stop at once");
        });
        bars
    }

    /// Starts with no bar, for a command that only reads: Ctrl-C ends it at once, as soon as what it was
    /// writing is removed.
    pub fn reading(quiet: bool) -> Self {
        let bars = Self::silent(quiet);
        let flag = bars.cancelled.clone();
        let _ = ctrlc::set_handler(move || {
            flag.store(true, Ordering::SeqCst);
            // Time to clean up for a command that looks; one that waits for its reader does not.
            std::thread::sleep(GRACE);
            std::process::exit(remedy::INTERRUPTED.into());
        });
        bars
    }

    fn silent(quiet: bool) -> Self {
        Self {
            bar: Mutex::new(None),
            log: Mutex::new(None),
            quiet,
            terminal: std::io::stderr().is_terminal(),
            cancelled: Arc::default(),
            terminated: Arc::default(),
        }
    }

    fn with_bar(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        // A poisoned lock is of a thread that panicked while drawing: drawing on is harmless.
        act(&mut self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    fn with_log(&self, act: impl FnOnce(&mut Option<Log>)) {
        // As above: what a panicking thread left is numbers for people.
        act(&mut self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// Counts in the log, and prints a line if it is time for one.
    fn count(&self, n: u64, earlier: bool) {
        self.with_log(|log| {
            let Some(log) = log else { return };
            log.done += n;
            if earlier {
                log.earlier += n;
            } else if log.last.elapsed() >= EVERY {
                log.last = Instant::now();
                aside(log.line(log.begun.elapsed()));
            }
        });
    }

    /// Prints a line beside the bar.
    pub fn say(&self, text: &str) {
        if self.quiet {
            return;
        }
        self.with_bar(|bar| match bar {
            Some(bar) => bar.suspend(|| aside(text)),
            None => aside(text),
        });
    }
}

/// A piece of work whose progress goes to a log.
struct Log {
    what: String,
    unit: String,
    total: u64,
    /// Units done, and how many of them before the work began.
    done: u64,
    earlier: u64,
    begun: Instant,
    last: Instant,
}

impl Log {
    /// Returns how far the work is after so much time.
    fn line(&self, elapsed: Duration) -> String {
        let now = self.done.saturating_sub(self.earlier);
        let rate = now as f64 / elapsed.as_secs_f64().max(1e-3);
        let left = self.total.saturating_sub(self.done);
        let Self {
            what,
            unit,
            total,
            done,
            ..
        } = self;
        if now == 0 {
            return format!("{what:>10} {done}/{total} {unit}");
        }
        let speed = if rate >= 1.0 {
            format!("{rate:.1} a second")
        } else {
            format!("{:.1} s each", 1.0 / rate)
        };
        let left = time(Duration::from_secs_f64(left as f64 / rate));
        format!("{what:>10} {done}/{total} {unit}, {speed}, {left} left")
    }
}

/// Returns a time in the largest two units that it has.
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

impl Progress for Bars {
    fn begin(&self, what: &str, total: u64, unit: &str) {
        if self.quiet {
            return;
        }
        if !self.terminal {
            let now = Instant::now();
            let log = Log {
                what: what.to_owned(),
                unit: unit.to_owned(),
                total,
                done: 0,
                earlier: 0,
                begun: now,
                last: now,
            };
            self.with_log(|slot| *slot = Some(log));
            return;
        }
        let template =
            format!("{{prefix:>10}} [{{bar:32}}] {{pos}}/{{len}} {unit}  {{per_sec}}  {{eta}} left  {{msg}}");
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr())
            .with_prefix(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("=> "));
        }
        self.with_bar(|slot| {
            if let Some(old) = slot.replace(bar) {
                old.finish_and_clear();
            }
        });
    }

    fn advance(&self, n: u64) {
        self.with_bar(|bar| {
            if let Some(bar) = bar {
                bar.inc(n);
            }
        });
        self.count(n, false);
    }

    fn skip(&self, n: u64) {
        self.with_bar(|bar| {
            if let Some(bar) = bar {
                bar.inc(n);
                bar.reset_eta();
            }
        });
        self.count(n, true);
    }

    fn note(&self, text: &str) {
        let shown = self.terminal;
        self.with_bar(|bar| match bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None if !self.quiet && !shown => aside(format_args!("  {text}")),
            None => {}
        });
    }

    fn detail(&self, text: &str) {
        self.with_bar(|bar| {
            if let Some(bar) = bar {
                bar.set_message(text.to_owned());
            }
        });
    }

    fn end(&self) {
        self.with_bar(|bar| {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
        });
        self.with_log(|log| *log = None);
    }

    fn cancelled(&self) -> bool {
        self.cancelled_at_once() || self.terminated.load(Ordering::SeqCst)
    }

    fn cancelled_at_once(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_log() {
        let now = Instant::now();
        let log = |done, earlier| Log {
            what: "imagine".into(),
            unit: "images".into(),
            total: 1000,
            done,
            earlier,
            begun: now,
            last: now,
        };
        let minute = Duration::from_secs(60);
        // What was there before counts for the place and not for the speed.
        assert_eq!(
            log(640, 520).line(minute),
            "   imagine 640/1000 images, 2.0 a second, 3 min 00 s left"
        );
        assert_eq!(
            log(6, 0).line(minute),
            "   imagine 6/1000 images, 10.0 s each, 2 h 45 min left"
        );
        assert_eq!(log(520, 520).line(minute), "   imagine 520/1000 images");
        assert_eq!(time(Duration::from_secs(59)), "59 s");
    }
}
