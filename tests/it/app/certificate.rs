//! A certificate for this machine, of an authority that nobody else trusts.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Files.
pub(crate) struct Certificate {
    /// Of who signed it.
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Makes one in this folder.
    pub(crate) fn make(folder: &Path) -> Self {
        const MAKE: &str = "set -e; cd \"$0\"
            printf subjectAltName=DNS:localhost,IP:127.0.0.1 >names
            openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem
            openssl req -new -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem
            openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem";
        let made = Command::new("sh").args(["-c", MAKE]).arg(folder).output().expect("a shell");
        assert!(made.status.success(), "{made:?}");
        let [authority, certificate, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name));
        Self { authority, certificate, key }
    }
}
