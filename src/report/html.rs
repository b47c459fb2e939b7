//! Text that is fit for a page, and the few HTML shapes that the sections share.

use maud::{Markup, html};

use crate::rng::{Stream, domain};

/// Appends formatted text to a string: the path of an SVG shape, a caption. What comes from outside is never
/// made into HTML so, but by `html!`, which escapes it.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => { $out.push_str(&format!($($arg)*)) };
}
pub(super) use put;

/// Returns the page with U+FFFD for control characters, which HTML forbids, and for the bidirectional
/// overrides and isolates, with which a name could reorder the text around it.
pub(super) fn clean(page: &str) -> String {
    let forbidden = |c: char| match c {
        '\n' | '\t' => false,
        '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    };
    page.replace(forbidden, "\u{FFFD}")
}

/// Returns `n` with thin spaces between groups of three digits.
pub(super) fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202F}');
        }
        out.push(digit);
    }
    out
}

/// Returns "1 picture", "2 pictures".
pub(super) fn plural(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// Returns the sentence that stands in the place of a section without data.
pub(super) fn nothing(sentence: &str) -> Markup {
    html! { p.none { (sentence) } }
}

/// Returns a wide figure's frame, which can be moved sideways where the page is narrower.
pub(super) fn scroll(label: &str, content: &Markup) -> Markup {
    html! { div.scroll tabindex="0" role="region" aria-label=(label) { (content) } }
}

/// Returns at most `limit` of the positions `0..n`, ascending: all when they fit, else a random subset fixed
/// by `stream`. A random subset, because rows come in the order of rounds and anchors, and every n-th row
/// would pick always the same of them.
pub(super) fn thin(n: usize, limit: usize, stream: u32) -> Vec<usize> {
    if n <= limit {
        return (0..n).collect();
    }
    let mut random = Stream::new(0, domain::REPORT_THIN, stream, 0);
    // Floyd's sampling: `limit` draws whatever `n` is.
    let mut chosen = std::collections::BTreeSet::new();
    for last in n - limit..n {
        let bound = u32::try_from(last + 1).unwrap_or(u32::MAX);
        let drawn = random.below(bound) as usize;
        if !chosen.insert(drawn) {
            chosen.insert(last);
        }
    }
    chosen.into_iter().collect()
}
