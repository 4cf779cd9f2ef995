//! What `podspec plan --steps` shows of good cases, on a machine where podspec never ran: plan.txt. A
//! case takes part once it has that file, which may be empty before `UPDATE=1`.

use super::{cases, compare, load};
use podspec::draw;
use podspec::plan::facts::{
    CallerFacts, CgroupFacts, ContainerFacts, Controller, Directories, Disk, HostFacts,
    KernelFacts, NetworkFacts,
};
use podspec::plan::{Goal, plan, render};
use podspec::spec::Pod;
use std::fs;

fn facts(pod: &Pod) -> HostFacts {
    let root = ContainerFacts {
        passwd: "root:x:0:0:root:/root:/bin/sh\n".to_owned(),
        group: "root:x:0:\n".to_owned(),
        ..ContainerFacts::default()
    };
    HostFacts {
        directories: Directories {
            run: "/run/podspec".into(),
            data: "/var/lib/podspec".into(),
            netns: "/run/netns".into(),
            cgroups: "podspec".into(),
        },
        caller: CallerFacts::default(),
        cgroups: CgroupFacts {
            unified: Controller::ALL.into(),
            swap: true,
            cpus: "0-3".to_owned(),
            io_weight: Some("io.weight".to_owned()),
            disks: [("/dev/sda".into(), Disk::Whole { major: 8, minor: 0 })].into(),
            ..CgroupFacts::default()
        },
        kernel: KernelFacts::default(),
        ids: Default::default(),
        uptime: 0,
        network: NetworkFacts { mtu: 1500, ..NetworkFacts::default() },
        resolv_conf: "nameserver 192.0.2.1\n".to_owned(),
        host_mounts: Vec::new(),
        host_secrets: Vec::new(),
        images: [].into(),
        containers: pod.spec.containers.keys().map(|name| (name.clone(), root.clone())).collect(),
    }
}

fn shown(pod: &Pod) -> String {
    let plan = plan(Goal::Up(&pod.spec), None, &facts(pod));
    let plan = plan.unwrap_or_else(|error| panic!("{}: {error}", pod.spec.name));
    let picture = draw::containers(&pod.spec);
    let tree = draw::tree(&picture, usize::MAX, &|_, text| text.to_owned());
    let path = picture.critical_path().join(" > ");
    let critical = if path.is_empty() { path } else { format!("critical path: {path}\n") };
    format!("{}{critical}\n{tree}{}", render::head(&plan), render::steps(&plan))
}

#[test]
fn good_cases_are_planned_as_they_were() {
    let (mut bad, mut count) = (Vec::new(), 0);
    for case in cases().iter().filter(|case| case.join("plan.txt").exists()) {
        let text = fs::read_to_string(case.join("pod.yaml")).unwrap();
        let loaded = load(case, &text).unwrap();
        let plans: Vec<String> = loaded.pods.iter().map(shown).collect();
        compare(&case.join("plan.txt"), Some(&plans.join("\n")), &mut bad);
        count += 1;
    }
    assert!(bad.is_empty(), "{}\nUPDATE=1 writes these anew", bad.join("\n\n"));
    assert!(count >= 12, "only {count} cases have a plan");
}
