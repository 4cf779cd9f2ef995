//! The command line: the only code that prints, sets an exit code or reads the environment. One file a
//! command, each with its arguments (whose doc comments are the help) and a `run`.

mod board;
mod completions;
mod down;
mod error;
mod exec;
mod explain;
mod file;
mod inspect;
mod live;
mod logs;
mod output;
mod plan;
mod port;
mod ps;
pub mod report;
mod running;
mod schema;
mod screen;
mod signals;
mod stats;
mod target;
mod top;
mod up;
mod validate;

use crate::state::store::Store;
use clap::{Parser, Subcommand};
use error::CliError;
use std::path::PathBuf;
use std::process::ExitCode;

/// A declarative pod runner: one file, one command, no daemon
#[derive(Debug, Parser)]
#[command(
    name = "podspec",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = "\
A first pod:
  podspec up -d examples/hello.yaml
  podspec ps
  podspec logs -f hello
  podspec down hello

`podspec COMMAND --help` has the options and examples of each."
)]
struct Cli {
    /// Directory for what stays: volumes, logs, what containers write
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/podspec")]
    #[arg(help_heading = "Global options")]
    root: PathBuf,
    /// Directory for the state of running pods
    #[arg(long, global = true, value_name = "DIR", default_value = "/run/podspec")]
    #[arg(help_heading = "Global options")]
    run: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Up),
    Down(down::Down),
    Ps(ps::Ps),
    Logs(logs::Logs),
    Exec(exec::Exec),
    Top(top::Top),
    Stats(stats::Stats),
    Inspect(inspect::Inspect),
    Port(port::Port),
    Plan(plan::Plan),
    Validate(validate::Validate),
    Schema(schema::Schema),
    Completions(completions::Completions),
}

/// The whole program.
pub fn main() -> ExitCode {
    crate::sys::identity::keep_exit_codes();
    if std::env::args_os().nth(1).is_some_and(|word| word == crate::supervise::spawn::ARGUMENT) {
        return supervise();
    }
    let cli = Cli::parse();
    let store = match absolute(&cli) {
        Ok(store) => store,
        Err(error) => return error.report(),
    };
    let result = match cli.command {
        Command::Up(command) => command.run(&store),
        Command::Down(command) => command.run(&store),
        Command::Ps(command) => command.run(&store),
        Command::Logs(command) => command.run(&store),
        Command::Exec(command) => command.run(&store),
        Command::Top(command) => command.run(&store),
        Command::Stats(command) => command.run(&store),
        Command::Inspect(command) => command.run(&store),
        Command::Port(command) => command.run(&store),
        Command::Plan(command) => command.run(&store),
        Command::Validate(command) => command.run(),
        Command::Schema(command) => command.run(),
        Command::Completions(command) => command.run(),
    };
    result.unwrap_or_else(|error| error.report())
}

/// The other life of this program. It has no terminal: what goes wrong goes to its clients, or nowhere.
fn supervise() -> ExitCode {
    let Ok(channel) = crate::supervise::spawn::channel() else {
        // A user who tries the hidden word; nothing is touched.
        return ExitCode::from(2);
    };
    match crate::supervise::main(channel) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn absolute(cli: &Cli) -> Result<Store, CliError> {
    let absolute = |path: &PathBuf| {
        std::path::absolute(path)
            .map_err(|error| CliError::usage(format!("{}: {error}", path.display())))
    };
    Ok(Store { run: absolute(&cli.run)?, data: absolute(&cli.root)? })
}

/// How a command reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    // Not doc comments: clap would make a page of the two.
    Human,
    Json,
}
