//! Indexes and manifests of OCI and of docker (v2 schema 2): read by what they contain, which their media
//! type must agree with, for a document that can be read as either is an attack (CVE-2021-41190).

use super::error::shown;
use super::{CONFIG_MAX, Document, Error, MANIFEST_MAX};
use crate::names::image::{Digest, Platform};
use serde::Deserialize;

/// More layers than overlayfs stacks (500) cannot run; more manifests than platforms there are help nobody.
const LAYERS_MAX: usize = 500;
const MANIFESTS_MAX: usize = 1000;

/// A part of an image, as a manifest announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub digest: Digest,
    /// Bytes as they travel.
    pub size: u64,
    pub media_type: String,
}

/// How a layer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// One image of one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub config: Descriptor,
    /// The lowest first.
    pub layers: Vec<(Descriptor, Compression)>,
}

/// What a document turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Manifest(Manifest),
    /// Manifests with the platforms that they say they are for.
    Index(Vec<(Descriptor, Option<Platform>)>),
}

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1";

/// Every media type of a manifest or an index that can be read, for the Accept header of a request.
pub const ACCEPTED: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: Option<String>,
    digest: Digest,
    size: u64,
    platform: Option<RawPlatform>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl Document {
    /// Its digest, which is the one that was asked for and the one that the source promises.
    pub fn verify(&self, what: &str, asked: Option<&Digest>) -> Result<Digest, Error> {
        if self.bytes.len() as u64 > MANIFEST_MAX {
            return Err(Error::TooLarge { what: what.to_owned(), most: MANIFEST_MAX });
        }
        for wanted in [asked, self.digest.as_ref()].into_iter().flatten() {
            let found = super::hash::of(wanted.algorithm(), &self.bytes);
            if found != *wanted {
                return Err(Error::Digest { what: what.to_owned(), wanted: wanted.clone(), found });
            }
        }
        Ok(asked.cloned().unwrap_or_else(|| Digest::of(&self.bytes)))
    }

    /// What it is. `what` names it in errors.
    pub fn read(&self, what: &str) -> Result<Kind, Error> {
        // A list of the fields in their order would be read, too, and by nobody else.
        if !self.bytes.trim_ascii_start().starts_with(b"{") {
            return Err(Error::nonsense(what, "it is no JSON object"));
        }
        let raw: RawDocument = serde_json::from_slice(&self.bytes)
            .map_err(|source| Error::Malformed { what: what.to_owned(), source })?;
        let said = [self.media_type.as_deref(), raw.media_type.as_deref()];
        let said: Vec<&str> = said.into_iter().flatten().map(without_parameters).collect();
        let old = said.iter().any(|word| word.starts_with(DOCKER_SCHEMA1));
        if old || raw.schema_version == Some(1) || raw.fs_layers.is_some() {
            return Err(Error::Schema1 { what: what.to_owned() });
        }
        if raw.schema_version != Some(2) {
            return Err(Error::nonsense(what, "its `schemaVersion` is not 2"));
        }
        let is_index = raw.manifests.is_some();
        if is_index && (raw.layers.is_some() || raw.config.is_some()) {
            return Err(Error::nonsense(what, "it is an index and a manifest at once"));
        }
        let fitting =
            if is_index { [OCI_INDEX, DOCKER_LIST] } else { [OCI_MANIFEST, DOCKER_MANIFEST] };
        if let Some(other) = said.iter().find(|word| !fitting.contains(word) && !is_vague(word)) {
            if ACCEPTED.contains(other) {
                let why = format!("it says that it is `{other}`, and it is not");
                return Err(Error::nonsense(what, why));
            }
            return Err(Error::MediaType { what: what.to_owned(), media_type: shown(other) });
        }
        if let Some(manifests) = raw.manifests {
            return index(manifests, what);
        }
        manifest(raw.config, raw.layers, raw.artifact_type, what).map(Kind::Manifest)
    }
}

/// What servers of plain files say of anything.
fn is_vague(media_type: &str) -> bool {
    matches!(media_type, "" | "application/json" | "application/octet-stream" | "text/plain")
}

