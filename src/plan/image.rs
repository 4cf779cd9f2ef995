//! What an image says of its program, put where the pod file says nothing: as in Kubernetes, `command` replaces
//! the entrypoint and the command, `args` the command alone, and every other field of the file its own. The
//! image is hostile: what it says is judged here as the file's own words were when it was loaded.

use super::declared;
use super::network::{self, Side};
use crate::names::{ContainerName, VolumeName, digest};
use crate::plan::error::PlanError;
use crate::plan::facts::{HostFacts, ImageFacts};
use crate::plan::step::ImageUsed;
use crate::spec::model::{
    Container, Image, Mount, MountSource, NameOrId, PodSpec, Probes, Propagation, Role, Root,
    Signal, User, Volume,
};
use crate::spec::signal;
use std::path::{Component, Path, PathBuf};

/// Ids from here on are never taken from an image: -1 means "leave as it is" to setresuid(2).
const ID_END: u32 = 1 << 31;

/// The pod with every container as it will run.
pub(super) fn complete(spec: &PodSpec, facts: &HostFacts) -> Result<PodSpec, PlanError> {
    let shape = spec;
    let mut spec = spec.clone();
    for (name, container) in &mut spec.containers {
        let Root::Image(image) = &container.root else { continue };
        let image = image.clone();
        let reference = image.reference.to_string();
        let Some(known) = facts.images.get(&image.reference) else {
            return Err(PlanError::NoImage { container: name.clone(), image: reference });
        };
        let bad = |what: String| PlanError::BadImage {
            container: name.clone(),
            image: reference.clone(),
            what,
        };
        fill(container, &image, known).map_err(&bad)?;
        if let Some(health) = known.healthcheck.as_ref().filter(|_| takes_health(container)) {
            container.probes = declared::probes(health).map_err(&bad)?.unwrap_or_default();
        }
        if spec.auto_ports && network::side(shape, container) == Side::Own {
            let more = declared::ports(&known.exposed_ports, &container.ports).map_err(&bad)?;
            container.ports.extend(more);
        } else if spec.auto_ports && network::side(shape, container) == Side::Pod {
            let more = declared::ports(&known.exposed_ports, &spec.ports).map_err(&bad)?;
            spec.ports.extend(more);
        }
        for path in &known.missing_volumes {
            let target = volume_target(path).map_err(&bad)?;
            // The file's own mount is the better one.
            if container.mounts.iter().any(|mount| mount.target == target) {
                continue;
            }
            let volume = volume_name(name, path).map_err(&bad)?;
            spec.volumes.insert(volume.clone(), Volume::EmptyDir);
            let source = MountSource::Volume { name: volume, sub_path: None };
            let propagation = Propagation::Private;
            container.mounts.push(Mount {
                source,
                target,
                read_only: false,
                idmap: true,
                propagation,
            });
        }
    }
    Ok(spec)
}

/// What a container's root is of.
pub(super) fn used(container: &Container, facts: &HostFacts) -> Option<ImageUsed> {
    let Root::Image(image) = &container.root else { return None };
    let known = facts.images.get(&image.reference)?;
    Some(ImageUsed { reference: image.reference.clone(), digest: known.digest.clone() })
}

/// Where the file says nothing of how it is; an init container ends before it could be asked.
fn takes_health(container: &Container) -> bool {
    container.probes == Probes::default() && container.role != Role::Init
}

fn fill(container: &mut Container, image: &Image, known: &ImageFacts) -> Result<(), String> {
    container.argv = argv(image, known)?;
    if !image.working_dir && !known.working_dir.is_empty() {
        container.working_dir = working_dir(&known.working_dir)?;
    }
    if !image.user && !known.user.is_empty() {
        container.user = user(&known.user)?;
    }
    if !image.stop_signal && !known.stop_signal.is_empty() {
        let number = signal::signal(&known.stop_signal);
        let number = number.ok_or_else(|| wrong("the stop signal", &known.stop_signal))?;
        container.stop_signal = Signal(number);
    }
    let mut env = indexmap::IndexMap::new();
    for pair in &known.env {
        let (key, value) = pair.split_once('=').ok_or_else(|| wrong("the variable", pair))?;
        let good = !key.is_empty() && !key.contains(char::is_control) && !value.contains('\0');
        if !good {
            return Err(wrong("the variable", pair));
        }
        env.insert(key.to_owned(), value.to_owned());
    }
    env.extend(std::mem::take(&mut container.env));
    container.env = env;
    Ok(())
}

