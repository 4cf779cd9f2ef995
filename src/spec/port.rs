//! The grammar of published ports, `[ADDR:]HOST[-HOST]:CONTAINER[-CONTAINER][/PROTOCOL]`, and which of
//! them want the same door. Every wrong form is answered with the right one.

use super::interpolate;
use super::model::Protocol;
use super::quantity::Mistake;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

/// A port as the language has it; what of it podspec can do yet is for `validate.rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortWord {
    pub address: Option<IpAddr>,
    pub host: (u16, u16),
    pub container: (u16, u16),
    pub protocol: WordProtocol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordProtocol {
    Tcp,
    Udp,
    Sctp,
}

impl From<WordProtocol> for Option<Protocol> {
    fn from(word: WordProtocol) -> Self {
        match word {
            WordProtocol::Tcp => Some(Protocol::Tcp),
            WordProtocol::Udp => Some(Protocol::Udp),
            WordProtocol::Sctp => None,
        }
    }
}

const FORM: &str = "write [ADDRESS:]HOST:CONTAINER[/tcp|udp], such as `8080:80`";

fn mistake(message: impl Into<String>, help: impl Into<String>) -> Mistake {
    Mistake { message: message.into(), help: help.into(), fix: None, part: None }
}

/// The bytes of `word` that are `part`, which was cut from it.
fn within(word: &str, part: &str) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(word.as_ptr().addr())?;
    (start + part.len() <= word.len()).then_some(start..start + part.len())
}

/// The short form.
pub fn parse(word: &str) -> Result<PortWord, Mistake> {
    if let Some(braced) = interpolate::with_braces(word) {
        let help = format!("write `{braced}`: a variable has braces");
        return Err(mistake(format!("`{word}` is not a port"), help));
    }
    let (rest, protocol) = match word.rsplit_once('/') {
        Some((rest, name)) => (rest, protocol(word, rest, name)?),
        None => (word, WordProtocol::Tcp),
    };
    let (address, ports) = split_address(word, rest)?;
    let (host, container) = match ports.split(':').collect::<Vec<_>>()[..] {
        [one] if address.is_none() => return Err(lone(word, one)),
        [one] => return Err(mistake(format!("`{word}` names one port"), with_host(word, one))),
        [host, container] => (host, container),
        _ => return Err(mistake(format!("`{word}` has too many parts"), FORM)),
    };
    if host.is_empty() {
        let help = format!("name it too, such as `{container}:{container}`");
        return Err(mistake(format!("`{word}` names no port of the host"), help));
    }
    build(word, address, range(word, host)?, range(word, container)?, protocol)
}

/// What both forms must obey.
pub fn build(
    word: &str,
    address: Option<IpAddr>,
    host: (u16, u16),
    container: (u16, u16),
    protocol: WordProtocol,
) -> Result<PortWord, Mistake> {
    if container.0 == 0 {
        let help = "write the port that the program listens on, from 1 to 65535";
        let end = word.rsplit_once(':').and_then(|(_, end)| within(word, end));
        return Err(mistake(format!("`{word}`: no program listens on port 0"), help).at(end));
    }
    if host == (0, 0) && container.0 == container.1 {
        return Ok(PortWord { address, host, container, protocol });
    }
    if host == (0, 0) {
        let message =
            format!("`{word}`: host port 0 is one free port, and the container's are more");
        let help = format!("write an item for each, such as `0:{}`", container.0);
        return Err(mistake(message, help));
    }
    if host.0 == 0 {
        return Err(mistake(format!("`{word}`: a range of the host begins at 1"), FORM));
    }
    let (long, short) = (u32::from(host.1 - host.0), u32::from(container.1 - container.0));
    if long != short {
        let message = format!("`{word}`: {} host ports to {} container ports", long + 1, short + 1);
        let help = match u16::try_from(u32::from(container.0) + long) {
            Ok(end) if end != container.0 => format!(
                "both ends need the same length: `{}-{}:{}-{end}`",
                host.0, host.1, container.0
            ),
            _ => format!("both ends need the same length: `{}:{}`", host.0, container.0),
        };
        return Err(mistake(message, help));
    }
    Ok(PortWord { address, host, container, protocol })
}

