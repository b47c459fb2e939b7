//! The end of a tar: blocks of zeros behind its last member, and nothing more. Readers end with them, or with
//! the file, and so would take a part of an archive for all of it.

use std::io::{self, Read};

/// Bytes of a block (POSIX.1-1988, ustar).
const BLOCK: u64 = 512;

/// Returns where the next header begins behind a member of `size` bytes at `start`.
pub(super) fn behind(start: u64, size: u64) -> u64 {
    start.saturating_add(size).div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// Checks what comes behind the last member.
///
/// # Errors
/// If it cannot be read; the inner one says how it is no end.
pub(super) fn check(rest: impl Read) -> io::Result<Result<(), String>> {
    let mut rest = io::BufReader::new(rest);
    let (mut zeros, mut block) = (0_u64, [0; BLOCK as usize]);
    loop {
        let count = rest.read(&mut block)?;
        if count == 0 {
            break;
        }
        if block[..count].iter().any(|byte| *byte != 0) {
            return Ok(Err(format!(
                "behind its end at {zeros} bytes of zeros there is more, which is not read: archives put \
                 behind each other (`tar -x --ignore-zeros` unpacks them), or a damaged one"
            )));
        }
        zeros += count as u64;
    }
    Ok(match zeros {
        0..BLOCK => Err("it has no end mark behind its last member: it is cut".to_owned()),
        _ => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_zeros_and_nothing_more() {
        let check = |bytes: &[u8]| check(bytes).unwrap();
        assert_eq!(
            (behind(512, 0), behind(512, 1), behind(512, 512)),
            (512, 1024, 1024)
        );
        assert_eq!(check(&[0; 1024]), Ok(()));
        assert_eq!(check(&[0; 10240]), Ok(()));
        for cut in [0, 511] {
            assert!(check(&vec![0; cut]).unwrap_err().contains("it is cut"), "{cut}");
        }
        let more = [&[0; 1024][..], b"more"].concat();
        assert!(check(&more).unwrap_err().contains("not read"));
    }
}
