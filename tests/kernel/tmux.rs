//! A user in a real terminal, tmux, whose screen can be read: a shell with job control, keys, sizes.

use crate::host::{Host, wait_some};
use std::path::PathBuf;
use std::process::Command;

pub struct Tmux<'a> {
    host: &'a Host,
    socket: PathBuf,
}

impl<'a> Tmux<'a> {
    /// A shell on a terminal of this size. `name` is no other's on this host.
    pub fn start(host: &'a Host, name: &str, width: u16, height: u16) -> Self {
        let tmux = Self { host, socket: host.dir.join(name) };
        let (width, height) = (width.to_string(), height.to_string());
        let shell = "exec env PS1='% ' bash --norc --noprofile -i";
        tmux.run(&["new-session", "-d", "-x", &width, "-y", &height, shell]);
        // A detached session has the size of no client, but that of its window.
        tmux.run(&["set-option", "-g", "status", "off"]);
        tmux.resize(width.parse().unwrap(), height.parse().unwrap());
        tmux.wait_line("%");
        // It tells the terminal a while later.
        tmux.line(&format!(
            "clear; until [ \"$(stty size)\" = '{height} {width}' ]; do :; done; echo so"
        ));
        tmux.wait_line("so");
        tmux
    }

    /// Runs podspec in the shell, with the host's directories.
    pub fn podspec(&self, words: &str) {
        let command = self.host.command(words.split(' '));
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let line: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
        // The screen is not to have the long line.
        self.host.file("run", format!("#!/bin/sh\nexec {}\n", line.join(" ")));
        let script = self.host.dir.join("run");
        self.host.sh(&format!("chmod +x {}", script.display())).success();
        // At once: what is waited for may stand on the screen since the last time.
        self.run(&["send-keys", "-R"]);
        self.line(&format!("clear; {}", script.display()));
    }

    fn run(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).args(["-f", "/dev/null"]).args(args);
        // tmux draws lines and signs where its user's language has them.
        command.env("LC_ALL", "C.UTF-8").env("SHELL", "/bin/bash").env_remove("TMUX");
        self.host.finish(self.host.start(&mut command)).success()
    }

    /// Keys by tmux's names: `j`, `Enter`, `C-c`.
    pub fn keys(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }

    /// Types a line into whatever reads it.
    pub fn line(&self, text: &str) {
        self.run(&["send-keys", "-l", text]);
        self.keys(&["Enter"]);
    }

    pub fn resize(&self, width: u16, height: u16) {
        self.run(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    /// What stands on the screen, line by line.
    pub fn screen(&self) -> String {
        self.run(&["capture-pane", "-p"])
    }

    /// With the escapes of its colours.
    pub fn colored(&self) -> String {
        self.run(&["capture-pane", "-e", "-p"])
    }

    /// Whether anything on the screen has a colour; to be bold, faint or turned round is none.
    pub fn has_colors(&self) -> bool {
        let text = self.colored();
        let escapes = text.split("\u{1b}[").skip(1).filter_map(|rest| rest.split('m').next());
        let mut numbers = escapes.flat_map(|escape| escape.split(';')).flat_map(str::parse::<u8>);
        numbers.any(|number| matches!(number, 30..=38 | 40..=48 | 90..=107))
    }

    /// One of tmux's formats, such as `#{alternate_on}`.
    pub fn tells(&self, format: &str) -> String {
        self.run(&["display-message", "-p", format]).trim().to_owned()
    }

    /// Waits until the screen is as it should be, and gives it.
    #[track_caller]
    pub fn wait(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_some(what, || {
                last = self.screen();
                is_so(&last).then(|| last.clone())
            })
        }));
        found.unwrap_or_else(|_| panic!("waited in vain for {what} on\n{last}"))
    }

    #[track_caller]
    pub fn wait_text(&self, text: &str) -> String {
        self.wait(&format!("{text:?}"), |screen| screen.contains(text))
    }

    /// A line that is exactly this, such as a prompt.
    #[track_caller]
    pub fn wait_line(&self, line: &str) -> String {
        self.wait(&format!("the line {line:?}"), |screen| {
            screen.lines().any(|of_screen| of_screen.trim_end() == line)
        })
    }

    /// Ends the terminal and whatever runs on it.
    pub fn end(self) {
        self.run(&["kill-server"]);
    }
}