fn protocol(word: &str, rest: &str, name: &str) -> Result<WordProtocol, Mistake> {
    match name {
        "tcp" => Ok(WordProtocol::Tcp),
        "udp" => Ok(WordProtocol::Udp),
        "sctp" => Ok(WordProtocol::Sctp),
        _ => {
            let lower = name.to_ascii_lowercase();
            let near = super::problem::nearest(&lower, ["tcp", "udp"]).unwrap_or("tcp");
            Err(mistake(
                format!("`{word}`: `{name}` is not a protocol"),
                format!("write `{rest}/{near}`; there is tcp and udp"),
            )
            .fixed(format!("{rest}/{near}"))
            .at(within(word, name)))
        }
    }
}

/// The address, if there is one, and the ports after it.
fn split_address<'a>(word: &str, rest: &'a str) -> Result<(Option<IpAddr>, &'a str), Mistake> {
    if let Some(inside) = rest.strip_prefix('[') {
        let Some((address, ports)) = inside.split_once("]:") else {
            return Err(mistake(
                format!("`{word}`: nothing after the `[` closes it with `]:`"),
                "write `[::1]:8080:80`",
            ));
        };
        return match address.parse::<Ipv6Addr>() {
            Ok(address) => Ok((Some(IpAddr::V6(address)), ports)),
            Err(_) => Err(mistake(
                format!("`{word}`: `{address}` is not an IPv6 address"),
                "write `[::1]:8080:80`",
            )),
        };
    }
    let parts: Vec<&str> = rest.split(':').collect();
    if parts.len() > 3 {
        return Err(bare_v6(word, &parts));
    }
    let Some((first, ports)) = rest.split_once(':') else { return Ok((None, rest)) };
    if parts.len() == 2
        && !first.contains('.')
        && !first.contains(|c: char| c.is_ascii_alphabetic())
    {
        return Ok((None, rest));
    }
    if first.is_empty() {
        return Err(mistake(
            format!("`{word}` begins with a colon"),
            format!("write `{ports}` for every address"),
        ));
    }
    match first.parse::<std::net::Ipv4Addr>() {
        Ok(address) => Ok((Some(IpAddr::V4(address)), ports)),
        Err(_) if first == "localhost" => Err(mistake(
            format!("`{word}`: an address is a number, not a name"),
            format!("write `127.0.0.1:{ports}`"),
        )
        .fixed(word.replacen(first, "127.0.0.1", 1))
        .at(within(word, first))),
        Err(_) if first == "*" => Err(mistake(
            format!("`{word}`: `*` is not an address"),
            format!("write `{ports}` for every address"),
        )
        .fixed(word.trim_start_matches("*:"))
        .at(within(word, first))),
        Err(_)
            if parts.len() == 2
                && parts[1].parse::<u16>().is_ok()
                && first.parse::<f64>().is_err() =>
        {
            Err(mistake(format!("`{word}`: `{first}` is not a port"), FORM).at(within(word, first)))
        }
        Err(_) => Err(mistake(
            format!("`{word}`: `{first}` is not an IP address"),
            format!("write an address such as `127.0.0.1:{ports}`, or `{ports}` for every address"),
        )
        .at(within(word, first))),
    }
}

fn bare_v6(word: &str, parts: &[&str]) -> Mistake {
    let (address, ports) = parts.split_at(parts.len() - 2);
    let address = address.join(":");
    if address.parse::<Ipv6Addr>().is_ok() {
        let help = format!("write `\"[{address}]:{}\"`", ports.join(":"));
        return mistake(format!("`{word}`: an IPv6 address stands in brackets"), help);
    }
    mistake(format!("`{word}` has too many parts"), FORM)
}

fn lone(word: &str, port: &str) -> Mistake {
    let suffix = word.strip_prefix(port).unwrap_or("");
    if port.parse::<u16>().is_err() && !port.contains('-') {
        return mistake(format!("`{word}` is not a port"), FORM);
    }
    mistake(
        format!("`{word}` names one port; a published port is HOST:CONTAINER"),
        format!("write `{port}:{port}{suffix}` for the same port on both sides"),
    )
}

fn with_host(word: &str, port: &str) -> String {
    let (head, tail) = word.rsplit_once(port).unwrap_or((word, ""));
    format!("write `{head}{port}:{port}{tail}`")
}

