//! As much of HTTP/1.1 as a probe needs: one GET over a connection that is there, and the status of the
//! answer. Nothing is followed anywhere, and what is read is bounded.

use indexmap::IndexMap;
use std::io::{self, Read, Write};

/// The head of an answer that is longer is none.
const LONGEST_LINE: usize = 4 * 1024;
/// Interim answers (100, 103) and the head of the real one are within this.
const MOST: usize = 64 * 1024;

/// A request, and as much of its answer as has come.
#[derive(Debug)]
pub struct Exchange {
    unsent: Vec<u8>,
    received: Vec<u8>,
    taken: usize,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Status(u16),
    /// It waits for more room, or for more of the answer.
    NotYet,
    /// What was heard is no answer of HTTP.
    Nonsense(&'static str),
}

impl Exchange {
    pub fn get(port: u16, path: &str, headers: &IndexMap<String, String>) -> Self {
        let mut text = format!("GET {path} HTTP/1.1\r\n");
        let agent = concat!("podspec/", env!("CARGO_PKG_VERSION"));
        let defaults = [
            ("Host", format!("localhost:{port}")),
            ("User-Agent", agent.to_owned()),
            ("Accept", "*/*".to_owned()),
            ("Connection", "close".to_owned()),
        ];
        let given = |name: &str| headers.keys().any(|key| key.eq_ignore_ascii_case(name));
        for (name, value) in defaults.iter().filter(|(name, _)| !given(name)) {
            text += &format!("{name}: {value}\r\n");
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        Self { unsent: text.into_bytes(), received: Vec::new(), taken: 0 }
    }

    /// Sends and reads what can be now. The stream does not block.
    pub fn go_on(&mut self, mut stream: impl Read + Write) -> io::Result<Heard> {
        while !self.unsent.is_empty() {
            match stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                // Nothing is read before all is sent: a handshake of TLS is this side's to go on with.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Heard::NotYet);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_of_tls(&error) => return Err(error),
                // It may have answered all the same, and closed.
                Err(_) => self.unsent.clear(),
            }
        }
        let mut bite = [0; 4096];
        loop {
            match stream.read(&mut bite) {
                Ok(0) => return Ok(Heard::Nonsense("closed without an answer")),
                Ok(read) => {
                    self.taken += read;
                    self.received.extend_from_slice(&bite[..read]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Heard::NotYet);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(Heard::Nonsense("reset without an answer"));
                }
                Err(error) => return Err(error),
            }
            match self.parse() {
                Heard::NotYet if self.taken > MOST => {
                    return Ok(Heard::Nonsense("its head has no end"));
                }
                Heard::NotYet => {}
                heard => return Ok(heard),
            }
        }
    }

    fn parse(&mut self) -> Heard {
        loop {
            let Some(end) = self.received.iter().position(|byte| *byte == b'\n') else {
                let plausible = self.received.len() < LONGEST_LINE && begins(&self.received);
                return if plausible { Heard::NotYet } else { self.nonsense() };
            };
            let Some(status) = status(&self.received[..end]) else { return self.nonsense() };
            // 101 is an answer; the others of this kind come before it.
            if !(100..200).contains(&status) || status == 101 {
                return Heard::Status(status);
            }
            let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") else {
                return Heard::NotYet;
            };
            self.received.drain(..end + 4);
        }
    }

    fn nonsense(&self) -> Heard {
        // An alert of TLS, in answer to what is no greeting of it.
        let is_tls = self.received.starts_with(b"\x15\x03");
        Heard::Nonsense(if is_tls { "it speaks TLS: `scheme: https`" } else { "not HTTP" })
    }
}

