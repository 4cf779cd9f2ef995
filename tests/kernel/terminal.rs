//! A user at a terminal: podspec on a pty that controls its session, what it wrote, and keys.

use crate::host::{Host, Outcome};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub struct Terminal {
    child: Option<Child>,
    master: File,
    /// Our copy of the side that podspec has: with it open the settings outlive podspec.
    slave: OwnedFd,
    output: Arc<Mutex<Vec<u8>>>,
    before: Termios,
}

impl Terminal {
    /// Starts podspec; the terminal is 100 columns by 30 rows.
    pub fn start(host: &Host, args: &[&str]) -> Self {
        let pty = openpty(Some(&size(100, 30)), None).unwrap();
        let (master, slave) = (File::from(pty.master), pty.slave);
        let before = tcgetattr(&slave).unwrap();
        let podspec = host.command(args);
        // In a session of its own, whose terminal this is: Ctrl-C is a signal only then.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(podspec.get_program()).args(podspec.get_args());
        let stream = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(stream()).stdout(stream()).stderr(stream()).env("TERM", "xterm");
        let child = host.spawn(&mut command);
        let output = Arc::new(Mutex::new(Vec::new()));
        let (mut from, to) = (master.try_clone().unwrap(), output.clone());
        std::thread::spawn(move || {
            let mut bite = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut bite) {
                to.lock().unwrap().extend_from_slice(&bite[..read]);
            }
        });
        Self { child: Some(child), master, slave, output, before }
    }

    /// All that was written so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned()
    }

    pub fn keys(&mut self, keys: &[u8]) {
        self.master.write_all(keys).unwrap();
    }

    #[track_caller]
    pub fn wait_text(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(15);
        while !self.text().contains(text) {
            let late = Instant::now() >= deadline;
            assert!(
                !late,
                "waited in vain for {text:?} on the terminal, which has\n{}",
                self.text()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        let size =
            rustix::termios::Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.master, size).unwrap();
    }

    /// Waits for podspec's end: its code, and all that the terminal got.
    pub fn end(&mut self, host: &Host) -> Outcome {
        let mut outcome = host.finish(self.child.take().unwrap());
        // What we write after it comes after all that it wrote.
        const MARK: &str = "<the end>";
        nix::unistd::write(&self.slave, MARK.as_bytes()).unwrap();
        self.wait_text(MARK);
        outcome.stdout = self.text().replace(MARK, "");
        outcome
    }

    /// Whether the terminal is as it was: echo, lines, signals.
    pub fn is_restored(&self) -> bool {
        tcgetattr(&self.slave).unwrap() == self.before
    }
}

/// A test that fails must not wait for the host, which waits until somebody has reaped this one.
impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}
