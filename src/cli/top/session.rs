//! The terminal while it is ours: the other screen, every key as it is typed, pasted text known as such. It is
//! given back however we leave, in the end or for a while: by a key, a signal, an error, a panic.

use crate::cli::error::CliError;
use crate::cli::signals;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::unistd::Pid;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, DisableBracketedPaste, EnableBracketedPaste, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use rustix::termios::{QueueSelector, tcflush};
use std::io::{self, BufWriter, Stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What would end, stop or wake us is read; so is a change of the terminal's size.
const OURS: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGTSTP,
    Signal::SIGCONT,
    Signal::SIGWINCH,
];
/// More than a screen takes: one write, and no half of a picture.
const BUFFER: usize = 64 << 10;

/// Whether the terminal is ours now, for a panic, which knows nothing of sessions.
static IS_OURS: AtomicBool = AtomicBool::new(false);

pub(super) struct Session {
    pub(super) terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    pub(super) signals: SignalFd,
}

impl Session {
    pub(super) fn enter() -> Result<Self, CliError> {
        let failed =
            |error: io::Error| CliError::host("cannot take the terminal as a screen", &error);
        static HOOK: Once = Once::new();
        HOOK.call_once(restore_on_panic);
        let signals = signals::take(&OURS).map_err(failed)?;
        take().map_err(failed)?;
        let backend = CrosstermBackend::new(BufWriter::with_capacity(BUFFER, io::stdout()));
        match Terminal::new(backend) {
            Ok(terminal) => Ok(Self { terminal, signals }),
            Err(error) => {
                give_back();
                Err(failed(error))
            }
        }
    }

    /// What was typed, without waiting for more.
    pub(super) fn typed(&self) -> io::Result<Option<Event>> {
        if event::poll(Duration::ZERO)? { event::read().map(Some) } else { Ok(None) }
    }

    /// Does something on the terminal as it was before us.
    pub(super) fn aside<T>(&mut self, work: impl FnOnce() -> T) -> Result<T, CliError> {
        give_back();
        let ours: SigSet = OURS.into_iter().collect();
        // Whatever it starts is to end by its signals, and so are we meanwhile.
        let _ = ours.thread_unblock();
        let done = work();
        let _ = ours.thread_block();
        self.take_again()?;
        Ok(done)
    }

    /// As a terminal does with Ctrl-Z: all of our process group stops, until it is in front again.
    pub(super) fn suspend(&mut self) -> Result<(), CliError> {
        self.aside(|| {
            // Where nobody could wake us, the kernel does not stop us.
            let _ = kill(Pid::from_raw(0), Signal::SIGTSTP);
        })
    }

    /// Somebody else had the terminal meanwhile.
    pub(super) fn take_again(&mut self) -> Result<(), CliError> {
        let again = || -> io::Result<()> {
            // Given back first: what is set on top of ours would count as what it was before us.
            give_back();
            take()
        };
        again()
            .and_then(|()| self.terminal.clear())
            .map_err(|error| CliError::host("cannot take the terminal again", &error))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        give_back();
        let ours: SigSet = OURS.into_iter().collect();
        let _ = ours.thread_unblock();
    }
}

fn take() -> io::Result<()> {
    // What was typed before was meant for somebody else, such as a shell that has ended meanwhile.
    let _ = tcflush(io::stdin(), QueueSelector::IFlush);
    IS_OURS.store(true, Ordering::Relaxed);
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste)
}

/// A terminal that is gone needs nothing.
fn give_back() {
    if IS_OURS.swap(false, Ordering::Relaxed) {
        let _ = execute!(io::stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// A panic aborts where it is built so, and nothing is dropped then; what it says is to be read.
fn restore_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        give_back();
        before(panic);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::pty::{Winsize, openpty};
    use rustix::termios::tcgetattr;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn what_a_panic_says_is_read_on_the_terminal_as_it_was() {
        // Set by this test for itself, on a terminal of its own.
        const INSIDE: &str = "PODSPEC_TEST_PANICS";
        if std::env::var_os(INSIDE).is_some() {
            let _session = Session::enter().unwrap();
            panic!("a deliberate one");
        }
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let modes = || {
            let modes = tcgetattr(&pty.slave).unwrap();
            (modes.input_modes, modes.output_modes, modes.control_modes, modes.local_modes)
        };
        let before = modes();
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        let name = concat!(
            "cli::top::session::tests::",
            "what_a_panic_says_is_read_on_the_terminal_as_it_was"
        );
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .env_remove("RUST_BACKTRACE");
        let status = command.stdin(slave()).stdout(slave()).stderr(slave()).status().unwrap();
        drop(command);
        assert!(!status.success());
        assert_eq!(modes(), before);
        drop(pty.slave);
        let mut said = Vec::new();
        // The end of a terminal that nobody has open is EIO.
        let _ = std::fs::File::from(pty.master).read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        let (screen, after) = said.split_once("\u{1b}[?1049l").unwrap_or_else(|| panic!("{said}"));
        assert!(screen.contains("\u{1b}[?1049h"), "{said}");
        assert!(after.contains("a deliberate one") && !screen.contains("deliberate"), "{said}");
    }
}
