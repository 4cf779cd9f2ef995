//! What an image declares beside its program: the ports that it exposes, for `ports: auto`, and its health check,
//! where the file has no probe. Hostile, as all that an image says.

use super::image::wrong;
use crate::plan::facts::ImageHealth;
use crate::spec::model::{Check, Port, Probe, Probes, Protocol};
use std::collections::BTreeSet;
use std::time::Duration;

/// docker's own, where the image leaves it open.
const INTERVAL: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;
/// No check is asked for more often or less often than this, or may take longer.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Each exposed port once, on the same port of the host; neighbours are one range. `taken` are published already.
pub(super) fn ports(exposed: &[String], taken: &[Port]) -> Result<Vec<Port>, String> {
    let mut wanted = BTreeSet::new();
    for word in exposed {
        let (protocol, first, last) = range(word).ok_or_else(|| wrong("an exposed port", word))?;
        let is_taken = |port: u16| {
            taken.iter().any(|other| {
                let from = u32::from(other.container);
                other.protocol == protocol
                    && (from..from + u32::from(other.count)).contains(&u32::from(port))
            })
        };
        let free = (first..=last).filter(|port| !is_taken(*port));
        wanted.extend(free.map(|port| (protocol == Protocol::Udp, port)));
    }
    let mut ports: Vec<Port> = Vec::new();
    for (is_udp, port) in wanted {
        let protocol = if is_udp { Protocol::Udp } else { Protocol::Tcp };
        match ports.last_mut() {
            Some(last)
                if last.protocol == protocol
                    && u32::from(last.host) + u32::from(last.count) == u32::from(port) =>
            {
                last.count += 1;
            }
            _ => ports.push(Port {
                address: None,
                host: port,
                container: port,
                count: 1,
                protocol,
                name: None,
            }),
        }
    }
    Ok(ports)
}

/// `80`, `80/tcp`, `8000-8010/udp`.
fn range(word: &str) -> Option<(Protocol, u16, u16)> {
    let (numbers, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let number = |word: &str| {
        let digits = word.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| word.parse::<u16>().ok()).flatten().filter(|port| *port != 0)
    };
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((protocol, first, last))
}

/// The image's health check as a readiness probe: docker tells of an unhealthy container, and does not restart
/// it. None where the image has none, or says that there is to be none.
pub(super) fn probes(health: &ImageHealth) -> Result<Option<Probes>, String> {
    let argv: Vec<String> = match health.test.split_first() {
        None => return Ok(None),
        Some((kind, [])) if kind == "NONE" => return Ok(None),
        Some((kind, argv)) if kind == "CMD" && !argv.is_empty() => argv.to_vec(),
        Some((kind, [line])) if kind == "CMD-SHELL" => {
            vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()]
        }
        Some((kind, _)) => return Err(wrong("a health check", kind)),
    };
    if argv[0].is_empty() || argv.iter().any(|word| word.contains('\0')) {
        return Err(wrong("a health check", &argv.join(" ")));
    }
    let time = |said: Duration| {
        if said.is_zero() { INTERVAL } else { said.clamp(SHORTEST, LONGEST) }
    };
    let readiness = Probe {
        check: Check::Exec(argv),
        initial_delay: Duration::ZERO,
        interval: time(health.interval),
        timeout: time(health.timeout),
        successes: 1,
        failures: if health.retries == 0 { RETRIES } else { health.retries },
    };
    Ok(Some(Probes { readiness: Some(readiness), ..Probes::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposed_ports_are_published_once_and_in_ranges() {
        let of = |words: &[&str], taken: &[Port]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            ports(&words, taken).map(|ports| {
                let word = |port: &Port| {
                    assert_eq!(port.host, port.container);
                    format!("{}+{}/{:?}", port.host, port.count, port.protocol)
                };
                ports.iter().map(word).collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(of(&["80/tcp", "443", "80"], &[]).unwrap(), "80+1/Tcp 443+1/Tcp");
        assert_eq!(of(&["53/udp", "53/tcp"], &[]).unwrap(), "53+1/Tcp 53+1/Udp");
        assert_eq!(of(&["82", "80-81", "65535"], &[]).unwrap(), "80+3/Tcp 65535+1/Tcp");
        assert_eq!(of(&["1-65535/udp"], &[]).unwrap(), "1+65535/Udp");
        let taken = ports(&["81".to_owned()], &[]).unwrap();
        assert_eq!(of(&["80-82"], &taken).unwrap(), "80+1/Tcp 82+1/Tcp");
        for bad in ["", "0", "80-70", "65536", "80/sctp", "+80", "80/tcp/x", "-1", "http"] {
            assert!(of(&[bad], &[]).unwrap_err().contains("an exposed port"), "{bad}");
        }
    }

    #[test]
    fn a_health_check_is_a_readiness_probe() {
        let of = |words: &[&str]| {
            let test = words.iter().map(|word| (*word).to_owned()).collect();
            probes(&ImageHealth { test, ..ImageHealth::default() })
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["NONE"]), Ok(None));
        let probe = of(&["CMD-SHELL", "curl -f x || exit 1"]).unwrap().unwrap().readiness.unwrap();
        let argv = ["/bin/sh", "-c", "curl -f x || exit 1"].map(str::to_owned).to_vec();
        assert_eq!((probe.check, probe.interval), (Check::Exec(argv), INTERVAL));
        assert_eq!((probe.timeout, probe.failures, probe.successes), (INTERVAL, 3, 1));
        let probe = of(&["CMD", "/check", "a"]).unwrap().unwrap().readiness.unwrap();
        assert_eq!(probe.check, Check::Exec(vec!["/check".into(), "a".into()]));
        for bad in [&["CMD"][..], &["CMD-SHELL"], &["CMD", ""], &["CMD", "a\0"], &["/check"]] {
            assert!(of(bad).unwrap_err().contains("health check"), "{bad:?}");
        }
        // As long as an image may say, and no overflow where it becomes a time.
        let endless = ImageHealth {
            test: vec!["CMD".into(), "a".into()],
            interval: Duration::from_nanos(u64::MAX),
            timeout: Duration::from_nanos(1),
            retries: u32::MAX,
        };
        let probe = probes(&endless).unwrap().unwrap().readiness.unwrap();
        assert_eq!((probe.interval, probe.timeout, probe.failures), (LONGEST, SHORTEST, u32::MAX));
    }
}
