//! Registries that misbehave (SECURITY.md 1.3): each is refused, outlasted or contained.

use super::rig::{Asked, Server, head, impatient, reply};
use super::{RegistryError, Settings};
use crate::image::{Error, MANIFEST_MAX, Source};
use crate::names::image::Digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::error::Error as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MANIFEST: &str = r#"{"schemaVersion": 2}"#;

/// More than any buffer on the way.
fn content() -> Vec<u8> {
    (0..3_000_000u32).map(|n| (n % 251) as u8).collect()
}

fn served(bytes: &[u8], asked: &Asked, to: &mut TcpStream) -> io::Result<()> {
    match asked.from() {
        Some(from) => {
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            reply(to, "206 Partial Content", &[("Content-Range", &range)], &bytes[from..])
        }
        None => reply(to, "200 OK", &[], bytes),
    }
}

fn fetch(source: &impl Source, bytes: &[u8], offset: u64) -> Result<Vec<u8>, String> {
    let size = bytes.len() as u64;
    let mut got = Vec::new();
    let mut blob = source.blob(&Digest::of(bytes), size, offset).map_err(|error| words(&error))?;
    blob.read_to_end(&mut got).map_err(|error| words(&error))?;
    Ok(got)
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    let mut all = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        all.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    all
}

fn cause(error: &Error) -> &RegistryError {
    error.source().and_then(|source| source.downcast_ref()).unwrap_or_else(|| panic!("{error:?}"))
}

