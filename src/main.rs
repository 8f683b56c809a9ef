//! The `parlor` program: reads the command line, does what it says, and says why not.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use parlor::cli::{Cli, worker};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A worker confines itself before it has threads or descriptors to confine.
    let done = match cli.worker() {
        Some(args) => worker::run(args),
        None => actix_web::rt::System::new().block_on(cli.run()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody to tell is no reason to panic.
            let _ = writeln!(std::io::stderr(), "parlor: {error:#}");
            ExitCode::FAILURE
        }
    }
}
