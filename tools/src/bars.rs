//! Progress on the terminal. A bar only where there is one; words of the stages as lines; the first Ctrl-C asks the work to stop.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use dream_ood::stage::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Draws bars on stderr and carries the wish to stop.
pub struct Bars {
    bar: Mutex<Option<ProgressBar>>,
    quiet: bool,
    terminal: bool,
    cancelled: Arc<AtomicBool>,
}

impl Bars {
    /// Starts with no bar, and takes over Ctrl-C: the first one stops the work after its current step, a second one at once.
    pub fn new(quiet: bool) -> Self {
        let cancelled = Arc::new(AtomicBool::new(false));
        let flag = cancelled.clone();
        // Without the handler Ctrl-C stops the program at once, which loses no committed work either.
        let _ = ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
            eprintln!("stopping after this step; press Ctrl-C again to stop at once");
        });
        Self {
            bar: Mutex::new(None),
            quiet,
            terminal: std::io::stderr().is_terminal(),
            cancelled,
        }
    }

    fn with_bar(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        // A poisoned lock is of a thread that panicked while drawing: drawing on is harmless.
        act(&mut self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// Prints a line beside the bar.
    pub fn say(&self, text: &str) {
        if self.quiet {
            return;
        }
        self.with_bar(|bar| match bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        });
    }
}

impl Progress for Bars {
    fn begin(&self, what: &str, total: u64, unit: &str) {
        if self.quiet || !self.terminal {
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
    }

    fn note(&self, text: &str) {
        let shown = self.terminal;
        self.with_bar(|bar| match bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None if !self.quiet && !shown => eprintln!("  {text}"),
            None => {}
        });
    }

    fn end(&self) {
        self.with_bar(|bar| {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
        });
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }
}
