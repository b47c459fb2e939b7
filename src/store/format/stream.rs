//! Arrow IPC streams whose messages say no more than is there: a length is checked before memory is asked
//! for.

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::root_as_message;

/// What begins a message, before its length.
const CONTINUATION: [u8; 4] = [0xFF; 4];

/// Returns the one batch of the stream that `bytes` begins with, whose columns stay where they are, and moves
/// on to what is behind it.
pub(super) fn read(bytes: &mut Buffer) -> Result<RecordBatch, ArrowError> {
    let length = length(bytes)?;
    let mut stream = bytes.slice_with_length(0, length);
    *bytes = bytes.slice(length);
    let mut decoder = StreamDecoder::new();
    let missing = || ArrowError::IpcError("it holds no record batch".to_owned());
    let batch = decoder.decode(&mut stream)?.ok_or_else(missing)?;
    match decoder.decode(&mut stream)? {
        None => Ok(batch),
        Some(_) => Err(ArrowError::IpcError("it holds two record batches".to_owned())),
    }
}

/// Returns how long the stream is that `bytes` begins with; refuses a message that is longer than what is
/// there of it.
fn length(bytes: &[u8]) -> Result<usize, ArrowError> {
    let short = || ArrowError::IpcError("a message is longer than the block".to_owned());
    let mut rest = bytes;
    // Eight messages are more than any block has: a schema, and a batch or two.
    for _ in 0..8 {
        let head = rest.strip_prefix(&CONTINUATION).unwrap_or(rest);
        let Some((length, head)) = head.split_first_chunk() else {
            return Ok(bytes.len());
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 {
            return Ok(bytes.len() - head.len());
        }
        let (head, body) = head.split_at_checked(length).ok_or_else(short)?;
        let message = root_as_message(head);
        let message = message.map_err(|error| ArrowError::IpcError(error.to_string()))?;
        let length = usize::try_from(message.bodyLength()).map_err(|_| short())?;
        (_, rest) = body.split_at_checked(length).ok_or_else(short)?;
    }
    Ok(bytes.len())
}
