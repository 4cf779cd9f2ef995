//! The name of an image as a user writes it, the digest of its parts, and the platform that is wanted of it.
//! The grammar is docker's and podman's (the `reference` package of `distribution`); nothing here opens
//! anything. Every part is checked, for it becomes part of a URL, a file name or a line on a terminal.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The longest `registry/repository`, as docker has it.
const NAME_MAX: usize = 255;
/// The longest tag.
const TAG_MAX: usize = 128;
/// The registry of a name without one, and the folder of one without a slash.
const DOCKER: &str = "docker.io";
const DOCKER_LIBRARY: &str = "library/";

/// Why a word names no image, and which part of it is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct ReferenceError {
    pub why: Why,
    /// Bytes of the word.
    pub at: Range<usize>,
}

/// What is wrong with a part of a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error("an image has a name")]
    Empty,
    #[error("an image's name has no capital letters")]
    UpperCase,
    #[error("`{0}` cannot stand in an image's name")]
    Character(char),
    #[error("a part of the name is empty, or begins or ends with `.`, `_` or `-`, or doubles one")]
    Separator,
    #[error("a name has at most {NAME_MAX} characters, this has {0}")]
    LongName(usize),
    #[error("64 hexadecimal digits are an id, not a name")]
    Hexadecimal,
    #[error("this is no registry: a host name or an address, and perhaps `:` and a port")]
    Registry,
    #[error("a tag is missing after `:`")]
    EmptyTag,
    #[error(
        "a tag is made of letters, digits, `_`, `.` and `-`, does not begin with `.` or `-`, and has at most {TAG_MAX} of them"
    )]
    Tag,
    #[error("{0}")]
    Digest(DigestError),
    #[error("an image's name has no `{0}`")]
    Scheme(String),
    #[error("the path after `{0}` is missing")]
    NoPath(&'static str),
}

/// Why a word is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error("a digest is `sha256:` and 64 hexadecimal digits, or `sha512:` and 128")]
    Form,
    #[error("`{0}` is no kind of digest that can be trusted: sha256 and sha512 are")]
    Algorithm(String),
    #[error(
        "a digest of this kind has {wanted} hexadecimal digits in small letters, this has {found}"
    )]
    Length { wanted: usize, found: usize },
    #[error("`{0}` is none of the digits 0-9 and a-f of a digest")]
    Character(char),
}

/// How a digest is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// A digest that may name a file: `sha256:` or `sha512:` and exactly its digits, in small letters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// The digest of these bytes, by the algorithm that everybody knows.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self::from_hash(Algorithm::Sha256, &sha2::Sha256::digest(bytes))
    }

    /// From the bytes that a hash function gave.
    pub fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Self {
        use fmt::Write;
        let mut hex = String::with_capacity(algorithm.digits());
        for byte in hash {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self { algorithm, hex }
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// Enough of it for a person: 12 digits.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(word: &str) -> Result<Self, DigestError> {
        let (kind, hex) = word.split_once(':').ok_or(DigestError::Form)?;
        let algorithm = match kind {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            other => return Err(DigestError::Algorithm(other.chars().take(20).collect())),
        };
        if let Some(bad) = hex.chars().find(|c| !matches!(c, '0'..='9' | 'a'..='f')) {
            return Err(DigestError::Character(bad));
        }
        if hex.len() != algorithm.digits() {
            let wanted = algorithm.digits();
            return Err(DigestError::Length { wanted, found: hex.len() });
        }
        Ok(Self { algorithm, hex: hex.to_owned() })
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(word: String) -> Result<Self, DigestError> {
        word.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.as_str(), self.hex)
    }
}

/// An image of a registry, every part filled in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryReference {
    /// Host, and port where one is named: `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub registry: String,
    pub repository: String,
    /// `latest` where the word has neither tag nor digest.
    pub tag: Option<String>,
    /// Wins over the tag.
    pub digest: Option<Digest>,
}

