//! Access to the clouds: what an address and the environment say of a bucket.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, Error, ObjectStore, ObjectStoreScheme, RetryConfig,
};

use super::bucket::Bucket;
use super::{ArchiveError, place};

/// The longest time of one request, which sends or receives a part at whatever speed the line has.
const REQUEST: &str = "300 seconds";

/// Opens the folder of a bucket that an address names. Nothing is asked of the bucket yet.
pub(super) fn open(address: &str) -> Result<Bucket, ArchiveError> {
    let wrong = |reason: String| ArchiveError::Place {
        place: address.to_owned(),
        reason,
    };
    let url = url::Url::parse(address).map_err(|error| wrong(error.to_string()))?;
    let (scheme, folder) = ObjectStoreScheme::parse(&url).map_err(|_| wrong(place::EXPECTED.to_owned()))?;
    let store = match scheme {
        ObjectStoreScheme::AmazonS3 => amazon(&url),
        ObjectStoreScheme::GoogleCloudStorage => google(&url),
        ObjectStoreScheme::MicrosoftAzure => azure(&url),
        _ => return Err(wrong(place::EXPECTED.to_owned())),
    };
    let store = store.map_err(|error| match error {
        Error::Generic { source, .. } => wrong(source.to_string()),
        error => wrong(error.to_string()),
    })?;
    Bucket::new(store, folder, address)
}

/// A request that fails is repeated for half a minute, at first after a tenth of a second.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            max_backoff: Duration::from_secs(3),
            ..BackoffConfig::default()
        },
        max_retries: usize::MAX,
        retry_timeout: Duration::from_secs(30),
    }
}

/// Builds the store of an address as the environment says. What asks for an endpoint without TLS gets it.
macro_rules! build {
    ($builder:ty, $key:ident, $url:expr, $($endpoint:ident),+) => {{
        let mut builder = <$builder>::from_env().with_url($url.as_str()).with_retry(retry());
        let timeout = $key::Client(ClientConfigKey::Timeout);
        let usual = ClientOptions::new().get_config_value(&ClientConfigKey::Timeout);
        if builder.get_config_value(&timeout) == usual {
            builder = builder.with_config(timeout, REQUEST);
        }
        for endpoint in [$(builder.get_config_value(&$key::$endpoint)),+].into_iter().flatten() {
            if is_plain(&endpoint)? {
                builder = builder.with_config($key::Client(ClientConfigKey::AllowHttp), "true");
            }
        }
        Ok(Arc::new(builder.build()?))
    }};
}

/// Says whether an endpoint is one without TLS; what is no endpoint is an error here, and a panic later.
fn is_plain(endpoint: &str) -> Result<bool, Error> {
    let wrong = || Error::Generic {
        store: "endpoint",
        source: format!("the endpoint `{endpoint}` is no address http://... or https://...").into(),
    };
    match url::Url::parse(endpoint).map_err(|_| wrong())?.scheme() {
        "http" => Ok(true),
        "https" => Ok(false),
        _ => Err(wrong()),
    }
}

type Store = Result<Arc<dyn ObjectStore>, Error>;

fn amazon(url: &url::Url) -> Store {
    build!(AmazonS3Builder, AmazonS3ConfigKey, url, Endpoint, S3Endpoint)
}

fn google(url: &url::Url) -> Store {
    build!(GoogleCloudStorageBuilder, GoogleConfigKey, url, BaseUrl)
}

fn azure(url: &url::Url) -> Store {
    build!(MicrosoftAzureBuilder, AzureConfigKey, url, Endpoint)
}
