//! The process of a container as OCI has it: arguments, a complete environment, ids, capabilities.
//! Nothing of the caller's own environment or ids reaches it.

use crate::names::ContainerName;
use crate::plan::accounts::{self, Account};
use crate::plan::error::PlanError;
use crate::plan::facts::ContainerFacts;
use crate::plan::health::NOTIFY_SOCKET;
use crate::plan::{image, probes};
use crate::spec::model::{Check, Container, Image, NameOrId, Root};
use crate::sys::program::PATH;
use oci_spec::runtime::{Process, User};
use std::collections::BTreeSet;

const UMASK: u32 = 0o022;

/// `hostname`: of the container's uts namespace; none where that is the host's.
pub(super) fn process(
    name: &ContainerName,
    container: &Container,
    facts: &ContainerFacts,
    hostname: Option<&str>,
) -> Result<Process, PlanError> {
    let account = account(name, container, facts)?;
    let user = user(name, container, facts, account)?;
    let mut process = Process::default();
    process
        .set_args(Some(container.argv.clone()))
        .set_env(Some(environment(container, account, hostname)))
        .set_cwd(container.working_dir.clone())
        .set_user(user)
        .set_terminal(container.tty.then_some(true))
        .set_rlimits(None);
    Ok(process)
}

/// Who the program runs as. An id needs no entry: its group is then 0, its home `/`.
fn account<'a>(
    name: &ContainerName,
    container: &Container,
    facts: &'a ContainerFacts,
) -> Result<Account<'a>, PlanError> {
    match &container.user.user {
        NameOrId::Id(uid) => Ok(accounts::user_by_id(&facts.passwd, *uid).unwrap_or(Account {
            name: "",
            uid: *uid,
            gid: 0,
            home: None,
        })),
        NameOrId::Name(user) => {
            accounts::user_by_name(&facts.passwd, user).ok_or_else(|| match named_by(container) {
                Some(image) => image::no_such(name, image, "user", user),
                None => PlanError::NoSuchUser { container: name.clone(), user: user.clone() },
            })
        }
    }
}

/// The image that the user is from, where the file names none.
fn named_by(container: &Container) -> Option<&Image> {
    match &container.root {
        Root::Image(image) if !image.user => Some(image),
        _ => None,
    }
}

/// The primary group is in the list too: a process that is in no list of a file's group would pass the
/// file's "others" bits where "group" was meant to stop it. Those of an image's user are as its /etc/group has them,
/// as with docker, podman and Kubernetes; who is in what of another root's, the file says.
fn user(
    name: &ContainerName,
    container: &Container,
    facts: &ContainerFacts,
    account: Account<'_>,
) -> Result<User, PlanError> {
    let group = |wanted: &NameOrId, field: String| match wanted {
        NameOrId::Id(gid) => Ok(*gid),
        NameOrId::Name(group) => accounts::group_by_name(&facts.group, group).ok_or_else(|| {
            if let Some(image) = named_by(container).filter(|_| field == "user") {
                return image::no_such(name, image, "group", group);
            }
            let place = format!("containers.{name}.{field}");
            PlanError::NoSuchGroup { container: name.clone(), group: group.clone(), place }
        }),
    };
    let gid = match &container.user.group {
        Some(wanted) => group(wanted, "user".to_owned())?,
        None => account.gid,
    };
    let mut more = BTreeSet::new();
    if matches!(container.root, Root::Image(_)) && container.user.group.is_none() {
        more.extend(accounts::groups_of(&facts.group, account.name));
    }
    for (n, wanted) in container.groups.iter().enumerate() {
        more.insert(group(wanted, format!("groups.{n}"))?);
    }
    more.remove(&gid);
    let gids: Vec<u32> = [gid].into_iter().chain(more).collect();
    let mut user = User::default();
    user.set_uid(account.uid).set_gid(gid).set_umask(Some(UMASK)).set_additional_gids(Some(gids));
    Ok(user)
}

