//! The command line: the only code that prints, sets an exit code or reads the environment. One file a
//! command, each with its arguments (whose doc comments are the help) and a `run`.

mod analyze;
mod attach;
mod bars;
mod board;
mod boot;
mod bundle;
mod codes;
mod complete;
mod completions;
mod config;
mod cp;
mod docs;
mod down;
mod error;
mod events;
mod exec;
mod explain;
mod file;
mod fix;
mod front;
mod graph;
mod help;
mod image;
mod images;
mod init;
mod inspect;
mod kill;
mod lines;
mod live;
mod lock;
mod logs;
mod machine;
mod man;
mod oci;
mod output;
mod phases;
mod plan;
mod port;
mod progress;
mod prune;
mod ps;
mod pull;
mod pulled;
mod registry;
pub mod report;
mod request;
mod restart;
mod rmi;
mod running;
mod schema;
mod screen;
mod secrets;
mod service;
mod signals;
mod start;
mod stats;
mod stop;
mod streams;
mod table;
mod target;
mod terminal;
mod top;
mod unused;
mod up;
mod validate;
mod volume;
mod wait;

use crate::state::store::Store;
use clap::{Args, FromArgMatches, Parser, Subcommand};
use error::CliError;
use output::Loudness;
use std::ffi::OsString;
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
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
struct Global {
    /// Directory for what stays: volumes, logs, what containers write
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/podspec")]
    #[arg(help_heading = "Global options")]
    root: PathBuf,
    /// Directory for the state of running pods
    #[arg(long, global = true, value_name = "DIR", default_value = "/run/podspec")]
    #[arg(help_heading = "Global options")]
    run: PathBuf,
    /// When to use colours; `auto` is on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    #[arg(help_heading = "Global options")]
    color: Color,
    /// Only results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    quiet: bool,
    /// Also each step and its time
    #[arg(long, global = true, help_heading = "Global options")]
    verbose: bool,
}

/// The commands: each its name, a variant, and the arguments of its module.
macro_rules! commands {
    ($($name:literal => $variant:ident($arguments:ty)),* $(,)?) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $(#[command(name = $name)] $variant($arguments)),*
        }

        impl Command {
            /// One command alone.
            fn named(name: &str) -> Option<clap::Command> {
                match name {
                    $($name => Some(<$arguments>::augment_args(clap::Command::new($name))),)*
                    _ => None,
                }
            }
        }
    };
}

commands! {
    "up" => Up(up::Up),
    "down" => Down(down::Down),
    "ps" => Ps(ps::Ps),
    "start" => Start(start::Start),
    "stop" => Stop(stop::Stop),
    "restart" => Restart(restart::Restart),
    "kill" => Kill(kill::Kill),
    "wait" => Wait(wait::Wait),
    "events" => Events(events::Events),
    "logs" => Logs(logs::Logs),
    "exec" => Exec(exec::Exec),
    "attach" => Attach(attach::Attach),
    "cp" => Cp(cp::Cp),
    "top" => Top(top::Top),
    "stats" => Stats(stats::Stats),
    "inspect" => Inspect(inspect::Inspect),
    "images" => Images(images::Images),
    "rmi" => Rmi(rmi::Rmi),
    "image" => Image(image::Image),
    "volume" => Volume(volume::Volume),
    "pull" => Pull(pull::Pull),
    "lock" => Lock(lock::Lock),
    "prune" => Prune(prune::Prune),
    "port" => Port(port::Port),
    "plan" => Plan(plan::Plan),
    "bundle" => Bundle(bundle::Bundle),
    "graph" => Graph(graph::Graph),
    "analyze" => Analyze(analyze::Analyze),
    "validate" => Validate(validate::Validate),
    "config" => Config(config::Config),
    "init" => Init(init::Init),
    "docs" => Docs(docs::Docs),
    "explain" => Explain(codes::Explain),
    "schema" => Schema(schema::Schema),
    "completions" => Completions(completions::Completions),
    "man" => Man(man::Man),
    "oci" => Oci(Box<oci::Oci>),
}

