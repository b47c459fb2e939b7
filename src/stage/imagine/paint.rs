//! Making the pictures of a run, batch by batch, on one device or on several at once.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{ScopedJoinHandle, scope};

use candle_core::{Device, Tensor};

use super::painter::{Painter, Wanted};
use crate::bitmap::Bitmap;
use crate::stage::{Context, StageError};

/// Pictures to be made, one by one.
pub(super) type Todo<'a, 'w> = dyn Iterator<Item = Result<Wanted<'w>, StageError>> + Send + 'a;

/// What the devices share of one run.
struct Common<'c, 'a, 'w> {
    todo: Mutex<&'c mut Todo<'a, 'w>>,
    /// Set once one of them has failed, so that the others begin nothing more.
    over: AtomicBool,
}

/// Makes all pictures: with the painter `first` in this thread, and with one that `load` brings on each
/// device beside it in a thread of its own. Each takes the next batch when it is done with one, so that a
/// slower device makes fewer.
pub(super) fn all(
    ctx: &Context<'_>,
    first: Painter,
    load: &(dyn Fn(&Context<'_>) -> Result<Painter, StageError> + Sync),
    todo: &mut Todo<'_, '_>,
) -> Result<(), StageError> {
    let common = &Common {
        todo: Mutex::new(todo),
        over: AtomicBool::new(false),
    };
    scope(|scope| {
        let beside = ctx.beside.iter().map(|engine| {
            let ctx = Context { engine, ..*ctx };
            scope.spawn(move || common.ending(load(&ctx).and_then(|painter| common.paint(&ctx, &painter))))
        });
        let beside: Vec<_> = beside.collect();
        let here = common.ending(common.paint(ctx, &first));
        let mut ends: Vec<_> = beside.into_iter().map(joined).collect();
        ends.push(here);
        // What failed says more than that the others were stopped.
        let (stopped, failed): (Vec<_>, Vec<_>) = ends
            .into_iter()
            .filter_map(Result::err)
            .partition(|error| matches!(error, StageError::Interrupted));
        failed.into_iter().chain(stopped).next().map_or(Ok(()), Err)
    })
}

impl<'w> Common<'_, '_, 'w> {
    /// Tells the others where this one has failed.
    fn ending(&self, result: Result<(), StageError>) -> Result<(), StageError> {
        if result.is_err() {
            self.over.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Takes what is to be made at once; nothing when there is no more.
    fn next(&self, count: usize) -> Result<Vec<Wanted<'w>>, StageError> {
        let mut todo = self.todo.lock().unwrap_or_else(PoisonError::into_inner);
        if self.over.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        (&mut **todo).take(count).collect()
    }

    /// Makes batches on one device. While one batch is made, the one before is compressed and committed.
    fn paint(&self, ctx: &Context<'_>, painter: &Painter) -> Result<(), StageError> {
        let store = |batch: Vec<Wanted<'_>>, latents: Tensor, pictures: Vec<Bitmap>| {
            let (latents, images) = painter.rows(&batch, &latents, &pictures)?;
            ctx.store
                .batch(painter.run().id)
                .add(&latents)?
                .add(&images)?
                .commit()?;
            ctx.progress.advance(batch.len() as u64);
            Ok::<_, StageError>(())
        };
        type Storing<'s> = Option<ScopedJoinHandle<'s, Result<(), StageError>>>;
        let stored = |storing: &mut Storing<'_>| storing.take().map_or(Ok(()), joined);
        scope(|scope| {
            let mut storing: Storing<'_> = None;
            loop {
                if ctx.progress.cancelled() {
                    // What is made is stored before.
                    stored(&mut storing)?;
                    return Err(StageError::Interrupted);
                }
                let batch = self.next(painter.sampling_batch())?;
                if batch.is_empty() {
                    return stored(&mut storing);
                }
                let latents = painter.sample(ctx, &batch)?;
                let pictures = painter.decode(&latents)?;
                // A GPU's work is all asked for from this thread.
                let latents = latents.to_device(&Device::Cpu)?;
                stored(&mut storing)?;
                let store = &store;
                storing = Some(scope.spawn(move || store(batch, latents, pictures)));
            }
        })
    }
}

fn joined(thread: ScopedJoinHandle<'_, Result<(), StageError>>) -> Result<(), StageError> {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use dream_schema::ClassEmbedding;

    use super::*;
    use crate::engine::Engine;
    use crate::stage::imagine::{Params, Vectors};
    use crate::stage::tests::several::asked;
    use crate::stage::tests::{Watch, in_context};
    use crate::stage::{Role, params, required_input};
    use crate::store::{Begun, Readable};

    #[test]
    fn a_device_that_fails_ends_the_work_of_the_others() {
        let (bench, spec) = asked();
        let watch = Watch::new(usize::MAX);
        in_context(&bench.store, &watch, |ctx| {
            let Begun::New(run) = bench.store.begin(&spec, &ctx.stamp()).unwrap() else {
                panic!("there is such a run")
            };
            let params: Params = params(&run).unwrap();
            let embeddings = required_input(&run, &Role::Embeddings).unwrap();
            let classes: Vec<ClassEmbedding> = bench.store.rows(embeddings, None).unwrap();
            let first = Painter::load(ctx, &run, &params, &classes).unwrap();
            let beside = &[Engine::default()];
            let mut vectors = Vectors::new(&bench.store, &run, &params, &classes);
            let begun = AtomicBool::new(false);
            let mut todo = (0..1000).map(|index| {
                begun.store(true, Ordering::SeqCst);
                let vector = vectors.of(&classes[0], index)?;
                Ok(Wanted {
                    class: &classes[0],
                    index,
                    vector,
                })
            });
            let load = |_: &Context<'_>| {
                while !begun.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                Err(StageError::Mismatch("no room on the device".into()))
            };
            let ctx = Context { beside, ..*ctx };
            let said = all(&ctx, first, &load, &mut todo).unwrap_err();
            assert!(said.to_string().contains("no room"), "{said}");
            let made = bench.store.count(run.id, dream_schema::Table::Images).unwrap();
            assert!((1..1000).contains(&made), "{made}"); // what was in hand is kept
        });
    }
}