fn without_parameters(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

fn index(manifests: Vec<RawDescriptor>, what: &str) -> Result<Kind, Error> {
    if manifests.len() > MANIFESTS_MAX {
        let why = format!("it has more than {MANIFESTS_MAX} manifests");
        return Err(Error::nonsense(what, why));
    }
    let entries = manifests.into_iter().map(|raw| {
        let platform = raw.platform.as_ref().map(RawPlatform::read);
        (raw.read(), platform)
    });
    Ok(Kind::Index(entries.collect()))
}

fn manifest(
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    artifact: Option<String>,
    what: &str,
) -> Result<Manifest, Error> {
    let (Some(config), Some(layers)) = (config, layers) else {
        return Err(Error::nonsense(what, "it has neither `manifests` nor `config` and `layers`"));
    };
    let config = config.read();
    let kind = config.media_type.as_str();
    let known = [
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    ];
    if !known.contains(&kind) && !is_vague(kind) {
        let media_type = shown(artifact.as_deref().unwrap_or(kind));
        return Err(Error::MediaType { what: what.to_owned(), media_type });
    }
    if config.size > CONFIG_MAX {
        return Err(Error::TooLarge { what: format!("the config of {what}"), most: CONFIG_MAX });
    }
    if layers.len() > LAYERS_MAX {
        return Err(Error::nonsense(what, format!("it has more than {LAYERS_MAX} layers")));
    }
    let layers = layers.into_iter().map(|raw| {
        let layer = raw.read();
        let compression = compression(&layer.media_type).ok_or_else(|| Error::MediaType {
            what: format!("the layer {}", layer.digest),
            media_type: shown(&layer.media_type),
        })?;
        Ok((layer, compression))
    });
    Ok(Manifest { config, layers: layers.collect::<Result<_, Error>>()? })
}

/// Layers that a registry may not pass on ("foreign", "nondistributable") are fetched like others: their
/// `urls` are never followed.
fn compression(media_type: &str) -> Option<Compression> {
    let kind = without_parameters(media_type);
    let oci = [
        "application/vnd.oci.image.layer.v1.",
        "application/vnd.oci.image.layer.nondistributable.v1.",
    ];
    let docker = [
        "application/vnd.docker.image.rootfs.diff.",
        "application/vnd.docker.image.rootfs.foreign.diff.",
    ];
    let rest = oci.into_iter().chain(docker).find_map(|prefix| kind.strip_prefix(prefix))?;
    match rest {
        "tar" => Some(Compression::None),
        "tar+gzip" | "tar.gzip" => Some(Compression::Gzip),
        "tar+zstd" | "tar.zstd" => Some(Compression::Zstd),
        _ => None,
    }
}

impl RawDescriptor {
    fn read(self) -> Descriptor {
        let media_type = self.media_type.unwrap_or_default();
        Descriptor { digest: self.digest, size: self.size, media_type }
    }
}

impl RawPlatform {
    fn read(&self) -> Platform {
        let variant = self.variant.as_deref().filter(|word| !word.is_empty()).map(shown);
        Platform { os: shown(&self.os), architecture: shown(&self.architecture), variant }
    }
}

/// The manifest of an index that fits `wanted` best, the first among equals. One that does not say for what
/// it is counts where it is the only one: layouts of one image are written so.
pub fn choose<'a>(
    entries: &'a [(Descriptor, Option<Platform>)],
    wanted: &Platform,
) -> Result<&'a Descriptor, Error> {
    let mut best: Option<(u32, &Descriptor)> = None;
    for (descriptor, platform) in entries {
        let fit = match platform {
            Some(platform) => wanted.fit(platform),
            None => (entries.len() == 1).then_some(0),
        };
        if let Some(fit) = fit.filter(|fit| best.is_none_or(|(most, _)| *fit > most)) {
            best = Some((fit, descriptor));
        }
    }
    best.map(|(_, descriptor)| descriptor).ok_or_else(|| {
        let mut offered: Vec<String> = Vec::new();
        for platform in entries.iter().filter_map(|(_, platform)| platform.as_ref()) {
            // What builders attach beside images (attestations) calls itself unknown/unknown.
            let name = platform.to_string();
            if platform.os != "unknown" && !offered.contains(&name) && offered.len() < 20 {
                offered.push(name);
            }
        }
        Error::NoPlatform { wanted: wanted.clone(), offered }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document { bytes: text.as_bytes().to_vec(), media_type: None, digest: None }
    }

    fn descriptor(kind: &str, more: &str) -> String {
        let digest = Digest::of(kind.as_bytes());
        format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":7{more}}}"#)
    }

    fn image(media_type: &str, layer: &str) -> String {
        let config = descriptor("application/vnd.oci.image.config.v1+json", "");
        let layer = descriptor(layer, "");
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{config},"layers":[{layer}]}}"#
        )
    }

    #[test]
    fn both_families_and_all_three_packings_are_read() {
        for (layer, wanted) in [
            ("application/vnd.oci.image.layer.v1.tar", Compression::None),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Gzip),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Compression::Gzip),
        ] {
            for family in [OCI_MANIFEST, DOCKER_MANIFEST] {
                let Kind::Manifest(manifest) = document(&image(family, layer)).read("x").unwrap()
                else {
                    panic!("no manifest");
                };
                assert_eq!(manifest.layers[0].1, wanted);
            }
        }
    }

    #[test]
    fn what_is_not_an_image_is_told_apart() {
        let layer = "application/vnd.oci.image.layer.v1.tar";
        let text = |error: Error| error.to_string();
        let read = |word: &str| text(document(word).read("it").expect_err(word));
        assert!(read(r#"{"schemaVersion":1,"fsLayers":[]}"#).contains("schema 1"));
        assert!(read("{").contains("cannot be understood"));
        assert!(read("<html>").contains("no JSON object"));
        let good = image(OCI_MANIFEST, layer);
        let fields: serde_json::Value = serde_json::from_str(&good).unwrap();
        let list =
            serde_json::json!([2, null, null, fields["config"], fields["layers"], null, null]);
        assert!(read(&list.to_string()).contains("no JSON object"));
        assert!(read(r#"{"schemaVersion":2}"#).contains("neither"));
        assert!(read(&image(OCI_INDEX, layer)).contains("and it is not"));
        assert!(read(&image("application/x-unknown", layer)).contains("application/x-unknown"));
        assert!(read(&image(OCI_MANIFEST, "application/x-sbom")).contains("application/x-sbom"));
        let both = image(OCI_MANIFEST, layer).replace(r#""layers""#, r#""manifests":[],"layers""#);
        assert!(read(&both).contains("at once"));
        let climbing = image(OCI_MANIFEST, layer).replace("sha256:", "sha256:../");
        assert!(read(&climbing).contains("cannot be understood"));
        let mut served = document(&image(OCI_MANIFEST, layer));
        served.media_type = Some(format!("{DOCKER_LIST}; charset=utf-8"));
        assert!(text(served.read("it").unwrap_err()).contains("and it is not"));
    }

    #[test]
    fn a_document_is_what_its_digest_says() {
        let mut document = document("{}");
        let own = Digest::of(b"{}");
        assert_eq!(document.verify("it", None).unwrap(), own);
        assert_eq!(document.verify("it", Some(&own)).unwrap(), own);
        let other = Digest::of(b"other");
        let error = document.verify("it", Some(&other)).unwrap_err().to_string();
        assert!(error.contains(&own.to_string()) && error.contains(&other.to_string()));
        document.digest = Some(other);
        assert!(document.verify("it", Some(&own)).is_err(), "the source's own word counts too");
    }

    #[test]
    fn an_index_is_searched_for_the_platform() {
        let entry = |name: &str, platform: Option<&str>| {
            let digest = Digest::of(name.as_bytes());
            let descriptor = Descriptor { digest, size: 1, media_type: String::new() };
            (descriptor, platform.map(|word| word.parse().unwrap()))
        };
        let entries = [
            entry("arm6", Some("linux/arm/v6")),
            entry("arm7", Some("linux/arm/v7")),
            entry("amd", Some("linux/amd64")),
            entry("none", Some("unknown/unknown")),
        ];
        let chosen = |platform: &str| {
            choose(&entries, &platform.parse().unwrap()).map(|found| found.digest.clone())
        };
        assert_eq!(chosen("linux/amd64").unwrap(), Digest::of(b"amd"));
        assert_eq!(chosen("linux/arm/v7").unwrap(), Digest::of(b"arm7"));
        assert_eq!(chosen("linux/arm/v6").unwrap(), Digest::of(b"arm6"));
        let error = chosen("linux/s390x").unwrap_err().to_string();
        assert_eq!(
            error,
            "nothing in it is for linux/s390x: it has linux/arm/v6, linux/arm/v7, linux/amd64"
        );
        let lone = [entry("lone", None)];
        assert!(choose(&lone, &Platform::host()).is_ok());
    }
}
