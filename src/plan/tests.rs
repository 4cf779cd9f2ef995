//! The planner as a whole: random pods against the rules, and a few pods by hand.

use crate::names::{ContainerName, VolumeName};
use crate::plan::facts::HostFacts;
use crate::plan::step::{Edge, Forward, Plan, Step, StepId, Until};
use crate::plan::{Goal, Observed, PlanError, check, network, plan, render, sample, undo_order};
use crate::spec::model::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

const NAMES: [&str; 7] = ["web", "db", "cache", "volumes", "a", "b-1", "z9"];
const VOLUMES: [&str; 4] = ["data", "0", "conf", "web"];

fn kinds() -> impl Strategy<Value = Vec<Shared>> {
    subsequence(Shared::ALL.to_vec(), 0..=7)
}

fn volume() -> impl Strategy<Value = Volume> {
    prop_oneof![
        Just(Volume::Persistent),
        Just(Volume::EmptyDir),
        Just(Volume::Tmpfs { size: 4096 }),
        Just(Volume::Files { files: [("f".to_owned(), "text".to_owned())].into() }),
        any::<bool>().prop_map(|create| Volume::Host { path: "/srv/v".into(), create }),
    ]
}

/// What of a container does not depend on its siblings.
fn container() -> impl Strategy<Value = Container> {
    let scopes = (kinds(), any::<bool>());
    let mounts = subsequence(VOLUMES.to_vec(), 0..=4);
    (any::<bool>(), scopes, mounts, 0..3u32, any::<bool>()).prop_map(
        |(host, (kinds, private), mounts, uid, part)| {
            let scope = if private { Scope::Private } else { Scope::Host };
            let mount = |name: &str| Mount {
                source: MountSource::Volume {
                    name: name.parse().unwrap(),
                    sub_path: part.then(|| PathBuf::from("part")),
                },
                target: PathBuf::from(format!("/data/{name}")),
                read_only: false,
                idmap: !part,
                propagation: Propagation::Private,
            };
            Container {
                root: if host { Root::Host } else { Root::Directory("/srv/root".into()) },
                user: User { user: NameOrId::Id(uid), group: None },
                namespaces: kinds.into_iter().take(2).map(|kind| (kind, scope.clone())).collect(),
                mounts: mounts.into_iter().map(mount).collect(),
                ..sample::container()
            }
        },
    )
}

prop_compose! {
    /// A valid pod: dependencies lead back in a random order, ports are all different, and lead
    /// only to where there is a network.
    fn pod()(
        names in subsequence(NAMES.to_vec(), 1..=7).prop_shuffle(),
        containers in vec(container(), 7),
        volumes in vec(volume(), VOLUMES.len()),
        share in kinds(),
        mode in prop_oneof![
            4 => Just(NetworkMode::Bridge), 1 => Just(NetworkMode::Host), 1 => Just(NetworkMode::None)
        ],
        needs in vec((0..7usize, 0..7usize, any::<bool>()), 0..10),
        ports in vec((any::<bool>(), 1..40u16, 0..9usize), 0..8),
        reversed in any::<bool>(),
    ) -> PodSpec {
        let mut spec = sample::pod("shop", &[]);
        spec.share = share.into_iter().collect();
        spec.network = mode;
        let volume_name = |name: &str| name.parse::<VolumeName>().unwrap();
        spec.volumes = VOLUMES.iter().map(|name| volume_name(name)).zip(volumes).collect();
        let ids: Vec<ContainerName> = names.iter().map(|name| name.parse().unwrap()).collect();
        for (id, container) in ids.iter().zip(containers) {
            spec.containers.insert(id.clone(), Container { hostname: id.to_string(), ..container });
        }
        for (a, b, completed) in needs {
            let (late, early) = (a.max(b) % ids.len(), a.min(b) % ids.len());
            if early < late {
                let condition = if completed { Condition::Completed } else { Condition::Started };
                spec.containers[&ids[late]].depends_on.insert(ids[early].clone(), condition.into());
            }
        }
        if reversed {
            spec.containers.reverse();
        }
        for (n, (udp, count, owner)) in ports.into_iter().enumerate() {
            let first = 8000 + 100 * u16::try_from(n).unwrap();
            let port = Port {
                count,
                protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
                ..sample::port(&format!("{first}:{first}"))
            };
            let own = ids.get(owner).filter(|id| {
                network::side(&spec, &spec.containers[*id]) == network::Side::Own
            });
            match own {
                _ if spec.network != NetworkMode::Bridge => {}
                Some(id) => spec.containers[&id.clone()].ports.push(port),
                None => spec.ports.push(port),
            }
        }
        spec
    }
}

fn machine() -> impl Strategy<Value = HostFacts> {
    (any::<bool>(), any::<bool>(), 0..=12u8).prop_map(|(set_up, forwards, prefix)| {
        let mut facts = sample::facts();
        let gateway = crate::plan::facts::Subnet {
            address: "10.89.0.1".parse().unwrap(),
            prefix: 16 + prefix,
        };
        facts.network.bridge = set_up.then_some(gateway);
        facts.network.table = set_up;
        facts.network.ip_forward = forwards;
        facts.host_mounts = vec!["/usr".into(), "/var".into()];
        facts.host_secrets = vec!["/etc/shadow".into()];
        facts
    })
}

