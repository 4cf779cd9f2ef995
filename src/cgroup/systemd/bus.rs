//! As much of D-Bus as a question to systemd takes, over the socket that leads to it without a bus between (D-Bus
//! specification, "Authentication Protocol" and "Message Protocol"). How values are written is `zbus`'s.

use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zbus::wire::serialized::{Context, Data};
use zbus::wire::{self, BE, LE, NATIVE_ENDIAN, ObjectPath, Signature, Str, Type, Variant};

/// What systemd has to say is short.
const LONGEST: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum BusError {
    #[error("cannot reach it by {}", socket.display())]
    Connect { socket: PathBuf, source: io::Error },
    #[error(transparent)]
    Socket(#[from] io::Error),
    #[error("it speaks no D-Bus")]
    Wire(#[from] zbus::Error),
    #[error("it refuses to talk to us: {reply}")]
    Refused { reply: String },
    #[error("{message}")]
    Failed { name: String, message: String },
}

/// A connection, on which one question is asked at a time.
#[derive(Debug)]
pub(super) struct Bus {
    socket: BufReader<UnixStream>,
    serial: u32,
    deadline: Instant,
}

/// What is called, where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method<'a> {
    pub(super) object: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    /// Of its arguments, as D-Bus writes it.
    pub(super) signature: &'a str,
}

/// A message from the other side.
#[derive(Debug)]
pub(super) struct Message {
    kind: u8,
    member: String,
    error: String,
    answers: Option<u32>,
    body: Data<'static, 'static>,
}

// Types of messages, and fields of their headers.
const CALL: u8 = 1;
const REPLY: u8 = 2;
const SIGNAL: u8 = 4;
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const SIGNATURE: u8 = 8;
/// A header up to the length of its fields.
const FIXED: usize = 16;

/// A header: byte order, type, flags, version, length of the body, serial, fields.
type Header<T> = (u8, u8, u8, u8, u32, u32, Vec<(u8, T)>);

impl Bus {
    /// All that is asked and answered takes at most `within`.
    pub(super) fn open(socket: &Path, within: Duration) -> Result<Self, BusError> {
        let connected = UnixStream::connect(socket);
        let connected =
            connected.map_err(|source| BusError::Connect { socket: socket.to_owned(), source })?;
        Self::over(connected, within)
    }

    fn over(socket: UnixStream, within: Duration) -> Result<Self, BusError> {
        socket.set_write_timeout(Some(within))?;
        let deadline = Instant::now() + within;
        let mut bus = Self { socket: BufReader::new(socket), serial: 0, deadline };
        // Who we are the kernel tells; a user is named by the digits of its number, in hexadecimal.
        let uid = rustix::process::geteuid().as_raw().to_string();
        let uid: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        bus.write(format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").as_bytes())?;
        bus.wait()?;
        let mut reply = Vec::new();
        bus.socket.by_ref().take(512).read_until(b'\n', &mut reply)?;
        match reply.starts_with(b"OK ") {
            true => Ok(bus),
            false => {
                let reply = String::from_utf8_lossy(&reply).trim().to_owned();
                Err(BusError::Refused { reply })
            }
        }
    }

    /// Calls a method, and waits for its answer. Signals that come before are passed over.
    pub(super) fn call<T: Serialize + Type>(
        &mut self,
        method: Method<'_>,
        arguments: &T,
    ) -> Result<Message, BusError> {
        self.serial += 1;
        let message = encode(method, self.serial, arguments)?;
        self.write(&message)?;
        loop {
            let message = self.next()?;
            if message.answers != Some(self.serial) {
                continue;
            }
            return match message.kind {
                REPLY => Ok(message),
                _ => Err(BusError::Failed {
                    message: message.read::<String>().unwrap_or_else(|_| message.error.clone()),
                    name: message.error,
                }),
            };
        }
    }

    /// The next signal.
    pub(super) fn signal(&mut self) -> Result<Message, BusError> {
        loop {
            let message = self.next()?;
            if message.kind == SIGNAL {
                return Ok(message);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.get_mut().write_all(bytes)
    }

    /// Whatever is read next may take as long as is left.
    fn wait(&self) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.socket.get_ref().set_read_timeout(Some(left))
    }

    fn next(&mut self) -> Result<Message, BusError> {
        let mut bytes = vec![0; FIXED];
        self.fill(&mut bytes)?;
        let endian = if bytes[0] == b'B' { BE } else { LE };
        let number = |at: usize| endian.read_u32(&bytes[at..at + 4]) as usize;
        let (body, fields) = (number(4), number(12));
        if body > LONGEST || fields > LONGEST {
            return Err(io::Error::from(io::ErrorKind::InvalidData).into());
        }
        let start = (FIXED + fields).next_multiple_of(8);
        bytes.resize(start + body, 0);
        self.fill(&mut bytes[FIXED..])?;
        let body = bytes.split_off(start);
        let header = Data::new(bytes, Context::new(endian, 0));
        let ((_, kind, _, _, _, _, fields), _) = header.deserialize::<Header<Variant<'_>>>()?;
        let mut message = Message {
            kind,
            member: String::new(),
            error: String::new(),
            answers: None,
            body: Data::new(body, Context::new(endian, 0)),
        };
        for (field, value) in fields {
            match (field, value) {
                (MEMBER, Variant::Str(name)) => message.member = name.to_string(),
                (ERROR_NAME, Variant::Str(name)) => message.error = name.to_string(),
                (REPLY_SERIAL, Variant::U32(serial)) => message.answers = Some(serial),
                _ => {}
            }
        }
        Ok(message)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            self.wait()?;
            match self.socket.read(&mut bytes[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What the timeout of a socket is called.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Message {
    /// Of a signal.
    pub(super) fn member(&self) -> &str {
        &self.member
    }

    /// Its arguments.
    pub(super) fn read<'a, T: serde::Deserialize<'a> + Type>(&'a self) -> Result<T, BusError> {
        Ok(self.body.deserialize()?.0)
    }
}

fn encode<T: Serialize + Type>(
    method: Method<'_>,
    serial: u32,
    arguments: &T,
) -> Result<Vec<u8>, BusError> {
    let context = Context::new(NATIVE_ENDIAN, 0);
    let body = wire::to_bytes(context, arguments)?;
    let order = if NATIVE_ENDIAN == BE { b'B' } else { b'l' };
    let length = u32::try_from(body.bytes().len()).map_err(io::Error::other)?;
    let string = |word| Field::Value(Variant::Str(Str::from(word)));
    let fields = vec![
        (PATH, Field::Value(Variant::ObjectPath(ObjectPath::try_from(method.object)?))),
        (INTERFACE, string(method.interface)),
        (MEMBER, string(method.member)),
        (SIGNATURE, Field::Signature(method.signature)),
    ];
    let header: Header<Field<'_>> = (order, CALL, 0, 1, length, serial, fields);
    let mut bytes = wire::to_bytes(context, &header)?.bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(body.bytes());
    Ok(bytes)
}

/// What a field of a header says: a variant. A signature there is of several arguments, without the parentheses
/// that make them one structure, which `Variant` cannot say.
enum Field<'a> {
    Value(Variant<'a>),
    Signature(&'a str),
}

impl Type for Field<'_> {
    const SIGNATURE: &'static Signature = &Signature::Variant;
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Signature(signature) => {
                let mut variant = serializer.serialize_struct("Variant", 2)?;
                variant.serialize_field("signature", &Signature::Signature)?;
                variant.serialize_field("value", signature)?;
                variant.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;
    use zbus::wire::Endian;

    const PING: Method<'_> =
        Method { object: "/o", interface: "org.example.I", member: "Ping", signature: "su" };

    /// What the other side has read, and what it says next.
    struct Other {
        socket: BufReader<UnixStream>,
    }

    impl Other {
        fn says(&mut self, bytes: &[u8]) {
            self.socket.get_mut().write_all(bytes).unwrap();
        }

        fn hears(&mut self, length: usize) -> Vec<u8> {
            let mut bytes = vec![0; length];
            self.socket.read_exact(&mut bytes).unwrap();
            bytes
        }
    }

    fn message<T: Serialize + Type>(
        endian: Endian,
        kind: u8,
        fields: Vec<(u8, Variant<'_>)>,
        body: &T,
    ) -> Vec<u8> {
        let context = Context::new(endian, 0);
        let body = wire::to_bytes(context, body).unwrap();
        let order = if endian == BE { b'B' } else { b'l' };
        let length = u32::try_from(body.bytes().len()).unwrap();
        let header: Header<Variant<'_>> = (order, kind, 0, 1, length, 9, fields);
        let mut bytes = wire::to_bytes(context, &header).unwrap().bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend_from_slice(body.bytes());
        bytes
    }

    /// A bus to somebody who plays this.
    fn with<T>(
        play: impl FnOnce(&mut Other) + Send + 'static,
        ask: impl FnOnce(&mut Bus) -> T,
    ) -> T {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let other = std::thread::spawn(move || {
            let mut other = Other { socket: BufReader::new(theirs) };
            let mut hello = Vec::new();
            other.socket.read_until(b'\n', &mut hello).unwrap();
            assert!(hello.starts_with(b"\0AUTH EXTERNAL 3"), "{hello:?}");
            assert_eq!(other.hears(7), b"BEGIN\r\n");
            other.says(b"OK 0123456789abcdef0123456789abcdef\r\n");
            play(&mut other);
            // Until the asker is done.
            let _ = other.socket.read_to_end(&mut Vec::new());
        });
        let mut bus = Bus::over(ours, Duration::from_secs(20)).unwrap();
        let asked = ask(&mut bus);
        drop(bus);
        other.join().unwrap();
        asked
    }

    #[test]
    fn a_call_is_as_the_specification_has_it() {
        let bytes = encode(PING, 7, &("hi", 5u32)).unwrap();
        assert_eq!(bytes[1..4], [CALL, 0, 1]);
        let data = Data::new(bytes.clone(), Context::new(NATIVE_ENDIAN, 0));
        let (header, end) = data.deserialize::<Header<Variant<'_>>>().unwrap();
        let (_, _, _, _, length, serial, fields) = header;
        assert_eq!((length, serial), (12, 7));
        let words: Vec<_> =
            fields.iter().map(|(field, value)| (*field, value.to_string())).collect();
        assert!(bytes.windows(5).any(|bytes| bytes == b"g\0\x02su"), "no parentheses: {bytes:?}");
        assert!(words.iter().any(|(field, word)| *field == MEMBER && word.contains("Ping")));
        // The body begins at a multiple of eight.
        assert_eq!(bytes.len(), end.next_multiple_of(8) + 12);
        assert_eq!(bytes[bytes.len() - 12..][4..7], *b"hi\0");
    }

    #[test]
    fn the_answer_is_found_among_signals_in_either_byte_order() {
        for endian in [LE, BE] {
            let play = move |other: &mut Other| {
                let signal = vec![(MEMBER, Variant::new("Noise"))];
                other.says(&message(endian, SIGNAL, signal, &"x"));
                other.says(&message(endian, REPLY, vec![(REPLY_SERIAL, Variant::U32(77))], &"no"));
                other.says(&message(endian, REPLY, vec![(REPLY_SERIAL, Variant::U32(1))], &"yes"));
                let signal = vec![(MEMBER, Variant::new("Done"))];
                other.says(&message(endian, SIGNAL, signal, &(3u32, "end")));
            };
            with(play, |bus| {
                let reply = bus.call(PING, &("hi", 5u32)).unwrap();
                assert_eq!(reply.read::<&str>().unwrap(), "yes");
                let signal = bus.signal().unwrap();
                assert_eq!(signal.member(), "Done");
                assert_eq!(signal.read::<(u32, &str)>().unwrap(), (3, "end"));
            });
        }
    }

    #[test]
    fn an_error_has_its_name_and_its_words() {
        let play = |other: &mut Other| {
            let fields =
                vec![(REPLY_SERIAL, Variant::U32(1)), (ERROR_NAME, Variant::new("org.example.No"))];
            other.says(&message(LE, 3, fields, &"not today"));
        };
        let error = with(play, |bus| bus.call(PING, &("hi", 5u32)).unwrap_err());
        let BusError::Failed { name, message } = error else { panic!("{error}") };
        assert_eq!((name.as_str(), message.as_str()), ("org.example.No", "not today"));
    }

    #[test]
    fn garbage_silence_and_an_end_are_errors() {
        let garbage = |other: &mut Other| other.says(&[0xff; 64]);
        assert!(with(garbage, |bus| bus.signal().is_err()));
        let endless = |other: &mut Other| {
            let mut bytes = message(LE, SIGNAL, vec![], &"x");
            bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
            other.says(&bytes);
        };
        assert!(with(endless, |bus| bus.signal().is_err()));
        let end = |other: &mut Other| other.socket.get_ref().shutdown(Shutdown::Write).unwrap();
        let error = with(end, |bus| bus.signal().unwrap_err());
        assert!(matches!(error, BusError::Socket(e) if e.kind() == io::ErrorKind::UnexpectedEof));

        let (ours, theirs) = UnixStream::pair().unwrap();
        let error = Bus::over(ours, Duration::from_millis(1)).unwrap_err();
        assert!(matches!(error, BusError::Socket(e) if e.kind() == io::ErrorKind::WouldBlock));
        drop(theirs);

        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"REJECTED EXTERNAL\r\n").unwrap();
        let error = Bus::over(ours, Duration::from_secs(20)).unwrap_err();
        assert_eq!(error.to_string(), "it refuses to talk to us: REJECTED EXTERNAL");
    }
}
