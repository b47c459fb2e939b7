//! Buckets of Amazon S3 and what speaks its protocol, Google Cloud Storage, and containers of Azure.
//!
//! An object is made in a file of this machine and uploaded from there: in one request, or in parts that
//! become an object when the last of them is there. Either way nobody sees half of it.

use std::fs::{self, File};
use std::future::Future;
use std::io::{Cursor, Read, Write as _};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::{Path, PathPart};
use object_store::{Error, GetOptions, ObjectStore, ObjectStoreExt as _, PutPayload};
use tempfile::{NamedTempFile, TempDir};
use tokio::runtime::Runtime;

use super::ArchiveError;
use super::place::{Cancelled, Local, Place, Write};
use crate::exchange::{ExchangeError, Target};

/// Bytes of a request: S3 takes parts of 5 MiB at least.
const PART: u64 = 8 << 20;

/// Parts of an object: S3 takes 10,000.
const PARTS: u64 = 9_000;

/// Requests at a time.
const AT_ONCE: usize = 4;

/// How long a request is waited for between looks at whether the caller asked to stop.
const LOOK: Duration = Duration::from_millis(100);

/// How long the parts of an upload that was given up are tried to be removed.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// A folder in a bucket.
pub(super) struct Bucket {
    store: Arc<dyn ObjectStore>,
    folder: Path,
    shown: String,
    runtime: Runtime,
    /// Objects on their way.
    spool: TempDir,
}

impl Bucket {
    /// A folder of a store, which messages call `shown`.
    pub(super) fn new(store: Arc<dyn ObjectStore>, folder: Path, shown: &str) -> Result<Self, ArchiveError> {
        let io = |error| ExchangeError::io(&std::env::temp_dir())(error);
        Ok(Self {
            store,
            folder,
            shown: shown.trim_end_matches('/').to_owned(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(io)?,
            spool: tempfile::tempdir().map_err(io)?,
        })
    }

    fn path(&self, name: &str) -> Path {
        let below = name.split('/').map(PathPart::from);
        self.folder.parts().chain(below).collect()
    }

    /// Waits for what is asked of the bucket, or until the caller asks to stop.
    fn wait<T>(
        &self,
        cancelled: Cancelled<'_>,
        work: impl Future<Output = Result<T, ArchiveError>>,
    ) -> Result<T, ArchiveError> {
        self.runtime.block_on(async {
            let mut work = pin!(work);
            loop {
                match tokio::time::timeout(LOOK, work.as_mut()).await {
                    Ok(done) => return done,
                    Err(_) if cancelled() => return Err(ArchiveError::Interrupted),
                    Err(_) => {}
                }
            }
        })
    }

    /// Says what is wrong with the bucket. The crate tells few kinds of failures apart by type.
    fn wrong(&self, name: &str, error: &Error) -> ArchiveError {
        let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
        let deepest = causes.last().map(ToString::to_string).unwrap_or_default();
        let status = |code: &str| deepest.contains(&format!("status code: {code}"));
        let place = format!("{}/{name}", self.shown);
        let reason = reason(&deepest);
        match error {
            Error::NotFound { .. } => ArchiveError::NoBucket { place, reason },
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                ArchiveError::Denied { place, reason }
            }
            _ if status("404") => ArchiveError::NoBucket { place, reason },
            _ if status("401") || status("403") => ArchiveError::Denied { place, reason },
            _ => ArchiveError::Unreachable { place, reason },
        }
    }

    /// Uploads an object of `size` bytes.
    fn upload(
        &self,
        name: &str,
        bytes: &mut dyn Read,
        size: u64,
        cancelled: Cancelled<'_>,
    ) -> Result<(), ArchiveError> {
        let path = self.path(name);
        let wrong = |error: Error| self.wrong(name, &error);
        let part = PART.max(size.div_ceil(PARTS));
        let mut next = || {
            let mut bytes_of_part = Vec::new();
            let read = (&mut *bytes).take(part).read_to_end(&mut bytes_of_part);
            read.map_err(ExchangeError::io(self.spool.path()))?;
            Ok::<_, ArchiveError>(bytes_of_part)
        };
        if size <= part {
            let payload = PutPayload::from(next()?);
            return self.wait(cancelled, async {
                self.store.put(&path, payload).await.map_err(wrong)?;
                Ok(())
            });
        }
        let mut upload = self.wait(cancelled, async {
            self.store.put_multipart(&path).await.map_err(wrong)
        })?;
        let done = self.wait(cancelled, async {
            let mut under_way = FuturesUnordered::new();
            loop {
                let part = next()?;
                if part.is_empty() {
                    break;
                }
                if under_way.len() == AT_ONCE {
                    under_way.try_next().await.map_err(wrong)?;
                }
                under_way.push(upload.put_part(part.into()));
            }
            while under_way.try_next().await.map_err(wrong)?.is_some() {}
            upload.complete().await.map_err(wrong)?;
            Ok(())
        });
        if done.is_err() {
            // The first error is the one to tell; parts that stay are no object, and a bucket can be told to
            // remove them after some days.
            let clean_up = async { tokio::time::timeout(CLEAN_UP, upload.abort()).await };
            let _ = self.runtime.block_on(clean_up);
        }
        done
    }

