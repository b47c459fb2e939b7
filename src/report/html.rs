//! Escaping, base64 and the few HTML shapes that the sections share.

/// Appends formatted text to a string.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => { $out.push_str(&format!($($arg)*)) };
}
pub(super) use put;

/// Returns `text` safe as element content and as a quoted attribute value. Control characters, which HTML forbids, become
/// U+FFFD; so do the bidirectional overrides and isolates, with which a name could reorder the text around it.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => out.push('\u{FFFD}'),
            c if c.is_control() => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

/// Returns the base64 of `bytes` (RFC 4648, section 4, with padding).
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            if i <= three.len() {
                // Six bits: always below 64.
                out.push(char::from(ALPHABET[(word >> (18 - 6 * i) & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
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
pub(super) fn nothing(sentence: &str) -> String {
    format!("<p class=\"none\">{}</p>\n", escape(sentence))
}

/// Returns at most `limit` of the positions `0..n`, ascending: all when they fit, else a random subset fixed by `stream`.
/// A random subset, because rows come in the order of rounds and anchors, and every n-th row would pick always the same of them.
pub(super) fn thin(n: usize, limit: usize, stream: u32) -> Vec<usize> {
    if n <= limit {
        return (0..n).collect();
    }
    let mut random = crate::rng::Stream::new(0, "report/thin", stream, 0);
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
