//! What a 401 asks for: the `WWW-Authenticate` header (RFC 9110, 11.6.1), of which registries use two schemes.

/// A way to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token from somewhere else.
    Bearer {
        realm: String,
        service: Option<String>,
    },
    Basic,
}

impl Challenge {
    /// The best of these headers, or what they say that nobody knows.
    pub(super) fn best<'a>(headers: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut unknown = Vec::new();
        let mut basic = false;
        for (scheme, parameters) in headers.flat_map(parse) {
            let value = |wanted: &str| {
                let named = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted));
                named.map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = value("realm") {
                    return Ok(Self::Bearer { realm, service: value("service") });
                }
                unknown.push("Bearer without a realm".to_owned());
            } else if scheme.eq_ignore_ascii_case("basic") {
                basic = true;
            } else {
                unknown.push(scheme);
            }
        }
        if basic { Ok(Self::Basic) } else { Err(unknown.join(", ")) }
    }
}

type Parsed = (String, Vec<(String, String)>);

/// Schemes with their parameters. A word followed by `=` is a parameter, any other begins a scheme.
fn parse(header: &str) -> Vec<Parsed> {
    let mut found: Vec<Parsed> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let length = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        if length == 0 {
            return found;
        }
        let (word, after) = rest.split_at(length);
        match (after.trim_start().strip_prefix('='), found.last_mut()) {
            (Some(value), Some((_, parameters))) => {
                let (value, left) = parameter(value.trim_start());
                parameters.push((word.to_owned(), value));
                rest = left;
            }
            // A value of nothing.
            (Some(value), None) => rest = value,
            (None, _) => {
                found.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
    }
}

/// A value, in quotes or without, and what follows it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let length = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..length].to_owned(), &text[length..]);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, &quoted[at + 1..]),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(headers: &[&str]) -> Result<Challenge, String> {
        Challenge::best(headers.iter().copied())
    }

    fn bearer(realm: &str, service: Option<&str>) -> Result<Challenge, String> {
        Ok(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
    }

    #[test]
    fn challenges_as_registries_send_them() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull""#;
        assert_eq!(
            best(&[hub]),
            bearer("https://auth.docker.io/token", Some("registry.docker.io"))
        );
        assert_eq!(best(&["Basic realm=\"Registry\""]), Ok(Challenge::Basic));
        assert_eq!(best(&["basic"]), Ok(Challenge::Basic));
        assert_eq!(
            best(&["BEARER Realm=https://a/b , Service = x"]),
            bearer("https://a/b", Some("x"))
        );
        // Commas and quotes in a value, several schemes in one header and in several.
        assert_eq!(
            best(&[
                r#"Basic realm="a, \"b\"", Bearer realm="https://t", x="repository:a:pull,push""#
            ]),
            bearer("https://t", None)
        );
        assert_eq!(best(&["Basic realm=x", "Bearer realm=https://t"]), bearer("https://t", None));
    }

    #[test]
    fn what_is_no_challenge_ends() {
        for header in [
            "",
            ",",
            "=",
            "= =",
            "Bearer",
            "Bearer realm",
            "\"",
            "Bearer realm=\"",
            "Negotiate abc==",
        ] {
            assert!(best(&[header]).is_err() || header == "Bearer realm=\"", "{header}");
        }
        assert_eq!(best(&["Negotiate"]), Err("Negotiate".to_owned()));
    }
}