/// Where an image is and what it is called there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ImageReference {
    Registry(RegistryReference),
    /// `oci:DIR[:TAG]`: an image layout.
    Layout {
        directory: PathBuf,
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`: a layout in a tar archive.
    OciArchive {
        file: PathBuf,
        tag: Option<String>,
    },
    /// `docker-archive:FILE[:REF]`: what `docker save` writes.
    DockerArchive {
        file: PathBuf,
        tag: Option<String>,
    },
}

impl ImageReference {
    /// Whether it names what is on this machine: nothing of it comes over a network.
    pub fn is_local(&self) -> bool {
        !matches!(self, Self::Registry(_))
    }

    /// The digest that the reference itself asks for.
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Registry(reference) => reference.digest.as_ref(),
            _ => None,
        }
    }

    /// The file or directory of a local one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Registry(_) => None,
            Self::Layout { directory, .. } => Some(directory),
            Self::OciArchive { file, .. } | Self::DockerArchive { file, .. } => Some(file),
        }
    }

    /// A relative path becomes one below `base`; registries' names stay as they are.
    pub fn below(mut self, base: &Path) -> Self {
        match &mut self {
            Self::Registry(_) => {}
            Self::Layout { directory: path, .. }
            | Self::OciArchive { file: path, .. }
            | Self::DockerArchive { file: path, .. } => {
                if path.is_relative() {
                    // Without the dots of `./image`.
                    *path = base.join(&path).components().collect();
                }
            }
        }
        self
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(word: &str) -> Result<Self, ReferenceError> {
        if let Some(bad) = word.char_indices().find(|(_, c)| c.is_control()) {
            return Err(error(Why::Character(bad.1), bad.0..bad.0 + bad.1.len_utf8()));
        }
        if let Some(at) = word.find("://") {
            return Err(error(Why::Scheme(word[..at + 3].to_owned()), 0..at + 3));
        }
        let layout = |prefix| path_and_tag(word, prefix);
        if word.starts_with("oci:") {
            return layout("oci:").map(|(directory, tag)| Self::Layout { directory, tag });
        }
        if word.starts_with("oci-archive:") {
            return layout("oci-archive:").map(|(file, tag)| Self::OciArchive { file, tag });
        }
        if word.starts_with("docker-archive:") {
            return layout("docker-archive:").map(|(file, tag)| Self::DockerArchive { file, tag });
        }
        registry(word).map(Self::Registry)
    }
}

fn error(why: Why, at: Range<usize>) -> ReferenceError {
    ReferenceError { why, at }
}

/// As containers/image has it: the path ends at the first colon.
fn path_and_tag(
    word: &str,
    prefix: &'static str,
) -> Result<(PathBuf, Option<String>), ReferenceError> {
    let rest = &word[prefix.len()..];
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    if path.is_empty() {
        return Err(error(Why::NoPath(prefix), 0..word.len()));
    }
    if tag.is_some_and(str::is_empty) {
        return Err(error(Why::EmptyTag, word.len() - 1..word.len()));
    }
    Ok((path.into(), tag.map(str::to_owned)))
}

fn registry(word: &str) -> Result<RegistryReference, ReferenceError> {
    let (named, digest) = match word.split_once('@') {
        Some((named, digest)) => {
            let digest = digest
                .parse()
                .map_err(|why| error(Why::Digest(why), named.len() + 1..word.len()))?;
            (named, Some(digest))
        }
        None => (word, None),
    };
    // The colon of a port is followed by a slash.
    let (name, tag) = match named.rfind(':').filter(|at| !named[*at..].contains('/')) {
        Some(at) if !named[at..].contains(']') => (&named[..at], Some(&named[at + 1..])),
        _ => (named, None),
    };
    if let Some(tag) = tag {
        check_tag(tag).map_err(|why| error(why, name.len()..named.len()))?;
    }
    if name.is_empty() {
        return Err(error(Why::Empty, 0..word.len()));
    }
    if name.len() > NAME_MAX {
        return Err(error(Why::LongName(name.len()), 0..name.len()));
    }
    let (registry, repository) = split_registry(name)?;
    let tag = match (tag, &digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, Some(_)) => None,
        (None, None) => Some("latest".to_owned()),
    };
    Ok(RegistryReference { registry, repository, tag, digest })
}

/// The first part is a registry if it could not be a folder: docker's own rule.
fn split_registry(name: &str) -> Result<(String, String), ReferenceError> {
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':', '[']) || first == "localhost" || has_capital(first) =>
        {
            check_registry(first).map_err(|why| error(why, 0..first.len()))?;
            (first, rest)
        }
        _ => (DOCKER, name),
    };
    check_repository(repository, name.len() - repository.len())?;
    let docker = matches!(registry, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    if !docker {
        return Ok((registry.to_owned(), repository.to_owned()));
    }
    if repository.contains('/') {
        return Ok((DOCKER.to_owned(), repository.to_owned()));
    }
    Ok((DOCKER.to_owned(), format!("{DOCKER_LIBRARY}{repository}")))
}

fn has_capital(word: &str) -> bool {
    word.chars().any(char::is_uppercase)
}

fn check_registry(word: &str) -> Result<(), Why> {
    let after = |host: &str| word[host.len()..].to_owned();
    let (host, port) = match word.find(']') {
        Some(at) => (&word[..=at], after(&word[..=at])),
        None => word.split_once(':').map_or((word, String::new()), |(host, _)| (host, after(host))),
    };
    let good_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| {
            port.parse::<u16>().is_ok_and(|port| port != 0)
                && port.bytes().all(|b| b.is_ascii_digit())
        });
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let good_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(label),
    };
    if good_host && good_port { Ok(()) } else { Err(Why::Registry) }
}

/// Parts of small letters and digits, between them `.`, `_`, `__` or any number of `-`.
fn check_repository(repository: &str, offset: usize) -> Result<(), ReferenceError> {
    let mut at = offset;
    if !repository.contains('/') && repository.len() == 64 && is_hex(repository) {
        return Err(error(Why::Hexadecimal, at..at + 64));
    }
    for part in repository.split('/') {
        let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
        if let Some((place, bad)) = part.char_indices().find(|(_, c)| !allowed(*c)) {
            if bad.is_uppercase() {
                return Err(error(Why::UpperCase, at..at + part.len()));
            }
            let start = at + place;
            return Err(error(Why::Character(bad), start..start + bad.len_utf8()));
        }
        if !is_part(part) {
            // An empty part shows at the slash beside it.
            let from = if part.is_empty() { at.saturating_sub(1) } else { at };
            return Err(error(Why::Separator, from..(at + part.len()).max(from + 1)));
        }
        at += part.len() + 1;
    }
    Ok(())
}

fn is_hex(word: &str) -> bool {
    word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_part(part: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    if !part.starts_with(is_word) || !part.ends_with(is_word) {
        return false;
    }
    part.split(is_word).all(|between| {
        matches!(between, "" | "." | "_" | "__") || between.bytes().all(|b| b == b'-')
    })
}

fn check_tag(tag: &str) -> Result<(), Why> {
    if tag.is_empty() {
        return Err(Why::EmptyTag);
    }
    let good = tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if good && tag.len() <= TAG_MAX && !tag.starts_with(['.', '-']) {
        Ok(())
    } else {
        Err(Why::Tag)
    }
}

impl TryFrom<String> for ImageReference {
    type Error = ReferenceError;
    fn try_from(word: String) -> Result<Self, ReferenceError> {
        word.parse()
    }
}

impl From<ImageReference> for String {
    fn from(reference: ImageReference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ImageReference {
    /// In full, however short it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, path, tag) = match self {
            Self::Registry(reference) => return reference.fmt(f),
            Self::Layout { directory, tag } => ("oci:", directory, tag),
            Self::OciArchive { file, tag } => ("oci-archive:", file, tag),
            Self::DockerArchive { file, tag } => ("docker-archive:", file, tag),
        };
        write!(f, "{prefix}{}", path.display())?;
        match tag {
            Some(tag) => write!(f, ":{tag}"),
            None => Ok(()),
        }
    }
}

/// An operating system and a processor, by the words of Go and OCI: `linux/amd64`, `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// What this program was built for, which is what it can run.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            other => (other, None),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// How well what is offered runs where `self` is wanted: the most is best, None is not at all.
    /// Processors of one family run what was built for an older one of it.
    pub fn fit(&self, offered: &Self) -> Option<u32> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        let step = |variant: &Option<String>| match variant.as_deref() {
            None => Some(0),
            Some(word) => word.strip_prefix('v').and_then(|digits| digits.parse::<u32>().ok()),
        };
        match (self.architecture.as_str(), step(&self.variant), step(&offered.variant)) {
            // arm64 has had one variant since it exists.
            ("arm64", ..) => Some(1),
            // No variant: made for the least of the family.
            (_, Some(wanted), Some(offered)) => {
                let ours = if wanted == 0 && self.architecture == "amd64" { 1 } else { wanted };
                (offered <= ours).then_some(offered + 1)
            }
            _ => (self.variant == offered.variant).then_some(1),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let wrong = || format!("`{word}` is no platform, such as `linux/amd64` or `linux/arm/v7`");
        let good = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let parts: Vec<&str> = word.split('/').collect();
        if !parts.iter().all(|part| good(part)) {
            return Err(wrong());
        }
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
            _ => return Err(wrong()),
        };
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(word: &str) -> String {
        word.parse::<ImageReference>().unwrap_or_else(|e| panic!("{word}: {e}")).to_string()
    }

    fn why(word: &str) -> (Why, String) {
        let error = word.parse::<ImageReference>().expect_err(word);
        (error.why, word[error.at].to_owned())
    }

    #[test]
    fn short_names_are_filled_in_as_docker_does() {
        let hash = "a".repeat(64);
        for (short, long) in [
            ("httpd", "docker.io/library/httpd:latest"),
            ("httpd:2.4", "docker.io/library/httpd:2.4"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest"),
            ("docker.io/httpd", "docker.io/library/httpd:latest"),
            ("index.docker.io/a/b", "docker.io/a/b:latest"),
            ("localhost/a", "localhost/a:latest"),
            ("localhost:5000/a:b", "localhost:5000/a:b"),
            ("ghcr.io/x/y_z/a__b/c---d:V1", "ghcr.io/x/y_z/a__b/c---d:V1"),
            ("Registry.Example/x", "Registry.Example/x:latest"),
            ("[::1]:5000/x:y", "[::1]:5000/x:y"),
            ("[::1]/x", "[::1]/x:latest"),
            ("127.0.0.1:80/x", "127.0.0.1:80/x:latest"),
            ("oci:/a/b", "oci:/a/b"),
            ("oci:/a/b:c", "oci:/a/b:c"),
            ("oci-archive:x.tar:v", "oci-archive:x.tar:v"),
            ("docker-archive:x.tar:busybox:1", "docker-archive:x.tar:busybox:1"),
        ] {
            assert_eq!(full(short), long);
            assert_eq!(full(long), long, "its own long form");
        }
        assert_eq!(full(&format!("x/y@sha256:{hash}")), format!("docker.io/x/y@sha256:{hash}"));
        let both = format!("ghcr.io/x/y:1@sha256:{hash}");
        assert_eq!(full(&both), both);
    }

    #[test]
    fn what_is_no_reference_says_where() {
        let part = |why: Why, part: &str| (why, part.to_owned());
        assert_eq!(why("Httpd:2.4"), part(Why::UpperCase, "Httpd"));
        assert_eq!(why("a/B/c"), part(Why::UpperCase, "B"));
        assert_eq!(why("httpd:"), part(Why::EmptyTag, ":"));
        assert_eq!(why("oci:dir:"), part(Why::EmptyTag, ":"));
        assert_eq!(why("httpd:a/b"), part(Why::Registry, "httpd:a"));
        assert_eq!(why("httpd:.x"), part(Why::Tag, ":.x"));
        assert_eq!(why("a//b"), part(Why::Separator, "/"));
        assert_eq!(why("a/"), part(Why::Separator, "/"));
        assert_eq!(why("-a"), part(Why::Separator, "-a"));
        assert_eq!(why("a..b"), part(Why::Separator, "a..b"));
        assert_eq!(why("a___b"), part(Why::Separator, "a___b"));
        assert_eq!(why("a b"), part(Why::Character(' '), " "));
        assert_eq!(why("a\nb"), part(Why::Character('\n'), "\n"));
        assert_eq!(why(""), part(Why::Empty, ""));
        assert_eq!(why(":tag"), part(Why::Empty, ":tag"));
        assert_eq!(why("docker://httpd"), part(Why::Scheme("docker://".into()), "docker://"));
        assert_eq!(why("oci:"), part(Why::NoPath("oci:"), "oci:"));
        assert_eq!(why("host:99999/x"), part(Why::Registry, "host:99999"));
        assert_eq!(why("host:+80/x"), part(Why::Registry, "host:+80"));
        assert_eq!(why("[::g]/x"), part(Why::Registry, "[::g]"));
        assert_eq!(why(&"0".repeat(64)).0, Why::Hexadecimal);
        assert_eq!(why(&"a/".repeat(200)).0, Why::LongName(400));
        assert_eq!(why("../../x").0, Why::Registry);
        assert_eq!(why("a/../b").0, Why::Separator);
    }

    #[test]
    fn a_digest_is_checked_before_it_names_anything() {
        assert!(format!("sha256:{}", "0f".repeat(32)).parse::<Digest>().is_ok());
        assert!(format!("sha512:{}", "0f".repeat(64)).parse::<Digest>().is_ok());
        for bad in [
            "sha256:../../x".to_owned(),
            format!("sha256:{}", "AB".repeat(32)),
            format!("sha256:{}", "ab".repeat(31)),
            format!("sha256:{}", "ab".repeat(64)),
            format!("md5:{}", "ab".repeat(16)),
            "sha256:".to_owned(),
            "ab".repeat(32),
            String::new(),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad} passed as a digest");
            assert!(format!("x@{bad}").parse::<ImageReference>().is_err());
        }
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
    }

    #[test]
    fn a_platform_runs_what_its_elders_run() {
        let platform = |word: &str| word.parse::<Platform>().unwrap();
        let arm7 = platform("linux/arm/v7");
        assert!(arm7.fit(&platform("linux/arm/v6")) < arm7.fit(&platform("linux/arm/v7")));
        assert_eq!(platform("linux/arm/v6").fit(&arm7), None);
        assert!(platform("linux/arm64/v8").fit(&platform("linux/arm64")).is_some());
        assert!(platform("linux/arm64").fit(&platform("linux/arm64/v8")).is_some());
        assert!(platform("linux/amd64").fit(&platform("linux/amd64")).is_some());
        assert_eq!(platform("linux/amd64").fit(&platform("linux/amd64/v3")), None);
        assert_eq!(platform("linux/amd64").fit(&platform("linux/arm64")), None);
        assert_eq!(platform("linux/amd64").fit(&platform("windows/amd64")), None);
        for bad in ["linux", "linux/", "a/b/c/d", "linux/../x"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_relative_path_is_below_the_pod_file() {
        let reference = "oci:./image:x".parse::<ImageReference>().unwrap();
        assert_eq!(reference.below(Path::new("/pods")).to_string(), "oci:/pods/image:x");
    }
}