fn up(spec: &PodSpec, facts: &HostFacts) -> Plan {
    plan(Goal::Up(spec), None, facts).unwrap()
}

fn ids(plan: &Plan, of: impl Fn(&Step) -> bool) -> Vec<StepId> {
    (0..plan.steps.len()).filter(|&id| of(&plan.steps[id].step)).collect()
}

fn started(plan: &Plan, name: &ContainerName) -> StepId {
    let found =
        ids(plan, |step| matches!(step, Step::StartContainer { container } if container == name));
    assert_eq!(found.len(), 1, "{name} is started once");
    found[0]
}

fn created(plan: &Plan, name: &ContainerName) -> StepId {
    let found = ids(
        plan,
        |step| matches!(step, Step::CreateContainer(launch) if launch.container == *name),
    );
    assert_eq!(found.len(), 1, "{name} is created once");
    found[0]
}

fn waits(plan: &Plan, step: StepId, for_step: StepId, until: Until) -> bool {
    plan.steps[step].after.contains(&Edge { step: for_step, until })
}

fn forwards(plan: &Plan) -> Vec<&Forward> {
    let published = plan.steps.iter().filter_map(|planned| match &planned.step {
        Step::Publish { forwards } => Some(forwards),
        _ => None,
    });
    published.flatten().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_keeps_the_rules(spec in pod(), facts in machine()) {
        let plan = up(&spec, &facts);
        prop_assert_eq!(check::broken(&plan), Vec::<String>::new());
        let infra = ids(&plan, |step| matches!(step, Step::StartInfra(_)));
        prop_assert_eq!(infra.len(), 1);
    }

    #[test]
    fn nothing_of_the_file_is_lost(spec in pod(), facts in machine()) {
        let plan = up(&spec, &facts);
        let wanted: usize = spec.ports.len()
            + spec.containers.values().map(|container| container.ports.len()).sum::<usize>();
        prop_assert_eq!(forwards(&plan).len(), wanted);
        let made: Vec<String> = plan.steps.iter().filter_map(|planned| match &planned.step {
            Step::MakeVolume(volume) => Some(volume.name.clone()),
            _ => None,
        }).collect();
        let volumes = spec.volumes.iter()
            .filter(|(_, volume)| !matches!(volume, Volume::Host { create: false, .. }))
            .map(|(name, _)| name.to_string());
        prop_assert_eq!(made, volumes.collect::<Vec<_>>());
        for (name, container) in &spec.containers {
            let (create, start) = (created(&plan, name), started(&plan, name));
            prop_assert!(waits(&plan, start, create, Until::Done));
            for (needed, dependency) in &container.depends_on {
                let needed = started(&plan, needed);
                let waits = match dependency.condition {
                    Condition::Started | Condition::Ready => waits(&plan, start, needed, Until::Done),
                    Condition::Completed => waits(&plan, create, needed, Until::Completed),
                };
                prop_assert!(waits, "{name} does not wait for what it depends on");
            }
            let Step::CreateContainer(launch) = &plan.steps[create].step else { unreachable!() };
            for mount in &container.mounts {
                let mounts = launch.oci.mounts().as_ref().unwrap();
                prop_assert!(mounts.iter().any(|made| *made.destination() == mount.target));
            }
        }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes_and_survives_the_way_to_the_supervisor(
        spec in pod(), facts in machine()
    ) {
        let mut first = up(&spec, &facts);
        let bytes = serde_json::to_vec(&first).unwrap();
        prop_assert_eq!(&bytes, &serde_json::to_vec(&up(&spec, &facts)).unwrap());
        // Who carries it out has the programs, and of those that others carry out the documents.
        first.seccomp.iter_mut().filter(|it| !it.is_anothers).for_each(|it| it.document = None);
        let read: Plan = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(&read, &first);
        prop_assert_eq!(bytes, serde_json::to_vec(&read).unwrap());
    }

    #[test]
    fn undo_is_the_reverse(spec in pod(), facts in machine()) {
        let plan = up(&spec, &facts);
        let order: Vec<StepId> = undo_order(&plan).collect();
        prop_assert_eq!(order.len(), plan.steps.len());
        for (place, id) in order.iter().enumerate() {
            for edge in &plan.steps[*id].after {
                prop_assert!(order[place..].contains(&edge.step), "{} undone too early", edge.step);
            }
        }
    }

    #[test]
    fn a_container_with_ports_starts_after_they_are_published(spec in pod(), facts in machine()) {
        let plan = up(&spec, &facts);
        let publish = ids(&plan, |step| matches!(step, Step::Publish { .. }));
        for (name, container) in &spec.containers {
            let pods = network::side(&spec, container) == network::Side::Pod;
            if !publish.is_empty() && (pods || !container.ports.is_empty()) {
                prop_assert!(waits(&plan, started(&plan, name), publish[0], Until::Done));
            }
        }
    }

    #[test]
    fn nothing_is_done_twice_and_only_failures_again(
        spec in pod(), facts in machine(), codes in vec(0..2i32, 7)
    ) {
        let first = up(&spec, &facts);
        let text = serde_json::to_string(&spec).unwrap();
        let ended: BTreeMap<ContainerName, i32> =
            spec.containers.keys().cloned().zip(codes).collect();
        let failed: BTreeSet<&ContainerName> =
            ended.iter().filter(|(_, code)| **code != 0).map(|(name, _)| name).collect();
        let spec_then = serde_json::from_str(&text).unwrap();
        let observed = Observed { plan: first, spec: spec_then, ended: ended.clone(), stopped: [].into() };
        let again = plan(Goal::Up(&spec), Some(&observed), &facts).unwrap();
        prop_assert_eq!(check::broken(&again), Vec::<String>::new());
        prop_assert_eq!(again.steps.len(), 2 * failed.len());
        for name in failed {
            created(&again, name);
        }
    }
}

fn two() -> PodSpec {
    let mut spec = sample::pod("hello", &["web", "db"]);
    spec.ports = vec![sample::port("8080:80"), sample::port("9000-9099:9000-9099/udp")];
    spec.volumes = [("data".parse().unwrap(), Volume::Persistent)].into();
    let source = MountSource::Volume { name: "data".parse().unwrap(), sub_path: None };
    spec.containers[1].mounts = vec![Mount {
        source,
        target: "/var/lib/data".into(),
        read_only: false,
        idmap: true,
        propagation: Propagation::Private,
    }];
    spec.containers[0].depends_on = [("db".parse().unwrap(), Condition::Started.into())].into();
    spec.containers[0].argv = ["/bin/sh", "-c", "echo it's up"].map(String::from).into();
    spec
}

#[test]
fn only_so_many_ports_are_reserved() {
    let plan = up(&two(), &sample::facts());
    let reserved = plan.steps.iter().find_map(|planned| match &planned.step {
        Step::ReservePorts { ports } => Some(ports.iter().map(ToString::to_string).collect()),
        _ => None,
    });
    assert_eq!(reserved, Some(vec!["8080/tcp".to_owned()]));
}

#[test]
fn a_changed_file_is_refused_with_what_changed() {
    let (mut spec, facts) = (two(), sample::facts());
    let observed = Observed {
        plan: up(&spec, &facts),
        spec: serde_json::to_value(&spec).unwrap(),
        ended: BTreeMap::new(),
        stopped: [].into(),
    };
    let same = plan(Goal::Up(&spec), Some(&observed), &facts).unwrap();
    assert_eq!(same.steps, []);
    assert!(render::head(&same).contains("nothing to do"));
    spec.containers[0].env.insert("A".into(), "2".into());
    let PlanError::Changed { differences, .. } =
        plan(Goal::Up(&spec), Some(&observed), &facts).unwrap_err()
    else {
        panic!("another error")
    };
    assert_eq!(differences, [r#"containers.web.env.A: added, "2""#]);
    assert_eq!(plan(Goal::Down, Some(&observed), &facts), Ok(observed.plan.clone()));
    assert_eq!(plan(Goal::Down, None, &facts), Err(PlanError::NotObserved));
}

#[test]
fn what_never_came_because_another_failed_comes_with_it() {
    let (mut spec, facts) = (two(), sample::facts());
    spec.containers[0].depends_on = [("db".parse().unwrap(), Condition::Completed.into())].into();
    let observed = Observed {
        plan: up(&spec, &facts),
        spec: serde_json::to_value(&spec).unwrap(),
        ended: [("db".parse().unwrap(), 1)].into(),
        stopped: [].into(),
    };
    let again = plan(Goal::Up(&spec), Some(&observed), &facts).unwrap();
    let what: Vec<String> = again.steps.iter().map(|p| p.step.to_string()).collect();
    assert_eq!(what, ["create db", "start db", "create web", "start web"]);
    assert!(waits(&again, 2, 1, Until::Completed));
}

#[test]
fn a_missing_root_is_known_before_anything_is_touched() {
    let (spec, mut facts) = (two(), sample::facts());
    let problems = vec![("rootfs".to_owned(), "/srv/root is not a directory".to_owned())];
    facts.containers.entry("web".parse().unwrap()).or_default().problems = problems;
    let error = plan(Goal::Up(&spec), None, &facts).unwrap_err();
    assert_eq!(error.to_string(), "web: /srv/root is not a directory");
    assert_eq!(error.place().as_deref(), Some("containers.web.rootfs"));
}

#[test]
fn oci_documents_are_in_the_json_only_when_asked_for() {
    let plan = up(&two(), &sample::facts());
    let has_oci = |with| render::json(&plan, with).to_string().contains("\"ociVersion\"");
    assert_eq!((has_oci(true), has_oci(false)), (true, false));
}

#[test]
fn the_text_has_what_one_looks_for() {
    let plan = up(&two(), &sample::facts());
    let text = render::head(&plan) + &render::steps(&plan);
    for expected in
        ["pod hello (", "8080/tcp -> 10.89.", "start infra with new net, uts, ipc", "db runs"]
    {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line == line.trim_end()), "trailing space in\n{text}");
}
