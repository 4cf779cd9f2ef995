//! What an image says of its program: the config that its manifest names. Kept as the image has it, within
//! bounds; what it means is decided in `plan`.

use super::Error;
use crate::names::image::{Digest, Platform};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// A config, as far as podspec uses it. The names of the fields are the file's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// KEY=VALUE.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(default, deserialize_with = "keys", skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// `80/tcp`, or `80`.
    #[serde(default, deserialize_with = "keys", skip_serializing_if = "Vec::is_empty")]
    pub exposed_ports: Vec<String>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// docker's probe of an image; times are nanoseconds, 0 where the image leaves them open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `[NONE]`, `[CMD, program, …]` or `[CMD-SHELL, line]`.
    #[serde(deserialize_with = "or_default")]
    pub test: Vec<String>,
    pub interval: u64,
    pub timeout: u64,
    pub start_period: u64,
    pub start_interval: u64,
    pub retries: u32,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    pub config: Config,
    pub platform: Platform,
    /// Of the layers unpacked from their compression, the lowest first.
    pub diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    variant: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    config: Config,
    rootfs: RawRootfs,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    diff_ids: Vec<Digest>,
}

/// Go writes null for what is empty.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// A set, as Go writes one: a map to empty objects.
fn keys<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Set {
        Map(BTreeMap<String, serde::de::IgnoredAny>),
        List(Vec<String>),
    }
    Ok(match Option::<Set>::deserialize(from)? {
        Some(Set::Map(map)) => map.into_keys().collect(),
        Some(Set::List(list)) => list,
        None => Vec::new(),
    })
}

/// Reads the config of an image with so many layers.
pub fn read_config(bytes: &[u8], layers: usize) -> Result<ConfigFile, Error> {
    let what = || "the image's config".to_owned();
    let raw: Raw = serde_json::from_slice(bytes)
        .map_err(|source| Error::Malformed { what: what(), source })?;
    if raw.rootfs.kind != "layers" {
        return Err(Error::nonsense(what(), "its `rootfs` is not of the type `layers`"));
    }
    if raw.rootfs.diff_ids.len() != layers {
        let found = raw.rootfs.diff_ids.len();
        let why = format!("it is for {found} layers, and the manifest has {layers}");
        return Err(Error::nonsense(what(), why));
    }
    let platform = Platform {
        os: super::error::shown(&raw.os),
        architecture: super::error::shown(&raw.architecture),
        variant: raw.variant.filter(|word| !word.is_empty()).map(|word| super::error::shown(&word)),
    };
    Ok(ConfigFile { config: raw.config, platform, diff_ids: raw.rootfs.diff_ids })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn what_go_writes_is_read() {
        let text = format!(
            r#"{{"architecture":"amd64","os":"linux","created":"2020-01-01T00:00:00Z",
            "config":{{"User":"www-data","ExposedPorts":{{"80/tcp":{{}}}},"Env":["PATH=/bin"],
            "Entrypoint":null,"Cmd":["httpd","-f"],"Volumes":{{"/data":{{}}}},"WorkingDir":"/srv",
            "StopSignal":"SIGWINCH","Labels":null,"OnBuild":null,
            "Healthcheck":{{"Test":["CMD-SHELL","true"],"Interval":30000000000}}}},
            "rootfs":{{"type":"layers","diff_ids":["{DIFF}"]}},"history":[]}}"#
        );
        let whole = read_config(text.as_bytes(), 1).unwrap();
        assert_eq!(whole.config.cmd, ["httpd", "-f"]);
        assert_eq!(whole.config.exposed_ports, ["80/tcp"]);
        assert_eq!(whole.config.volumes, ["/data"]);
        assert_eq!(whole.config.healthcheck.as_ref().unwrap().interval, 30_000_000_000);
        assert_eq!(whole.platform.to_string(), "linux/amd64");
        assert_eq!(whole.diff_ids[0].to_string(), DIFF);
        let again = serde_json::to_string(&whole.config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&again).unwrap(), whole.config);
    }

    #[test]
    fn a_config_without_its_layers_is_none() {
        let text = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{DIFF}"]}}}}"#);
        assert!(read_config(text.as_bytes(), 1).is_ok());
        assert!(read_config(text.as_bytes(), 2).unwrap_err().to_string().contains("2"));
        assert!(read_config(b"{}", 0).is_err());
        assert!(
            read_config(br#"{"config":null,"rootfs":{"type":"layers","diff_ids":null}}"#, 0)
                .is_ok()
        );
    }
}