fn argv(image: &Image, known: &ImageFacts) -> Result<Vec<String>, String> {
    let argv: Vec<String> = match (&image.command, &image.args) {
        (Some(command), args) => command.iter().chain(args.iter().flatten()).cloned().collect(),
        (None, Some(args)) => known.entrypoint.iter().chain(args).cloned().collect(),
        (None, None) => known.entrypoint.iter().chain(&known.cmd).cloned().collect(),
    };
    match argv.first() {
        None => Err("names no program: write `command: [program, argument]`".to_owned()),
        Some(program) if program.is_empty() => Err("names a program without a name".to_owned()),
        Some(_) if argv.iter().any(|word| word.contains('\0')) => {
            Err("has a zero byte in its command".to_owned())
        }
        Some(_) => Ok(argv),
    }
}

/// "has `x` as ..., which is none": words of the image are shown without control characters.
pub(super) fn wrong(what: &str, word: &str) -> String {
    let shown: String = word.chars().filter(|c| !c.is_control()).take(80).collect();
    format!("has `{shown}` as {what}, and that is none")
}

/// The user or the group that an image names, and has not.
pub(super) fn no_such(
    container: &ContainerName,
    image: &Image,
    kind: &str,
    word: &str,
) -> PlanError {
    let file = if kind == "user" { "passwd" } else { "group" };
    PlanError::BadImage {
        container: container.clone(),
        image: image.reference.to_string(),
        what: format!("names the {kind} `{word}`, and its /etc/{file} has none of that name"),
    }
}

fn absolute(what: &str, word: &str) -> Result<PathBuf, String> {
    let path = Path::new(word);
    let normal = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    if path.is_absolute() && path.components().all(normal) && !word.contains(char::is_control) {
        return Ok(path.components().collect());
    }
    Err(wrong(what, word))
}

fn working_dir(word: &str) -> Result<PathBuf, String> {
    // docker takes one without a slash as below `/`.
    let rooted = if word.starts_with('/') { word.to_owned() } else { format!("/{word}") };
    absolute("the working directory", &rooted)
}

/// Never over what podspec or the kernel puts into a container.
fn volume_target(word: &str) -> Result<PathBuf, String> {
    let target = absolute("a volume", word)?;
    let kept = ["/proc", "/sys", "/dev"];
    if target == Path::new("/") || kept.iter().any(|top| target.starts_with(top)) {
        return Err(wrong("a volume", word));
    }
    Ok(target)
}

/// One that no file can have by chance.
fn volume_name(container: &ContainerName, path: &str) -> Result<VolumeName, String> {
    let hash = digest(&[container.as_str().as_bytes(), path.as_bytes()]);
    let hex: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    VolumeName::try_from(format!("image-{hex}")).map_err(|error| error.to_string())
}

