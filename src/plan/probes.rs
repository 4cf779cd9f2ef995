//! The probes and hooks of a container of the file to those of the plan.

use crate::names::ContainerName;
use crate::plan::health::{self, Health};
use crate::plan::places::Places;
use crate::spec::model::{Check, Container, Probe};

pub(super) fn health(name: &ContainerName, container: &Container, places: &Places<'_>) -> Health {
    let probes = &container.probes;
    let with = container.depends_on.iter().filter(|(_, dependency)| dependency.restart);
    Health {
        startup: probes.startup.as_ref().map(probe),
        readiness: probes.readiness.as_ref().map(probe),
        liveness: probes.liveness.as_ref().map(probe),
        post_start: container.lifecycle.post_start.as_ref().map(check),
        pre_stop: container.lifecycle.pre_stop.as_ref().map(check),
        restarts_with: with.map(|(needed, _)| needed.clone()).collect(),
        notify: notifies(container).then(|| places.notify_socket(name)),
    }
}

/// Whether its program is to say itself how it is.
pub(super) fn notifies(container: &Container) -> bool {
    let probes = &container.probes;
    let all = [&probes.startup, &probes.readiness, &probes.liveness];
    all.into_iter().flatten().any(|probe| probe.check == Check::Notify)
}

fn probe(probe: &Probe) -> health::Probe {
    health::Probe {
        check: check(&probe.check),
        initial_delay: probe.initial_delay,
        interval: probe.interval,
        timeout: probe.timeout,
        successes: probe.successes,
        failures: probe.failures,
    }
}

fn check(check: &Check) -> health::Check {
    match check {
        Check::Exec(argv) => health::Check::Exec { argv: argv.clone() },
        Check::Http(request) => health::Check::Http(health::Request {
            port: request.port,
            path: request.path.clone(),
            tls: request.tls,
            headers: request.headers.clone(),
            status: request.status,
        }),
        Check::Tcp(port) => health::Check::Tcp { port: *port },
        Check::Log(pattern) => health::Check::Log { pattern: pattern.clone() },
        Check::File(path) => health::Check::File { path: path.clone() },
        Check::Notify => health::Check::Notify,
    }
}