    /// Writes the bytes of an object to `to`; returns whether it is there.
    fn download(
        &self,
        name: &str,
        to: &mut dyn std::io::Write,
        cancelled: Cancelled<'_>,
    ) -> Result<bool, ArchiveError> {
        let path = self.path(name);
        let wrong = |error: Error| self.wrong(name, &error);
        let io = |error| ArchiveError::from(ExchangeError::io(self.spool.path())(error));
        self.wait(cancelled, async {
            let whole = match self.store.get(&path).await {
                Ok(whole) => whole,
                Err(Error::NotFound { .. }) => return Ok(false),
                Err(error) => return Err(wrong(error)),
            };
            if whole.meta.size <= PART {
                let bytes = whole.bytes().await.map_err(wrong)?;
                to.write_all(&bytes).map_err(io)?;
                return Ok(true);
            }
            let (size, tag) = (whole.meta.size, whole.meta.e_tag.clone());
            drop(whole);
            let parts = (0..size.div_ceil(PART)).map(|part| {
                let (from, end) = (part * PART, size.min((part + 1) * PART));
                let options = GetOptions {
                    range: Some((from..end).into()),
                    if_match: tag.clone(),
                    ..GetOptions::default()
                };
                let (store, path) = (&self.store, &path);
                async move { store.get_opts(path, options).await?.bytes().await }
            });
            let mut parts = stream::iter(parts).buffered(AT_ONCE);
            while let Some(bytes) = parts.try_next().await.map_err(wrong)? {
                to.write_all(&bytes).map_err(io)?;
            }
            Ok(true)
        })
    }
}

impl Place for Bucket {
    fn shown(&self) -> String {
        self.shown.clone()
    }

    fn write(&self, name: &str, cancelled: Cancelled<'_>, write: Write<'_>) -> Result<(), ArchiveError> {
        let path = self.spool.path().join("object");
        write(&Target::new(&path).overwrite(true))?;
        let io = |error| ExchangeError::io(&path)(error);
        let mut file = File::open(&path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let done = self.upload(name, &mut file, size, cancelled);
        fs::remove_file(&path).map_err(io)?;
        done
    }

    fn put(&self, name: &str, bytes: &[u8], cancelled: Cancelled<'_>) -> Result<(), ArchiveError> {
        self.upload(name, &mut Cursor::new(bytes), bytes.len() as u64, cancelled)
    }

    fn has(&self, name: &str, cancelled: Cancelled<'_>) -> Result<bool, ArchiveError> {
        self.wait(cancelled, async {
            match self.store.head(&self.path(name)).await {
                Ok(_) => Ok(true),
                Err(Error::NotFound { .. }) => Ok(false),
                Err(error) => Err(self.wrong(name, &error)),
            }
        })
    }

    fn bytes(&self, name: &str, cancelled: Cancelled<'_>) -> Result<Option<Vec<u8>>, ArchiveError> {
        let mut bytes = Vec::new();
        let there = self.download(name, &mut bytes, cancelled)?;
        Ok(there.then_some(bytes))
    }

    fn read(&self, name: &str, cancelled: Cancelled<'_>) -> Result<Option<Local>, ArchiveError> {
        let mut file = NamedTempFile::new_in(&self.spool).map_err(ExchangeError::io(self.spool.path()))?;
        let there = self.download(name, &mut file, cancelled)?;
        file.flush().map_err(ExchangeError::io(file.path()))?;
        Ok(there.then(|| Local::Fetched(file.into_temp_path())))
    }

    fn list(&self, folder: &str, cancelled: Cancelled<'_>) -> Result<Vec<String>, ArchiveError> {
        let below = self.path(folder);
        let found = self.store.list(Some(&below)).try_collect::<Vec<_>>();
        let found = self.wait(cancelled, async {
            found.await.map_err(|error| self.wrong(folder, &error))
        })?;
        let name = |path: &Path| {
            let parts = path.prefix_match(&self.folder)?;
            let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
            let hidden = parts.iter().any(|part| part.starts_with('.'));
            (!hidden).then(|| parts.join("/"))
        };
        let mut names: Vec<String> = found.iter().filter_map(|object| name(&object.location)).collect();
        names.sort_unstable();
        Ok(names)
    }
}

/// What a service says of a failure: the code and message of its answer in XML, else the text itself.
fn reason(text: &str) -> String {
    let tag = |name: &str| {
        let (_, after) = text.split_once(&format!("<{name}>"))?;
        after.split_once("</").map(|(inside, _)| inside.trim())
    };
    match (tag("Code"), tag("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => text
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(300)
            .collect(),
    }
}
