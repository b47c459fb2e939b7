//! Where data sets lie that `export --to` writes and `import --from` reads.

use anyhow::Result;
use dream_ood::archive::{self, ArchiveError, Place};

use crate::session::Usage;

/// What is said of places below the help of both commands.
pub const HELP: &str = "\
Places: a folder; or, in a program that was built with the cargo feature `cloud`, s3://BUCKET/FOLDER (Amazon \
S3, MinIO, Ceph, R2, ...), gs://BUCKET/FOLDER or az://CONTAINER/FOLDER. Who asks, and where, is in the \
environment:
  s3  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION; AWS_ENDPOINT_URL where it is
      not Amazon; AWS_SKIP_SIGNATURE=true where anyone may read. Without keys, those of the machine or
      container. Of a profile: eval \"$(aws configure export-credentials --format env)\"
  gs  GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT, a file; else what `gcloud auth` left
  az  AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or `az login`'s
      AZURE_USE_AZURE_CLI=true
A request that fails is repeated for half a minute. Objects are made in the folder for temporary files \
(TMPDIR) before they are sent, and received there.";

/// Returns the place of that name. One that cannot be used is wrong usage.
pub fn open(name: &str) -> Result<Box<dyn Place>> {
    archive::open(name).map_err(|error| {
        let help = match error {
            ArchiveError::NoCloud { .. } => {
                "; `cargo install --locked --path tools --features cloud` builds a program that has it"
            }
            _ => "; `dream export --help` says more of places",
        };
        Usage(format!("{error}{help}")).into()
    })
}
