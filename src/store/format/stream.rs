//! Arrow IPC streams whose messages say no more than is there: a length is checked before memory is asked
//! for.

use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::root_as_message;

/// What begins a message, before its length.
const CONTINUATION: [u8; 4] = [0xFF; 4];

/// Opens the stream that `bytes` begins with.
pub(super) fn open<'a, 'b>(bytes: &'a mut &'b [u8]) -> Result<StreamReader<&'a mut &'b [u8]>, ArrowError> {
    check(bytes)?;
    StreamReader::try_new(bytes, None)
}

/// Refuses a message that is longer than what is there of it.
pub(super) fn check(mut bytes: &[u8]) -> Result<(), ArrowError> {
    let short = || ArrowError::IpcError("a message is longer than the block".to_owned());
    // Eight messages are more than any block has: a schema, and a batch or two.
    for _ in 0..8 {
        let Some((length, rest)) = bytes
            .strip_prefix(&CONTINUATION)
            .unwrap_or(bytes)
            .split_first_chunk()
        else {
            return Ok(());
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 {
            return Ok(());
        }
        let (head, rest) = rest.split_at_checked(length).ok_or_else(short)?;
        let message = root_as_message(head);
        let message = message.map_err(|error| ArrowError::IpcError(error.to_string()))?;
        let body = usize::try_from(message.bodyLength()).map_err(|_| short())?;
        (_, bytes) = rest.split_at_checked(body).ok_or_else(short)?;
    }
    Ok(())
}
