//! A registry of the tests' own, which does whatever a test wants: a few lines of HTTP over a socket of loopback.

use super::source::Registry;
use super::{Client, Patience, Settings};
use crate::names::image::{ImageReference, RegistryReference};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub path: String,
    /// Names in small letters.
    headers: Vec<(String, String)>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first byte that is asked for.
    pub(super) fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// Serves until the test's process ends.
pub(super) struct Server {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// `answer` writes the whole answer; the connection is closed behind it. It is told how many came before.
    pub(super) fn start(
        answer: impl Fn(&Asked, usize, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1:0", answer)
    }

    pub(super) fn start_at(
        address: &str,
        answer: impl Fn(&Asked, usize, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || {
                    // Whoever tries TLS here hears that this is HTTP, and is not counted.
                    let Some(request) = read(&stream) else {
                        let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
                        return;
                    };
                    let before = {
                        let mut log = log.lock().unwrap();
                        log.push(request.clone());
                        log.len() - 1
                    };
                    // A client that has heard enough closes.
                    let _ = answer(&request, before, &mut stream);
                });
            }
        });
        Self { address, asked }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The image `a/b:c` of this registry.
    pub(super) fn image(&self, settings: Settings) -> Registry {
        let tries = settings.patience.tries;
        Registry::new(Client::new(settings), reference(&format!("{}/a/b:c", self.address)), tries)
    }
}

pub(super) fn reference(word: &str) -> RegistryReference {
    match word.parse().unwrap() {
        ImageReference::Registry(reference) => reference,
        other => panic!("{other:?}"),
    }
}

/// Nobody here is worth waiting for.
pub(super) fn impatient() -> Settings {
    let patience = Patience {
        connect: Duration::from_secs(2),
        // Also where the machine is busy.
        silence: Duration::from_secs(20),
        window: Duration::from_millis(200),
        tries: 3,
        pause: Duration::from_millis(1),
        longest_pause: Duration::from_secs(2),
    };
    Settings { patience, ..Settings::default() }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream).split(b'\n').map(|line| {
        String::from_utf8(line.unwrap_or_default()).unwrap_or_default().trim_end().to_owned()
    });
    let first = lines.next()?;
    let path = first.strip_prefix("GET ").or_else(|| first.strip_prefix("POST "))?;
    let path = path.split(' ').next()?.to_owned();
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some(Asked { path, headers: headers.collect() })
}

/// A whole answer.
pub(super) fn reply(
    to: &mut TcpStream,
    status: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<()> {
    head(to, status, headers, body.len())?;
    to.write_all(body)
}

/// The head of an answer, with what it promises.
pub(super) fn head(
    to: &mut TcpStream,
    status: &str,
    headers: &[(&str, &str)],
    length: usize,
) -> std::io::Result<()> {
    let mut text =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    to.write_all(text.as_bytes())
}
