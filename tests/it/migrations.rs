//! Migrations are immutable once released: a change of the tables is a new file, and a new line here.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

/// The files of `migrations/sqlite` and the SHA-256 of each. A line here is never changed.
const RELEASED: &[(&str, &str)] = &[
    ("0001_accounts.sql", "afa02d0a8112f3412a9255ac7f669fc38df9c353ec7b8ced94b5fdb907707c6f"),
    ("0002_messages.sql", "83318f9c952a5bd9264ede883443d41d31bdb2e26fd8ce1945a681c3de3de1ad"),
    ("0003_automation.sql", "bd23bdd0568d629709b97d336142a7e049b87208cb8c52d43e34912bb760e3c4"),
];

#[test]
fn released_migrations_are_as_they_were_and_every_file_is_listed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let found: BTreeMap<String, String> = files
        .map(|file| {
            let digest = Sha256::digest(std::fs::read(file.path()).unwrap());
            let hex = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            (file.file_name().into_string().unwrap(), hex)
        })
        .collect();
    let released = RELEASED.iter().map(|(name, hash)| ((*name).to_owned(), (*hash).to_owned()));
    assert_eq!(found, released.collect(), "make a new migration instead of changing one");
}