/// No plain connection has such errors.
fn is_of_tls(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// Whether this may become a status line.
fn begins(bytes: &[u8]) -> bool {
    let expected = b"HTTP/1.";
    let length = bytes.len().min(expected.len());
    bytes[..length] == expected[..length]
}

/// `HTTP/1.1 200 OK`.
fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let [b'0'..=b'9', b' ', a, b, c, rest @ ..] = rest else { return None };
    if !matches!(rest.first(), None | Some(b' ' | b'\r')) {
        return None;
    }
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    let status = digit(a)? * 100 + digit(b)? * 10 + digit(c)?;
    (100..600).contains(&status).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    /// What is made of this answer, given in these pieces.
    fn heard(pieces: &[&[u8]], closes: bool) -> Heard {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut exchange = Exchange::get(80, "/", &IndexMap::new());
        assert_eq!(exchange.go_on(&ours).unwrap(), Heard::NotYet);
        let mut last = Heard::NotYet;
        for piece in pieces {
            theirs.write_all(piece).unwrap();
            last = exchange.go_on(&ours).unwrap();
            if last != Heard::NotYet {
                return last;
            }
        }
        if closes {
            drop(theirs);
            last = exchange.go_on(&ours).unwrap();
        }
        last
    }

    #[test]
    fn a_status_is_found_however_it_comes() {
        assert_eq!(heard(&[b"HTTP/1.1 200 OK\r\n"], false), Heard::Status(200));
        assert_eq!(heard(&[b"HTTP/1.0 503\n"], false), Heard::Status(503));
        let bytes: Vec<&[u8]> = b"HTTP/1.1 404 Not Found\r\n".chunks(1).collect();
        assert_eq!(heard(&bytes, false), Heard::Status(404));
        let interim: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 \r\n";
        assert_eq!(heard(&[interim], false), Heard::Status(204));
        assert_eq!(heard(&[b"HTTP/1.1 101 Switching\r\n"], false), Heard::Status(101));
    }

    #[test]
    fn what_is_no_answer_is_told_so_soon() {
        let nonsense = |heard: Heard| matches!(heard, Heard::Nonsense(_));
        assert!(nonsense(heard(&[b"SSH-2.0-OpenSSH"], false)));
        let alert = heard(&[b"\x15\x03\x01\0\x02\x02\x46"], true);
        assert_eq!(alert, Heard::Nonsense("it speaks TLS: `scheme: https`"));
        assert!(nonsense(heard(&[b"HTTP/1.1 20 OK\r\n"], false)));
        assert!(nonsense(heard(&[b"HTTP/1.1 2000 OK\r\n"], false)));
        assert!(nonsense(heard(&[b"HTTP/1.1 999 OK\r\n"], false)));
        assert!(nonsense(heard(&[b"HTTP/1.1 2"], true)));
        assert!(nonsense(heard(&[b"HTTP/1.", &[b'1'; 5000]], false)));
        assert_eq!(heard(&[b"HTTP/1.1 100 Go\r\n"], false), Heard::NotYet);
    }

    #[test]
    fn an_answer_without_end_takes_no_memory() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut exchange = Exchange::get(80, "/", &IndexMap::new());
        theirs.write_all(b"HTTP/1.1 100 Go\r\n").unwrap();
        let line = [b'x'; 1024];
        let last = (0..1000).find_map(|_| {
            theirs.write_all(&line).unwrap();
            let heard = exchange.go_on(&ours).unwrap();
            (heard != Heard::NotYet).then_some(heard)
        });
        assert_eq!(last, Some(Heard::Nonsense("its head has no end")));
        assert!(exchange.received.len() < 2 * MOST);
    }

    #[test]
    fn headers_of_the_file_win() {
        let headers = [("host".to_owned(), "shop".to_owned()), ("X-A".into(), "b".into())].into();
        let text = String::from_utf8(Exchange::get(8080, "/a?b", &headers).unsent).unwrap();
        assert!(text.starts_with("GET /a?b HTTP/1.1\r\n"), "{text}");
        assert!(text.contains("host: shop\r\n") && !text.contains("localhost"), "{text}");
        assert!(text.contains("X-A: b\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    }
}