fn environment(container: &Container, account: Account<'_>, hostname: Option<&str>) -> Vec<String> {
    let given = &container.env;
    let home = account.home.unwrap_or(if account.uid == 0 { "/root" } else { "/" });
    let notify = probes::notifies(container).then_some(NOTIFY_SOCKET);
    let watchdog = watchdog(container);
    let defaults = [
        ("PATH", Some(PATH)),
        ("HOME", Some(home)),
        ("HOSTNAME", hostname),
        ("NOTIFY_SOCKET", notify),
        ("WATCHDOG_USEC", watchdog.as_deref()),
    ];
    defaults
        .into_iter()
        .filter_map(|(key, value)| value.map(|value| (key, value)))
        .filter(|(key, _)| !given.contains_key(*key))
        .chain(given.iter().map(|(key, value)| (key.as_str(), value.as_str())))
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

/// How often the program must say that it lives, as sd_watchdog_enabled(3) reads it.
fn watchdog(container: &Container) -> Option<String> {
    let probe = container.probes.liveness.as_ref();
    let probe = probe.filter(|probe| probe.check == Check::Notify)?;
    Some(probe.interval.as_micros().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;
    use crate::spec::model::User as UserSpec;

    const PASSWD: &str = "root:x:0:0::/root:\nweb:x:33:44::/srv/web:\n";
    const GROUP: &str = "www:x:44:\nlog:x:4:web\n";

    fn process_of(change: impl FnOnce(&mut Container)) -> Result<Process, PlanError> {
        let facts =
            ContainerFacts { passwd: PASSWD.into(), group: GROUP.into(), ..Default::default() };
        let mut container = sample::container();
        change(&mut container);
        process(&"web".parse().unwrap(), &container, &facts, Some("shop"))
    }

    fn user_of(user: NameOrId, group: Option<NameOrId>) -> Result<(u32, u32, Vec<u32>), PlanError> {
        let process = process_of(|c| c.user = UserSpec { user, group })?;
        let gids = process.user().additional_gids().clone().unwrap();
        Ok((process.user().uid(), process.user().gid(), gids))
    }

    #[test]
    fn users_by_name_and_by_id() {
        let name = |word: &str| NameOrId::Name(word.to_owned());
        assert_eq!(user_of(name("web"), None), Ok((33, 44, vec![44])));
        assert_eq!(user_of(NameOrId::Id(33), None), Ok((33, 44, vec![44])));
        assert_eq!(user_of(NameOrId::Id(77), None), Ok((77, 0, vec![0])));
        assert_eq!(user_of(name("web"), Some(name("log"))), Ok((33, 4, vec![4])));
        assert_eq!(user_of(NameOrId::Id(5), Some(NameOrId::Id(6))), Ok((5, 6, vec![6])));
        let error = user_of(name("nobody"), None).unwrap_err();
        assert_eq!(error.place().as_deref(), Some("containers.web.user"));
        let error = user_of(name("web"), Some(name("nogroup"))).unwrap_err();
        assert_eq!(error.place().as_deref(), Some("containers.web.user"));
    }

    #[test]
    fn groups_hold_the_primary_one_first_and_nothing_twice() {
        let groups = vec![NameOrId::Name("log".into()), NameOrId::Id(9), NameOrId::Id(0)];
        let process = process_of(|c| c.groups = groups).unwrap();
        assert_eq!(process.user().additional_gids().as_deref(), Some(&[0, 4, 9][..]));
        let error = process_of(|c| c.groups = vec![NameOrId::Name("x".into())]).unwrap_err();
        assert_eq!(error.place().as_deref(), Some("containers.web.groups.0"));
    }

    #[test]
    fn an_images_user_is_in_the_groups_that_it_has_him_in() {
        let groups_of = |user: NameOrId, group: Option<NameOrId>| {
            let process = process_of(|c| {
                c.root = Root::Image(sample::image());
                c.user = UserSpec { user, group };
            });
            process.unwrap().user().additional_gids().clone().unwrap()
        };
        let web = || NameOrId::Name("web".to_owned());
        assert_eq!(groups_of(web(), None), [44, 4]);
        assert_eq!(groups_of(NameOrId::Id(33), None), [44, 4]);
        assert_eq!(groups_of(NameOrId::Id(77), None), [0]);
        assert_eq!(groups_of(web(), Some(NameOrId::Id(9))), [9]);
    }

    #[test]
    fn a_user_that_only_the_image_names_is_the_images_mistake() {
        let refused = |of_file: bool, user: &str, group: Option<&str>| {
            let name = |word: &str| NameOrId::Name(word.to_owned());
            let process = process_of(|c| {
                c.root = Root::Image(Image { user: of_file, ..sample::image() });
                c.user = UserSpec { user: name(user), group: group.map(name) };
            });
            let error = process.unwrap_err();
            (error.place().unwrap_or_default(), error.to_string())
        };
        for (user, group, kind) in
            [("app", None, "user `app`"), ("web", Some("app"), "group `app`")]
        {
            let (place, said) = refused(false, user, group);
            assert_eq!(place, "containers.web.image");
            assert!(said.contains(&format!("names the {kind}, and its /etc/")), "{said}");
            assert_eq!(refused(true, user, group).0, "containers.web.user");
        }
    }

    #[test]
    fn the_environment_is_the_files_and_a_few_defaults() {
        let env = process_of(|c| c.env = [("A".into(), "1".into())].into()).unwrap();
        let expected = [&format!("PATH={PATH}"), "HOME=/root", "HOSTNAME=shop", "A=1"];
        assert_eq!(env.env().as_deref().unwrap(), expected);
        let given = [("HOME", "/h"), ("PATH", "/bin"), ("HOSTNAME", "")];
        let env = process_of(|c| c.env = given.map(|(k, v)| (k.into(), v.into())).into()).unwrap();
        assert_eq!(env.env().as_deref().unwrap(), ["HOME=/h", "PATH=/bin", "HOSTNAME="]);
    }
}
