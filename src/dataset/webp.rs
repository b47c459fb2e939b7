//! Whether a WebP file is whole, and one picture.

/// Checks the chunks of a file (RFC 9649): that they are all there, that it is no animation, and that the
/// picture in it is as large as its canvas, which is what memory is asked for by.
///
/// # Errors
/// Says what is not so.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let cut = || {
        format!(
            "it is cut: the file ends after {} bytes, within its picture",
            bytes.len()
        )
    };
    let size = number(bytes, 4, 4).ok_or_else(cut)?;
    let end = size
        .checked_add(8)
        .filter(|end| *end <= bytes.len())
        .ok_or_else(cut)?;
    let (mut at, mut canvas) = (12, None);
    while at + 8 <= end {
        let len = number(bytes, at + 4, 4).ok_or_else(cut)?;
        let body = bytes
            .get(at + 8..end)
            .and_then(|rest| rest.get(..len))
            .ok_or_else(cut)?;
        let found = match &bytes[at..at + 4] {
            b"ANIM" | b"ANMF" => return Err(ANIMATION.to_owned()),
            b"VP8X" => {
                if body.first().is_some_and(|flags| flags & 2 != 0) {
                    return Err(ANIMATION.to_owned());
                }
                let side = |at| number(body, at, 3).map(|side| side + 1);
                Some(side(4).zip(side(7)).ok_or_else(cut)?)
            }
            b"VP8 " => {
                let side = |at| number(body, at, 2).map(|side| side & 0x3fff);
                Some(side(6).zip(side(8)).ok_or_else(cut)?)
            }
            b"VP8L" => {
                let bits = number(body, 1, 4).ok_or_else(cut)?;
                Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
            }
            _ => None,
        };
        if let (Some(found), Some(canvas)) = (found, canvas)
            && found != canvas
        {
            return Err("its picture is of another size than its canvas".to_owned());
        }
        canvas = canvas.or(found);
        at += 8 + len + len % 2;
    }
    Ok(())
}

const ANIMATION: &str = "it is an animation, of which none is read: save one of its frames";

/// The little-endian number of `len` bytes at a place.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.get(..len)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |all, byte| all << 8 | usize::from(*byte)),
    )
}