/// A file of logins for these registries.
fn logins(name: &str, registries: &[String]) -> Settings {
    let auth = STANDARD.encode("bob:hunter2");
    let entries: serde_json::Map<_, _> =
        registries.iter().map(|of| (of.clone(), serde_json::json!({"auth": auth}))).collect();
    let dir = std::env::temp_dir().join(format!("podspec-registry-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file: PathBuf = dir.join(name);
    std::fs::write(&file, serde_json::json!({"auths": entries}).to_string()).unwrap();
    Settings { auth_files: vec![file], ..impatient() }
}

#[test]
fn a_blob_that_is_cut_off_goes_on_where_it_was() {
    let bytes = content();
    let all = bytes.clone();
    let server = Server::start(move |asked, _, to| {
        let from = asked.from().unwrap_or(0);
        // A million at a time, whatever was promised.
        let until = (from + 1_000_000).min(all.len());
        let range = format!("bytes {from}-{}/{}", all.len() - 1, all.len());
        match from {
            0 => head(to, "200 OK", &[], all.len())?,
            _ => head(to, "206 Partial Content", &[("Content-Range", &range)], all.len() - from)?,
        }
        to.write_all(&all[from..until])
    });
    assert_eq!(fetch(&server.image(impatient()), &bytes, 0).unwrap(), bytes);
    let asked: Vec<_> = server.asked().iter().map(Asked::from).collect();
    assert_eq!(asked, [None, Some(1_000_000), Some(2_000_000)]);
    // From the middle, as after a pull that was ended.
    let rest = fetch(&server.image(impatient()), &bytes, 2_500_000).unwrap();
    assert_eq!(rest, bytes[2_500_000..]);
}

#[test]
fn a_server_without_ranges_is_read_over() {
    let bytes = content();
    let all = bytes.clone();
    let server = Server::start(move |_, before, to| {
        head(to, "200 OK", &[], all.len())?;
        to.write_all(if before == 0 { &all[..1_500_000] } else { &all })
    });
    assert_eq!(fetch(&server.image(impatient()), &bytes, 0).unwrap(), bytes);
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_blob_that_never_gets_on_is_given_up() {
    let bytes = content();
    let server = Server::start(move |asked, _, to| {
        let from = asked.from().unwrap_or(0);
        let range = format!("bytes {from}-2999999/3000000");
        head(to, "206 Partial Content", &[("Content-Range", &range)], 3_000_000 - from)?;
        to.write_all(&[0; 100])
    });
    let error = fetch(&server.image(impatient()), &bytes, 0).unwrap_err();
    assert!(error.contains("was cut off after 300 of 3000000 bytes, 3 times"), "{error}");
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn parts_that_were_not_asked_for_and_other_lengths_are_refused() {
    let bytes = content();
    let server = Server::start(|asked, _, to| match asked.from() {
        Some(_) => reply(
            to,
            "206 Partial Content",
            &[("Content-Range", "bytes 2000-2999/3000000")],
            &[0; 1000],
        ),
        None => head(to, "200 OK", &[], 4_000_000),
    });
    let image = server.image(impatient());
    let error = fetch(&image, &bytes, 1000).unwrap_err();
    assert!(error.contains("another part than was asked for"), "{error}");
    let error = fetch(&image, &bytes, 0).unwrap_err();
    assert!(error.contains("announces 4000000 bytes where the manifest says 3000000"), "{error}");
}

#[test]
fn a_slow_drip_is_cut_and_given_up() {
    let bytes = content();
    let server = Server::start(|asked, _, to| {
        let from = asked.from().unwrap_or(0);
        let range = format!("bytes {from}-2999999/3000000");
        head(to, "206 Partial Content", &[("Content-Range", &range)], 3_000_000 - from)?;
        loop {
            to.write_all(b"x")?;
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    let error = fetch(&server.image(impatient()), &bytes, 0).unwrap_err();
    assert!(error.contains("it brought") && error.contains("3 times"), "{error}");
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let server = Server::start(|_, _, _| {
        loop {
            std::thread::park();
        }
    });
    let mut settings = impatient();
    settings.patience.silence = Duration::from_millis(300);
    let error = server.image(settings).manifest(None).unwrap_err();
    assert!(words(&error).contains("does not answer in time"), "{}", words(&error));
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn an_overload_passes_and_retry_after_is_obeyed() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let server = Server::start(|_, before, to| match before {
        0 => reply(to, "503 Service Unavailable", &[], b""),
        1 => reply(to, "429 Too Many Requests", &[("Retry-After", "1")], b""),
        _ => reply(to, "200 OK", &[("Content-Type", "x/y; charset=utf-8")], MANIFEST.as_bytes()),
    });
    let notice = move |line: &str| heard.lock().unwrap().push(line.to_owned());
    let settings = Settings { notice: Some(Arc::new(notice)), ..impatient() };
    let began = Instant::now();
    let document = server.image(settings).manifest(None).unwrap();
    assert_eq!(document.bytes, MANIFEST.as_bytes());
    assert_eq!(document.media_type.as_deref(), Some("x/y"));
    assert!(began.elapsed() >= Duration::from_secs(1));
    let said = said.lock().unwrap().clone();
    assert!(said.len() == 2 && said[1].contains("429") && said[1].contains("1.0 s"), "{said:?}");
}

#[test]
fn a_wait_without_end_is_refused_and_errors_are_not_tried_for_ever() {
    let server = Server::start(|_, _, to| {
        reply(to, "429 Too Many Requests", &[("Retry-After", "86400")], b"")
    });
    let error = server.image(impatient()).manifest(None).unwrap_err();
    assert!(words(&error).contains("wants 86400 s of patience"), "{}", words(&error));
    assert_eq!(server.asked().len(), 1);
    let server = Server::start(|_, _, to| reply(to, "500 Oops", &[], b""));
    let error = server.image(impatient()).manifest(None).unwrap_err();
    assert!(words(&error).contains("answered 500"), "{}", words(&error));
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn redirects_end() {
    let server = Server::start(|asked, _, to| {
        reply(to, "302 Found", &[("Location", &format!("{}x", asked.path))], b"")
    });
    let error = server.image(impatient()).manifest(None).unwrap_err();
    assert!(matches!(cause(&error), RegistryError::Redirects { .. }), "{}", words(&error));
    assert_eq!(server.asked().len(), 11);
    for (location, said) in [
        ("ftp://127.0.0.1/x", "leads nowhere"),
        ("http://bob:x@127.0.0.1/x", "leads nowhere"),
        // Not on loopback, not of the user's choice: no TLS is no way.
        ("http://192.0.2.1/x", "not encrypted"),
    ] {
        let server =
            Server::start(move |_, _, to| reply(to, "307 X", &[("Location", location)], b""));
        let error = words(&server.image(impatient()).manifest(None).unwrap_err());
        assert!(error.contains(said), "{location}: {error}");
    }
}

#[test]
fn another_host_never_sees_the_login() {
    let other = Server::start(|asked, _, to| served(&content(), asked, to));
    let elsewhere = format!("http://{}/blob?signature=x", other.address);
    let server = Server::start(move |asked, _, to| match asked.header("authorization") {
        None => reply(to, "401 X", &[("WWW-Authenticate", "Basic realm=\"r\"")], b""),
        Some(_) => reply(to, "307 X", &[("Location", &elsewhere)], b""),
    });
    let settings =
        logins("redirect.json", &[server.address.to_string(), other.address.to_string()]);
    let bytes = content();
    assert_eq!(fetch(&server.image(settings), &bytes, 0).unwrap(), bytes);
    let basic = format!("Basic {}", STANDARD.encode("bob:hunter2"));
    assert_eq!(server.asked()[1].header("authorization"), Some(basic.as_str()));
    assert_eq!(other.asked().len(), 1);
    assert_eq!(other.asked()[0].header("authorization"), None);
}

#[test]
fn a_401_of_another_host_is_not_answered() {
    let other = Server::start(|_, _, to| {
        reply(to, "401 X", &[("WWW-Authenticate", "Basic realm=\"r\"")], b"")
    });
    let elsewhere = format!("http://{}/blob", other.address);
    let server =
        Server::start(move |_, _, to| reply(to, "307 X", &[("Location", &elsewhere)], b""));
    let settings = logins("foreign.json", &[server.address.to_string(), other.address.to_string()]);
    let error = server.image(settings).manifest(None).unwrap_err();
    assert!(matches!(cause(&error), RegistryError::Denied { .. }), "{}", words(&error));
    assert!(other.asked().iter().all(|asked| asked.header("authorization").is_none()));
}

#[test]
fn a_password_is_sent_to_no_realm_in_the_clear() {
    let server = Server::start(|_, _, to| {
        let bearer = "Bearer realm=\"http://192.0.2.1/token\",service=\"s\"";
        reply(to, "401 X", &[("WWW-Authenticate", bearer)], b"")
    });
    let settings = logins("realm.json", &[server.address.to_string()]);
    let error = server.image(settings).manifest(None).unwrap_err();
    assert!(matches!(cause(&error), RegistryError::PlainRealm { .. }), "{}", words(&error));
    // Not even to another port of this machine.
    let other = Server::start(|_, _, to| reply(to, "200 OK", &[], b"{\"token\":\"t\"}"));
    let realm = format!("Bearer realm=\"http://{}/token\"", other.address);
    let server =
        Server::start(move |_, _, to| reply(to, "401 X", &[("WWW-Authenticate", &realm)], b""));
    let settings = logins("port.json", &[server.address.to_string()]);
    server.image(settings).manifest(None).unwrap_err();
    assert!(other.asked().is_empty());
}

#[test]
fn a_token_is_fetched_once_and_renewed_when_it_is_refused() {
    let server = Server::start(|asked, before, to| {
        let host = asked.header("host").unwrap().to_owned();
        if asked.path.starts_with("/token") {
            return reply(to, "200 OK", &[], format!("{{\"token\":\"t{before}\"}}").as_bytes());
        }
        // The first token is good for two requests, and then no more.
        let good = match asked.header("authorization") {
            Some("Bearer t1") => before < 4,
            Some(other) => other.starts_with("Bearer t"),
            None => false,
        };
        let bearer = format!(
            "Bearer realm=\"http://{host}/token?x=1\",service=\"a b\",scope=\"repository:victim:push\""
        );
        match good {
            true => reply(to, "200 OK", &[], MANIFEST.as_bytes()),
            false => reply(to, "401 X", &[("WWW-Authenticate", &bearer)], b""),
        }
    });
    let image = server.image(logins("token.json", &[server.address.to_string()]));
    for _ in 0..3 {
        assert_eq!(image.manifest(None).unwrap().bytes, MANIFEST.as_bytes());
    }
    let asked = server.asked();
    let tokens: Vec<_> = asked.iter().filter(|asked| asked.path.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 2, "{asked:?}");
    // The scope is ours, whatever the registry would like.
    assert_eq!(tokens[0].path, "/token?x=1&service=a%20b&scope=repository%3Aa%2Fb%3Apull");
    assert!(tokens[0].header("authorization").unwrap().starts_with("Basic "));
}

#[test]
fn a_login_that_is_refused_is_not_tried_for_ever() {
    let server = Server::start(|_, _, to| {
        let said = b"{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"no\\u001b[2J entry\"}]}";
        reply(to, "401 X", &[("WWW-Authenticate", "Basic realm=\"r\"")], said)
    });
    let error = server.image(logins("refused.json", &[server.address.to_string()])).manifest(None);
    let error = error.unwrap_err();
    assert!(matches!(cause(&error), RegistryError::Denied { logged_in: true, .. }), "{error:?}");
    assert!(
        words(&error).contains("entry") && !words(&error).contains('\x1b'),
        "{}",
        words(&error)
    );
    assert!(server.asked().len() <= 3);
    let error = server.image(impatient()).manifest(None).unwrap_err();
    assert!(matches!(cause(&error), RegistryError::Denied { logged_in: false, .. }), "{error:?}");
}

#[test]
fn a_manifest_without_end_is_read_no_further_than_allowed() {
    // Announced, and not announced.
    for announced in [true, false] {
        let server = Server::start(move |_, _, to| {
            match announced {
                true => head(to, "200 OK", &[], 100 << 20)?,
                false => to.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?,
            }
            let block = [b' '; 1 << 16];
            (0..1600).try_for_each(|_| to.write_all(&block))
        });
        let error = server.image(impatient()).manifest(None).unwrap_err();
        let most_is = matches!(cause(&error), RegistryError::TooLong { most: MANIFEST_MAX, .. });
        assert!(most_is, "{}", words(&error));
        assert_eq!(server.asked().len(), 1);
    }
}

#[test]
fn what_is_not_there_is_said() {
    let server = Server::start(|_, _, to| {
        let said = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        reply(to, "404 Not Found", &[], said)
    });
    let error = words(&server.image(impatient()).manifest(None).unwrap_err());
    let wanted = format!(
        "cannot get the manifest `c` of a/b from {0}: {0} does not know it: manifest unknown",
        server.address
    );
    assert_eq!(error, wanted);
}

#[test]
fn a_server_of_loopback_that_hangs_up_on_tls_is_asked_without() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut first = [0; 4];
            // An answer only where it is a request.
            if stream.read_exact(&mut first).is_ok() && first == *b"GET " {
                let lines = BufReader::new(&stream).lines();
                lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
                let _ = reply(&mut stream, "200 OK", &[], b"{}");
            }
        }
    });
    let image = super::Client::new(impatient());
    let image = image.image(&super::rig::reference(&format!("{address}/a/b:c"))).unwrap();
    assert_eq!(image.manifest(None).unwrap().bytes, b"{}");
}

#[test]
fn nobody_there_is_said() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let image = super::Client::new(impatient());
    let image = image.image(&super::rig::reference(&format!("{closed}/a/b:c"))).unwrap();
    let error = words(&image.manifest(None).unwrap_err());
    assert!(error.contains("refused"), "{error}");
}
