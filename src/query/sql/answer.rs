//! A query at work: on a thread of its own, whose stack is as large as the query is deep.
//!
//! Whoever takes the rows waits for them and can stop waiting at once, whatever the query engine is at.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::task::Poll;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::dataframe::DataFrame;
use datafusion::physical_plan::execute_stream;

use super::growth::Planned;
use super::{columns, message};
use crate::query::{QueryError, QueryOptions, Result, Rows};

/// The deepest query, in the levels that [`depth`](super::depth) counts.
const DEEPEST: usize = 40_000;

/// Stack of a query that is not nested.
const STACK: usize = 16 << 20;

/// Stack for each level. It is only reserved: what is not used takes no memory.
const STACK_OF_A_LEVEL: usize = 32 << 10;

/// How often whoever waits for rows looks whether they are still wanted.
const LOOK: Duration = Duration::from_millis(20);

/// A query that is understood.
pub(super) struct Question {
    pub(super) frame: DataFrame,
    /// The texts that it compares with ids of runs.
    pub(super) ids: BTreeSet<String>,
}

/// What the query's thread tells.
enum Told {
    Schema(SchemaRef, BTreeSet<String>),
    Batch(RecordBatch),
    Failed(QueryError),
}

/// Begins to execute the query that `question` understands, whose words nest `depth` deep, and returns its
/// rows.
pub(super) fn rows<F>(
    options: &QueryOptions,
    depth: usize,
    question: impl FnOnce(Planned) -> F + Send + 'static,
) -> Result<Rows>
where
    F: Future<Output = Result<Question>>,
{
    if depth > DEEPEST {
        return Err(QueryError::Depth {
            depth,
            deepest: DEEPEST,
        });
    }
    let (sender, told) = sync_channel(1);
    let unwanted = Arc::new(AtomicBool::new(false));
    let stop = unwanted.clone();
    let thread = Builder::new()
        .name("query".to_owned())
        .stack_size(STACK + depth * STACK_OF_A_LEVEL)
        .spawn(move || {
            if let Err(error) = execute(question, &sender, &stop) {
                // Nobody listens any more: then nobody misses it.
                let _ = sender.send(Told::Failed(error));
            }
        })
        .map_err(|source| QueryError::Thread { source })?;
    let mut answer = Answer {
        told,
        thread: Some(thread),
        unwanted,
        options: options.clone(),
    };
    match answer.wait()? {
        Some(Told::Schema(schema, ids)) => Ok(Rows::new(schema, options, answer).with_ids(ids)),
        Some(Told::Failed(error)) => Err(error),
        Some(Told::Batch(_)) | None => Err(QueryError::Engine),
    }
}

/// Plans and executes a query and sends its rows, until they are `unwanted`.
fn execute<F>(
    question: impl FnOnce(Planned) -> F,
    sender: &SyncSender<Told>,
    unwanted: &AtomicBool,
) -> Result<()>
where
    F: Future<Output = Result<Question>>,
{
    // Timers are not enabled: nothing here waits for a clock.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|source| QueryError::Thread { source })?;
    let (mut stream, ids) = runtime.block_on(async {
        let planned = Planned::default();
        let Question { frame, ids } = question(planned.clone()).await?;
        let plan = frame.create_physical_plan().await.map_err(message::error)?;
        planned.set();
        let stream = execute_stream(plan, Arc::new(frame.task_ctx())).map_err(message::error)?;
        Ok::<_, QueryError>((stream, ids))
    })?;
    let schema = columns::distinct(stream.schema());
    if sender.send(Told::Schema(schema.clone(), ids)).is_err() {
        return Ok(());
    }
    loop {
        // Operators that compute long give way now and then, and are polled again.
        let next = poll_fn(|context| match unwanted.load(Ordering::Relaxed) {
            true => Poll::Ready(None),
            false => stream.as_mut().poll_next(context),
        });
        match runtime.block_on(next).transpose().map_err(message::error)? {
            Some(batch) if batch.num_rows() == 0 => {}
            Some(batch) => {
                let rows = columns::called(&schema, batch)?;
                if sender.send(Told::Batch(rows)).is_err() {
                    return Ok(());
                }
            }
            None => return Ok(()),
        }
    }
}

/// The rows of a query that is being executed.
struct Answer {
    told: Receiver<Told>,
    /// None once it has ended, or is left to itself.
    thread: Option<JoinHandle<()>>,
    unwanted: Arc<AtomicBool>,
    options: QueryOptions,
}

impl Answer {
    /// Waits for what the thread tells next; none when it has ended.
    fn wait(&mut self) -> Result<Option<Told>> {
        loop {
            match self.told.recv_timeout(LOOK) {
                Ok(told) => return Ok(Some(told)),
                Err(RecvTimeoutError::Timeout) => {
                    if (self.options.cancelled)() {
                        self.unwanted.store(true, Ordering::Relaxed);
                        // It may be long in coming to where it looks.
                        self.thread = None;
                        return Err(QueryError::Interrupted);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return match self.thread.take().map(JoinHandle::join) {
                        Some(Err(_)) => Err(QueryError::Engine),
                        Some(Ok(())) | None => Ok(None),
                    };
                }
            }
        }
    }
}

impl Iterator for Answer {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.wait() {
            Ok(None) => None,
            Ok(Some(Told::Batch(batch))) => Some(Ok(batch)),
            Ok(Some(Told::Failed(error))) | Err(error) => Some(Err(error)),
            Ok(Some(Told::Schema(..))) => Some(Err(QueryError::Engine)),
        }
    }
}

impl Drop for Answer {
    /// Ends the thread, which holds a snapshot of the store.
    fn drop(&mut self) {
        self.unwanted.store(true, Ordering::Relaxed);
        let (_, closed) = sync_channel(1);
        drop(std::mem::replace(&mut self.told, closed));
        if let Some(thread) = self.thread.take() {
            // A panic has been told, or nobody waits for it any more.
            let _ = thread.join();
        }
    }
}
