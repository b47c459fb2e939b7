//! The escapes of protocol 0, in which strings are lines of text.

/// Returns the bytes that a quoted Python string stands for (the argument of `S`).
pub(super) fn unquote(line: &[u8]) -> Option<Vec<u8>> {
    let (quote, inner) = match line {
        [first @ (b'\'' | b'"'), inner @ .., last] if first == last => (*first, inner),
        _ => return None,
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            if byte == quote {
                return None;
            }
            out.push(byte);
            continue;
        }
        out.push(match bytes.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => hex(&mut bytes, 2)? as u8,
            same @ (b'\\' | b'\'' | b'"') => same,
            _ => return None,
        });
    }
    Some(out)
}

/// Returns the text of Python's raw-unicode-escape (the argument of `V`): Latin-1, `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn unescape(line: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(line.len());
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(char::from(byte));
            continue;
        }
        match bytes.clone().next() {
            Some(kind @ (b'u' | b'U')) => {
                bytes.next();
                let digits = if kind == b'u' { 4 } else { 8 };
                out.push(char::from_u32(hex(&mut bytes, digits)?)?);
            }
            _ => out.push('\\'),
        }
    }
    Some(out)
}

fn hex(bytes: &mut impl Iterator<Item = u8>, digits: usize) -> Option<u32> {
    (0..digits).try_fold(0_u32, |sum, _| {
        let digit = char::from(bytes.next()?).to_digit(16)?;
        Some(sum << 4 | digit)
    })
}
