//! Sources of scripts in a store that speaks S3: moto, over real HTTP.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use object_store::ObjectStoreExt as _;
use object_store::aws::AmazonS3Builder;
use parlor::script::call::SourceHash;
use parlor::script::sources::{Error, Sources};

use crate::app::{Process, cache};

const SOURCE: &str = "function incoming(message) return { action = \"FORWARD\" } end -- é\n";

/// moto on a free port, with a bucket called `scripts`.
struct Moto {
    process: Process,
    url: String,
}

impl Moto {
    async fn start() -> Self {
        let mut command = Command::new(cache().join("python/bin/moto_server"));
        command.args(["-H", "127.0.0.1", "-p", "0"]);
        let process = Process::start(command);
        let line = process.log_line("Running on http://").await;
        let url = line.split_whitespace().last().unwrap().to_owned();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let made = client.put(format!("{url}/scripts")).send().await.unwrap();
        assert!(made.status().is_success(), "{made:?}");
        Self { process, url }
    }

    async fn overwrite(&self, object: &str, body: &'static str) {
        let set = |builder: AmazonS3Builder, (name, value): (String, String)| {
            builder.with_config(name.to_ascii_lowercase().parse().unwrap(), value)
        };
        let store = self.environment().into_iter().fold(AmazonS3Builder::new().with_bucket_name("scripts"), set);
        store.build().unwrap().put(&object.into(), body.into()).await.unwrap();
    }

    fn environment(&self) -> Vec<(String, String)> {
        let of = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let all = [
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", self.url.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
        ];
        all.into_iter().map(of).collect()
    }

    fn open(&self, url: &str) -> Sources {
        Sources::open_with(Some(url), Path::new("/nowhere"), self.environment()).unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.process.stop();
    }
}

#[tokio::test]
async fn a_source_lies_under_its_hash_and_what_was_changed_there_is_noticed() {
    let moto = Moto::start().await;
    let sources = moto.open("s3://scripts/of/parlor");
    let hash = SourceHash::of(SOURCE);
    assert!(matches!(sources.get(hash).await, Err(Error::Missing(_))));
    assert_eq!(sources.put(SOURCE).await.unwrap(), hash);
    assert_eq!(sources.put(SOURCE).await.unwrap(), hash);
    assert_eq!(&*sources.get(hash).await.unwrap(), SOURCE);
    assert_eq!(&*moto.open("s3://scripts/of/parlor/").get(hash).await.unwrap(), SOURCE, "another node");
    assert!(matches!(moto.open("s3://scripts").get(hash).await, Err(Error::Missing(_))), "another prefix");
    let object = format!("of/parlor/{}/{hash}.luau", &hash.to_string()[..2]);
    moto.overwrite(&object, "something else").await;
    assert!(matches!(sources.get(hash).await, Err(Error::Damaged(_))));
    sources.put(SOURCE).await.unwrap();
    assert_eq!(&*sources.get(hash).await.unwrap(), SOURCE);
}

#[tokio::test]
async fn a_store_that_says_no_or_nothing_is_an_error_soon() {
    let moto = Moto::start().await;
    assert!(matches!(moto.open("s3://nothing-here").put(SOURCE).await, Err(Error::Store(_))), "no such bucket");
    let sources = moto.open("s3://scripts");
    moto.process.stop();
    let began = Instant::now();
    assert!(matches!(sources.put(SOURCE).await, Err(Error::Store(_) | Error::Late)));
    assert!(began.elapsed() < Duration::from_secs(16), "{:?}", began.elapsed());
}