/// `user[:group]`. Digits are always an id, and never looked up as a name (CVE-2024-40635).
fn user(word: &str) -> Result<User, String> {
    let part = |part: &str| {
        if part.is_empty() || part.contains(char::is_control) {
            return Err(wrong("the user", word));
        }
        if !part.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | ' ')) {
            return Ok(NameOrId::Name(part.to_owned()));
        }
        let id = part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u32>().ok());
        let id = id.flatten().filter(|id| *id < ID_END);
        id.map(NameOrId::Id).ok_or_else(|| wrong("the user", word))
    };
    match word.split_once(':') {
        Some((user, group)) => Ok(User { user: part(user)?, group: Some(part(group)?) }),
        None => Ok(User { user: part(word)?, group: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::image::Digest;
    use crate::plan::sample;

    fn known() -> ImageFacts {
        ImageFacts {
            digest: Digest::of(b"image"),
            layers: vec!["/l/2".into(), "/l/1".into()],
            entrypoint: vec!["/entry".into()],
            cmd: vec!["cmd".into(), "arg".into()],
            env: vec!["PATH=/image".into(), "A=1".into(), "E=".into()],
            working_dir: "/srv".into(),
            user: "33:44".into(),
            stop_signal: "SIGWINCH".into(),
            missing_volumes: Vec::new(),
            exposed_ports: vec!["80/tcp".into()],
            healthcheck: None,
        }
    }

    fn completed(
        change: impl FnOnce(&mut Image, &mut Container, &mut ImageFacts),
    ) -> Result<PodSpec, PlanError> {
        let (mut spec, mut facts) = (sample::pod("shop", &["web"]), sample::facts());
        let mut image = sample::image();
        let mut known = known();
        let container = spec.containers.get_mut("web".into_name()).unwrap();
        container.argv.clear();
        change(&mut image, container, &mut known);
        facts.images.insert(image.reference.clone(), known);
        container.root = Root::Image(image);
        complete(&spec, &facts)
    }

    trait IntoName {
        fn into_name(self) -> &'static ContainerName;
    }

    impl IntoName for &'static str {
        fn into_name(self) -> &'static ContainerName {
            Box::leak(Box::new(self.parse().unwrap()))
        }
    }

    fn web(spec: &PodSpec) -> &Container {
        &spec.containers["web".into_name()]
    }

    #[test]
    fn the_image_speaks_where_the_file_is_silent() {
        let spec = completed(|_, c, _| c.env = [("A".into(), "2".into())].into()).unwrap();
        let web = web(&spec);
        assert_eq!(web.argv, ["/entry", "cmd", "arg"]);
        assert_eq!(web.working_dir, Path::new("/srv"));
        assert_eq!(web.user, User { user: NameOrId::Id(33), group: Some(NameOrId::Id(44)) });
        assert_eq!(web.stop_signal, Signal(libc::SIGWINCH));
        let env: Vec<_> = web.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(env, ["PATH=/image", "A=2", "E="]);
    }

    #[test]
    fn command_and_args_replace_what_kubernetes_says() {
        let argv = |command: Option<&str>, args: Option<&str>| {
            let list = |word: Option<&str>| word.map(|word| vec![word.to_owned()]);
            let spec =
                completed(|i, _, _| (i.command, i.args) = (list(command), list(args))).unwrap();
            web(&spec).argv.join(" ")
        };
        assert_eq!(argv(None, None), "/entry cmd arg");
        assert_eq!(argv(Some("c"), None), "c");
        assert_eq!(argv(None, Some("a")), "/entry a");
        assert_eq!(argv(Some("c"), Some("a")), "c a");
        let none = completed(|_, _, k| (k.entrypoint, k.cmd) = (Vec::new(), Vec::new()));
        assert!(none.unwrap_err().to_string().contains("names no program"));
    }

    #[test]
    fn the_files_own_fields_stay() {
        let spec = completed(|i, c, _| {
            (i.working_dir, i.user, i.stop_signal) = (true, true, true);
            c.working_dir = "/own".into();
        })
        .unwrap();
        let web = web(&spec);
        assert_eq!(web.working_dir, Path::new("/own"));
        assert_eq!((&web.user.user, web.stop_signal), (&NameOrId::Id(0), Signal(15)));
    }

    #[test]
    fn users_of_an_image_are_ids_or_names_and_never_both() {
        let of = |word: &str| user(word).map(|user| (user.user, user.group));
        let id = |id| NameOrId::Id(id);
        assert_eq!(of("0"), Ok((id(0), None)));
        assert_eq!(of("1:1"), Ok((id(1), Some(id(1)))));
        assert_eq!(of("00"), Ok((id(0), None)));
        assert_eq!(
            of("web:log"),
            Ok((NameOrId::Name("web".into()), Some(NameOrId::Name("log".into()))))
        );
        for bad in [
            "1:",
            ":1",
            "+0",
            " 0",
            "-1",
            "2147483648",
            "4294967295",
            "4294967296",
            "99999999999",
            "1a",
            "a\nb",
        ] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn volumes_that_are_not_there_are_made_and_no_others() {
        let spec = completed(|_, _, k| k.missing_volumes = vec!["/data".into()]).unwrap();
        assert_eq!(spec.volumes.len(), 1);
        assert_eq!(web(&spec).mounts[0].target, Path::new("/data"));
        for bad in ["/", "/proc", "//proc/.", "/sub/../proc", "/sys/fs", "/dev", "data", "/a\nb"] {
            let error = completed(|_, _, k| k.missing_volumes = vec![bad.into()]).unwrap_err();
            assert_eq!(error.place().as_deref(), Some("containers.web.image"), "{bad:?}");
        }
    }

    #[test]
    fn an_image_that_lies_is_an_error_at_its_place() {
        type Change = fn(&mut ImageFacts);
        let cases: [(&str, Change); 5] = [
            ("working directory", |k| k.working_dir = "/proc/self/../..".into()),
            ("variable", |k| k.env = vec!["novalue".into()]),
            ("variable", |k| k.env = vec!["A\nB=1".into()]),
            ("stop signal", |k| k.stop_signal = "SIGNOTHING".into()),
            ("user", |k| k.user = "4294967296".into()),
        ];
        for (what, change) in cases {
            let error = completed(|_, _, known| change(known)).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