/// The whole program.
pub fn main() -> ExitCode {
    crate::sys::identity::keep_exit_codes();
    if std::env::args_os().nth(1).is_some_and(|word| word == crate::supervise::spawn::ARGUMENT) {
        return supervise();
    }
    if std::env::args_os().nth(1).is_some_and(|word| word == complete::ARGUMENT) {
        return complete::run();
    }
    if let Some(words) = oci::words() {
        return oci::alone(words);
    }
    let cli = parse();
    output::set(cli.global.loudness(), cli.global.color.choice());
    let store = match absolute(&cli.global) {
        Ok(store) => store,
        Err(error) => return error.report(),
    };
    if cli.command.uses_state() {
        boot::sweep(&store);
    }
    let result = match cli.command {
        Command::Up(command) => command.run(&store),
        Command::Down(command) => command.run(&store),
        Command::Ps(command) => command.run(&store),
        Command::Start(command) => command.run(&store),
        Command::Stop(command) => command.run(&store),
        Command::Restart(command) => command.run(&store),
        Command::Kill(command) => command.run(&store),
        Command::Wait(command) => command.run(&store),
        Command::Events(command) => command.run(&store),
        Command::Logs(command) => command.run(&store),
        Command::Exec(command) => command.run(&store),
        Command::Attach(command) => command.run(&store),
        Command::Cp(command) => command.run(&store),
        Command::Top(command) => command.run(&store),
        Command::Stats(command) => command.run(&store),
        Command::Inspect(command) => command.run(&store),
        Command::Images(command) => command.run(&store),
        Command::Rmi(command) => command.run(&store),
        Command::Image(command) => command.run(&store),
        Command::Volume(command) => command.run(&store),
        Command::Pull(command) => command.run(&store),
        Command::Lock(command) => command.run(),
        Command::Prune(command) => command.run(&store),
        Command::Port(command) => command.run(&store),
        Command::Plan(command) => command.run(&store),
        Command::Bundle(command) => command.run(&store),
        Command::Graph(command) => command.run(),
        Command::Analyze(command) => command.run(&store),
        Command::Validate(command) => command.run(),
        Command::Config(command) => command.run(),
        Command::Init(command) => command.run(),
        Command::Docs(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Schema(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
        Command::Oci(command) => return command.run(),
    };
    result.unwrap_or_else(|error| error.report())
}

/// The arguments; wrong ones end the program here. How that is coloured is itself an argument.
fn parse() -> Cli {
    let words: Vec<OsString> = std::env::args_os().take_while(|word| word != "--").collect();
    let says = |when: &str| {
        words.iter().any(|word| *word == *format!("--color={when}"))
            || words.windows(2).any(|pair| pair[0] == "--color" && pair[1] == when)
    };
    let color = match (says("always"), says("never")) {
        (true, false) => clap::ColorChoice::Always,
        (false, true) => clap::ColorChoice::Never,
        _ => clap::ColorChoice::Auto,
    };
    if let Some(cli) = parse_named(&words) {
        return cli;
    }
    let command = help::command().color(color);
    let words = help::asked_by_name(std::env::args_os().collect());
    let parsed = command.clone().try_get_matches_from(&words);
    let parsed = parsed.and_then(|found| Cli::from_arg_matches(&found));
    parsed.unwrap_or_else(|error| {
        // Clap repeats what is wrong as it is, and that may be a name that somebody else chose.
        let words = words.iter().map(|word| output::sanitize(&word.to_string_lossy()));
        command.try_get_matches_from(words).err().unwrap_or(error).exit()
    })
}

/// By a tree of those commands alone whose names are among the words: all of them take longer to build than most take
/// to run. What is wrong, or asks for help, is said by the whole tree.
fn parse_named(words: &[OsString]) -> Option<Cli> {
    let mut tree = Global::augment_args(clap::Command::new("podspec")).subcommand_required(true);
    for word in words.iter().skip(1) {
        if let Some(command) = word.to_str().and_then(Command::named)
            && tree.find_subcommand(command.get_name()).is_none()
        {
            tree = tree.subcommand(command);
        }
    }
    tree.has_subcommands().then(|| Cli::from_arg_matches(&tree.try_get_matches().ok()?).ok())?
}

/// The other life of this program. It has no terminal: what goes wrong goes to its clients, or nowhere.
fn supervise() -> ExitCode {
    let Ok(inherited) = crate::supervise::spawn::inherited() else {
        // A user who tries the hidden word; nothing is touched.
        return ExitCode::from(2);
    };
    match crate::supervise::main(inherited) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn absolute(global: &Global) -> Result<Store, CliError> {
    let absolute = |path: &PathBuf| {
        std::path::absolute(path)
            .map_err(|error| CliError::usage(format!("{}: {error}", path.display())))
    };
    Ok(Store { run: absolute(&global.run)?, data: absolute(&global.root)? })
}

impl Command {
    /// Whether it works with pods, and not with files alone.
    fn uses_state(&self) -> bool {
        use Command::{Bundle, Completions, Graph, Lock, Man, Oci, Plan, Schema, Validate};
        !matches!(
            self,
            Plan(_)
                | Bundle(_)
                | Graph(_)
                | Validate(_)
                | Lock(_)
                | Schema(_)
                | Completions(_)
                | Man(_)
                | Oci(_)
        )
    }
}

impl Global {
    fn loudness(&self) -> Loudness {
        match (self.quiet, self.verbose) {
            (true, _) => Loudness::Quiet,
            (_, true) => Loudness::Verbose,
            _ => Loudness::Normal,
        }
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    fn choice(self) -> anstream::ColorChoice {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
    }
}

/// How a command reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    // Not doc comments: clap would make a page of the two.
    Human,
    Json,
}