/// Digits that begin with a zero too many, without it.
fn without_zeros(digits: &str) -> Option<&str> {
    let is_number = digits.len() > 1 && digits.bytes().all(|b| b.is_ascii_digit());
    let plain = digits.strip_prefix('0').filter(|_| is_number)?.trim_start_matches('0');
    Some(if plain.is_empty() { "0" } else { plain })
}

/// `80` or `80-90`.
pub fn range(word: &str, text: &str) -> Result<(u16, u16), Mistake> {
    let port = |digits: &str| {
        if let Some(plain) = without_zeros(digits) {
            // Elsewhere such a number may be octal.
            let at = within(word, digits);
            let fixed = at.clone().map(|at| {
                let mut fixed = word.to_owned();
                fixed.replace_range(at, plain);
                fixed
            });
            let message = format!("`{word}`: a port is written without leading zeros");
            let mut mistake = mistake(message, format!("write `{plain}`")).at(at);
            mistake.fix = fixed;
            return Err(mistake);
        }
        let legal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| legal).ok_or_else(|| {
            let message = if legal {
                format!("`{word}`: a port is at most 65535, and this is {digits}")
            } else if word == digits {
                format!("`{word}` is not a port")
            } else {
                format!("`{word}`: `{digits}` is not a port")
            };
            let help = match (legal, word == text) {
                (true, _) => "write a port from 1 to 65535, such as `8080`",
                (false, true) => "write a number, such as `8080`, or a range, such as `9000-9099`",
                (false, false) => FORM,
            };
            mistake(message, help).at(within(word, digits))
        })
    };
    let Some((first, last)) = text.split_once('-') else {
        return port(text).map(|port| (port, port));
    };
    let (first, last) = (port(first)?, port(last)?);
    if last < first {
        let help = format!("write `{last}-{first}` for this end");
        let mistake = mistake(format!("`{word}`: the range {text} runs backwards"), help);
        return Err(mistake.at(within(word, text)));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_forms() {
        let word = parse("127.0.0.1:8443:443").unwrap();
        assert_eq!(
            (word.address, word.host, word.container),
            (Some("127.0.0.1".parse().unwrap()), (8443, 8443), (443, 443))
        );
        assert_eq!(parse("[::1]:8053:53/udp").unwrap().protocol, WordProtocol::Udp);
        assert_eq!(parse("9000-9099:9000-9099").unwrap().host, (9000, 9099));
        assert_eq!(parse("0:80").unwrap().host, (0, 0));
    }

    #[test]
    fn wrong_forms_are_answered_with_the_right_one() {
        for (word, fix) in [
            ("80", "`80:80`"),
            ("80/udp", "`80:80/udp`"),
            ("localhost:80:80", "`127.0.0.1:80:80`"),
            ("::1:80:80", "`\"[::1]:80:80\"`"),
            ("80:80/tpc", "`80:80/tcp`"),
            ("80:80/TCP", "`80:80/tcp`"),
            ("90-80:90-80", "`80-90`"),
            ("80-90:80-91", "`80-90:80-90`"),
            ("80-90:80", "`80-90:80-90`"),
            ("99999:80", "from 1 to 65535"),
            ("80:0", "from 1 to 65535"),
            (":80", "`80:80`"),
            ("80:", "HOST:CONTAINER"),
            ("127.0.0.1:80", "`127.0.0.1:80:80`"),
            ("eth0:80:80", "`127.0.0.1:80:80`"),
            ("*:80:80", "`80:80`"),
            ("a:80", "HOST:CONTAINER"),
            ("1.2.3:80:80", "127.0.0.1"),
            ("80:80:80:80", "HOST:CONTAINER"),
            ("+80:80", "HOST:CONTAINER"),
            ("127.0.0.1::80", "`80:80`"),
            ("[::1:80:80", "`[::1]:8080:80`"),
            ("0-5:1-6", "HOST:CONTAINER"),
            ("0:90-99", "`0:90`"),
            ("", "HOST:CONTAINER"),
            ("http", "HOST:CONTAINER"),
            ("$PORT:80", "`${PORT}:80`"),
            ("0080:80", "`80`"),
            ("80:0x50", "HOST:CONTAINER"),
            ("00:80", "`0`"),
            ("9000-9009:07000-7009", "`7000`"),
        ] {
            let mistake = parse(word).expect_err(word);
            assert!(mistake.help.contains(fix), "{word}: {mistake:?}");
        }
    }
}
