//! Words with rules. Each type here is built only from a word that obeys its rule, so no later code
//! asks again whether a name is legal: a name may become a file name, a host name or part of a path.

pub mod image;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Why a word is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name cannot be empty")]
    Empty,
    #[error("a name has at most {most} characters, this has {found}")]
    TooLong { found: usize, most: usize },
    #[error("a name is made of a-z, 0-9 and -, and `{0}` is none of them")]
    Character(char),
    #[error("a name begins and ends with a letter or a digit")]
    Edge,
}

/// The longest DNS label (RFC 1123).
const LABEL_MAX: usize = 63;

fn check_label(word: &str) -> Result<(), NameError> {
    if word.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(bad) = word.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Err(NameError::Character(bad));
    }
    if word.len() > LABEL_MAX {
        return Err(NameError::TooLong { found: word.len(), most: LABEL_MAX });
    }
    if word.starts_with('-') || word.ends_with('-') {
        return Err(NameError::Edge);
    }
    Ok(())
}

/// A type of name: a DNS label (RFC 1123) that cannot be taken for a name of another kind.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;
            fn try_from(word: &str) -> Result<Self, NameError> {
                check_label(word).map(|()| Self(word.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(word: String) -> Result<Self, NameError> {
                check_label(&word).map(|()| Self(word))
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(word: &str) -> Result<Self, NameError> {
                Self::try_from(word)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

label!(
    /// The name of a pod, unique under one runtime directory.
    PodName
);
label!(
    /// The name of a container, unique in its pod.
    ContainerName
);
label!(
    /// The name of a volume, unique in its pod.
    VolumeName
);

label!(
    /// The name of a secret, unique in its pod.
    SecretName
);

/// A network interface name that the kernel accepts: 1 to 15 bytes, no `/`, `:` or space.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IfName(String);

impl IfName {
    /// `IFNAMSIZ` less the terminating zero.
    const MAX: usize = 15;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for IfName {
    type Error = NameError;
    fn try_from(word: String) -> Result<Self, NameError> {
        if word.is_empty() || word == "." || word == ".." {
            return Err(NameError::Empty);
        }
        if word.len() > Self::MAX {
            return Err(NameError::TooLong { found: word.len(), most: Self::MAX });
        }
        match word.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '/' | ':')) {
            Some(bad) => Err(NameError::Character(bad)),
            None => Ok(Self(word)),
        }
    }
}

impl TryFrom<&str> for IfName {
    type Error = NameError;
    fn try_from(word: &str) -> Result<Self, NameError> {
        Self::try_from(word.to_owned())
    }
}

impl From<IfName> for String {
    fn from(name: IfName) -> Self {
        name.0
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// 10 hexadecimal digits of a hash over (runtime directory, pod): what the pod's objects in the kernel
/// are named by, so that whatever is left of it can be found from its name alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PodId(String);

impl PodId {
    pub fn new(run: &std::path::Path, pod: &PodName) -> Self {
        use std::os::unix::ffi::OsStrExt;
        let mut hex = String::with_capacity(10);
        for byte in &digest(&[run.as_os_str().as_bytes(), pod.as_str().as_bytes()])[..5] {
            hex.push_str(&format!("{byte:02x}"));
        }
        Self(hex)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PodId {
    type Error = NameError;
    fn try_from(word: String) -> Result<Self, NameError> {
        match word.chars().find(|c| !matches!(c, '0'..='9' | 'a'..='f')) {
            Some(bad) => Err(NameError::Character(bad)),
            None if word.len() != 10 => Err(NameError::TooLong { found: word.len(), most: 10 }),
            None => Ok(Self(word)),
        }
    }
}

impl From<PodId> for String {
    fn from(id: PodId) -> Self {
        id.0
    }
}

impl fmt::Display for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// SHA-256 over the parts, each closed by a zero byte, so that no two lists of parts run together.
pub fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_name_is_a_dns_label() {
        assert_eq!(PodName::try_from("shop-2").map(String::from), Ok("shop-2".to_owned()));
        for bad in ["", "Shop", "a/b", "..", "-a", "a-", "a b", "ä", &"a".repeat(64)] {
            assert!(PodName::try_from(bad).is_err(), "{bad:?} passed as a name");
        }
    }

    #[test]
    fn an_interface_name_fits_the_kernel() {
        assert!(IfName::try_from("podspec0").is_ok());
        for bad in ["", "a/b", "a:b", "a b", ".", "..", "sixteen-letters!"] {
            assert!(IfName::try_from(bad).is_err(), "{bad:?} passed as an interface name");
        }
    }

    #[test]
    fn ids_differ_by_runtime_directory_and_by_pod() {
        let id = |run: &str, pod: &str| PodId::new(run.as_ref(), &pod.parse().unwrap());
        assert_eq!(id("/run/podspec", "a"), id("/run/podspec", "a"));
        assert_ne!(id("/run/podspec", "a"), id("/run/podspec", "b"));
        assert_ne!(id("/run/podspec", "a"), id("/run/other", "a"));
    }
}
