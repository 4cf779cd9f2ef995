//! Signals by name and by number.

use super::problem::did_you_mean;

const SIGNALS: [(&str, i32); 30] = [
    ("SIGHUP", libc::SIGHUP),
    ("SIGINT", libc::SIGINT),
    ("SIGQUIT", libc::SIGQUIT),
    ("SIGILL", libc::SIGILL),
    ("SIGTRAP", libc::SIGTRAP),
    ("SIGABRT", libc::SIGABRT),
    ("SIGBUS", libc::SIGBUS),
    ("SIGFPE", libc::SIGFPE),
    ("SIGKILL", libc::SIGKILL),
    ("SIGUSR1", libc::SIGUSR1),
    ("SIGSEGV", libc::SIGSEGV),
    ("SIGUSR2", libc::SIGUSR2),
    ("SIGPIPE", libc::SIGPIPE),
    ("SIGALRM", libc::SIGALRM),
    ("SIGTERM", libc::SIGTERM),
    ("SIGCHLD", libc::SIGCHLD),
    ("SIGCONT", libc::SIGCONT),
    ("SIGSTOP", libc::SIGSTOP),
    ("SIGTSTP", libc::SIGTSTP),
    ("SIGTTIN", libc::SIGTTIN),
    ("SIGTTOU", libc::SIGTTOU),
    ("SIGURG", libc::SIGURG),
    ("SIGXCPU", libc::SIGXCPU),
    ("SIGXFSZ", libc::SIGXFSZ),
    ("SIGVTALRM", libc::SIGVTALRM),
    ("SIGPROF", libc::SIGPROF),
    ("SIGWINCH", libc::SIGWINCH),
    ("SIGIO", libc::SIGIO),
    ("SIGPWR", libc::SIGPWR),
    ("SIGSYS", libc::SIGSYS),
];

/// The name that was probably meant.
pub fn near(word: &str) -> Option<String> {
    let word = word.to_uppercase();
    let bare = |name: &'static str| name.trim_start_matches("SIG");
    match word.starts_with("SI") {
        true => did_you_mean(&word, SIGNALS.iter().map(|(name, _)| *name)),
        false => did_you_mean(&word, SIGNALS.iter().map(|(name, _)| bare(name))),
    }
}

/// As `signal` reads it: by name, where it has one.
pub fn name(number: i32) -> String {
    let known = SIGNALS.iter().find(|(_, known)| *known == number);
    known.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

/// `SIGTERM`, `term`, `15`, `RTMIN+3`.
pub fn signal(word: &str) -> Option<i32> {
    if word.bytes().all(|b| b.is_ascii_digit()) {
        return word.parse().ok().filter(|number| (1..=64).contains(number));
    }
    let upper = word.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |text: &str, sign: char| match text.strip_prefix(sign) {
        Some(digits) => digits.parse::<u8>().ok().map(i32::from),
        None => text.is_empty().then_some(0),
    };
    let real_time = if let Some(rest) = bare.strip_prefix("RTMIN") {
        // glibc keeps the first two of the kernel's 32 to 64.
        Some(34 + offset(rest, '+')?)
    } else if let Some(rest) = bare.strip_prefix("RTMAX") {
        Some(64 - offset(rest, '-')?)
    } else {
        None
    };
    if let Some(number) = real_time {
        return (34..=64).contains(&number).then_some(number);
    }
    SIGNALS
        .iter()
        .find(|(name, _)| name.strip_prefix("SIG") == Some(bare))
        .map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (word, number) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("15", 15),
            ("SigUsr1", 10),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("64", 64),
        ] {
            assert_eq!(signal(word), Some(number), "{word}");
        }
        for word in ["", "0", "65", "SIG", "SIGSIGTERM", "RTMIN+99", "TERMINATE", "-1"] {
            assert_eq!(signal(word), None, "{word}");
        }
    }
}
