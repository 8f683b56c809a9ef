//! The `parlor` program: reads the command line, does what it says, and says why not.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use parlor::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match actix_web::rt::System::new().block_on(cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody to tell is no reason to panic.
            let _ = writeln!(std::io::stderr(), "parlor: {error:#}");
            ExitCode::FAILURE
        }
    }
}
