//! `parlor worker`: hosts script engines for the server that started it. Not for people.

use std::path::PathBuf;

use clap::Args;
use nix::unistd::Uid;

use crate::script::confine::{self, CALLS_BESIDE_JAVA, Keeping};
use crate::script::jolie::{Jolie, home::Home, jvm, jvm::Jvm};
use crate::script::luau::Luau;
use crate::script::worker;

/// What `parlor worker` can be told.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Confine this process, try this, and say whether it was stopped
    #[arg(long)]
    attempt: Option<confine::attempt::Attempt>,
    /// Host the interpreter of Jolie in this folder
    #[arg(long, value_name = "FOLDER")]
    jolie: Option<PathBuf>,
    /// Become its Java
    #[arg(long, value_name = "FOLDER")]
    java: Option<PathBuf>,
    /// Memory of Java, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 128 * 1024 * 1024)]
    memory: u64,
    /// This process is in namespaces of its own
    #[arg(long)]
    isolated: bool,
    /// The server is root's
    #[arg(long)]
    as_root: bool,
}

/// Confines this process and answers its standard input until that ends.
///
/// # Errors
/// In words: the other end does not speak as it should, or is gone.
pub fn run(args: &WorkerArgs) -> anyhow::Result<()> {
    if let Some(home) = &args.java {
        return jvm::become_java(home, args.isolated, args.as_root, args.memory);
    }
    let root = Uid::effective().is_root();
    if let Some(home) = &args.jolie {
        let home = Home::open(home).map_err(anyhow::Error::msg)?;
        let (jvm, of_java) = Jvm::launch(&home, args.memory).map_err(anyhow::Error::msg)?;
        let descriptors = jvm.descriptors();
        let keeping = Keeping { descriptors: &descriptors, calls: CALLS_BESIDE_JAVA, signals: true };
        let mut confined = confine::confine(root, keeping);
        confined.confinement = confined.confinement.and(of_java);
        return Ok(worker::serve(confined, |limits| Ok(Jolie::new(jvm, limits)))?);
    }
    let confined = confine::confine(root, Keeping::default());
    match args.attempt {
        Some(attempt) => anyhow::bail!("not stopped: {}", attempt.make()),
        None => Ok(worker::serve(confined, Luau::new)?),
    }
}
