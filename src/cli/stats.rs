//! `podspec stats`: what pods and their containers use, from their cgroups and veths. On a terminal it is
//! drawn again and again in place; else it is one sample, or one after the other with `--watch`.

use super::error::CliError;
use super::output::{self, rounded, size};
use super::screen::{On, Screen};
use super::target::{self, Target, TargetArg};
use super::{Format, running, signals};
use crate::cgroup::{Accounts, Amount, BlockIo, CgroupError, Hierarchy, Pressure, Source, Usage};
use crate::names::{ContainerName, IfName, PodName};
use crate::net::counters::{Counters, counters};
use crate::plan::step::{Limits, Plan, Step};
use crate::state::store::Store;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

/// Over how long processor time is measured where one sample is all that is wanted.
pub(super) const GLANCE: Duration = Duration::from_millis(200);
/// How often a live view is drawn.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// Show what pods and containers use
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec stats                         all pods, live; Ctrl-C ends it
  podspec stats --no-stream shop        once
  podspec stats shop/web shop/db
  podspec stats --watch --format json shop | jq -c '.pods[0].cpu.percent'

The first line of a pod is the sum of it, and the network that its containers share. CPU % is of one
processor. MEM is what the memory controller counts; where the pod's cgroups have none, it is the memory
that the processes have mapped, what several share counted in parts, and BLOCK is of the processes that
live now. JSON names the source of each value. PRESSURE is the share of the last ten seconds in which
something waited for cpu, memory and io.

Without a terminal it is one sample, measured over 0.2 s. In JSON a sample is one object on one line.")]
pub(super) struct Stats {
    /// One sample, and no more
    #[arg(long, conflicts_with = "watch")]
    no_stream: bool,
    /// Go on with a sample a second, also without a terminal
    #[arg(short, long)]
    watch: bool,
    /// Pods, or containers of them; all pods where none is named
    #[arg(value_name = "POD[/CONTAINER]")]
    targets: Vec<TargetArg>,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
}

/// All that was read at one moment: pod, then infra (None) and each container.
pub(super) type Readings = BTreeMap<PodName, Vec<(Option<ContainerName>, Reading)>>;

#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    at: Instant,
    usage: Usage,
    network: Option<Counters>,
    /// Of the pod's cgroup, with infra's line.
    pressure: Option<Pressure>,
    /// Of the pod, with infra's line.
    bounds: Bounds,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    memory: Option<u64>,
    tasks: Option<u64>,
    /// Processors.
    cpus: Option<f64>,
}

impl Bounds {
    fn of(limits: &Limits) -> Self {
        Self { memory: limits.memory_bytes(), tasks: limits.pids(), cpus: limits.cpus() }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Sample {
    time: String,
    pub(super) pods: Vec<PodStats>,
}

#[derive(Debug, Serialize)]
pub(super) struct PodStats {
    pub(super) name: PodName,
    /// None where only some of its containers are asked for.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) total: Option<Values>,
    pub(super) containers: Vec<ContainerStats>,
}

#[derive(Debug, Serialize)]
pub(super) struct ContainerStats {
    pub(super) name: ContainerName,
    #[serde(flatten)]
    pub(super) values: Values,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Values {
    pub(super) cpu: Cpu,
    /// Bytes.
    pub(super) memory: Amount,
    pub(super) tasks: Amount,
    pub(super) block_io: BlockIo,
    /// None where it has no network of its own.
    pub(super) network: Option<Network>,
    pub(super) pressure: Option<Pressure>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cpu {
    pub(super) percent: f64,
    usage_microseconds: u64,
    /// Processors.
    pub(super) limit: Option<f64>,
    source: Source,
}

/// As seen from inside.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Network {
    pub(super) received: u64,
    pub(super) sent: u64,
    source: &'static str,
}

impl Stats {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let targets =
            if self.targets.is_empty() { None } else { Some(target::many(&self.targets)?) };
        // A name that is wrong is said before anything is drawn.
        for target in targets.iter().flatten() {
            let record = target::find(store, &target.pod)?;
            if target.container.is_some() {
                target::container(&record, target.container.as_ref())?;
            }
        }
        let meter = Meter::open(store, targets)?;
        if self.watch || (!self.no_stream && output::stdout_is_terminal()) {
            self.stream(&meter)?;
        } else {
            let before = meter.read()?;
            wait(None, GLANCE)?;
            self.show(&meter.sample(&before, &meter.read()?))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Until Ctrl-C, or until what was asked for is gone.
    fn stream(&self, meter: &Meter<'_>) -> Result<(), CliError> {
        let ends = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGWINCH];
        let signals = signals::take(&ends)
            .map_err(|error| CliError::host("cannot wait for signals", &error))?;
        let mut screen = if self.format == Format::Human { Screen::open(On::Stdout) } else { None };
        let mut before = meter.read()?;
        let mut due = Instant::now() + GLANCE;
        let mut sample = None;
        loop {
            if meter.targets.is_some() && before.is_empty() {
                return Ok(());
            }
            wait(Some(&signals), due.saturating_duration_since(Instant::now()))?;
            if signals::read(&signals).any(|signal| signal != Signal::SIGWINCH) {
                return Ok(());
            }
            let is_due = due <= Instant::now();
            if is_due {
                let now = meter.read()?;
                sample = Some(meter.sample(&before, &now));
                before = now;
                due = Instant::now() + TICK;
            }
            match (&mut screen, &sample) {
                // Also where only the terminal's size has changed.
                (Some(screen), Some(sample)) => {
                    let (width, height) = screen.room();
                    let lines = lines(sample, width, height);
                    screen.draw(lines.clone(), &lines);
                }
                (None, Some(sample)) if is_due => self.show(sample)?,
                _ => {}
            }
        }
    }

    fn show(&self, sample: &Sample) -> Result<(), CliError> {
        match self.format {
            Format::Json => output::json_line(sample),
            Format::Human => {
                let width = output::stdout_width();
                output::line(&lines(sample, width, usize::MAX).join("\n"))
            }
        }
    }
}

/// Reads all that is asked for.
pub(super) struct Meter<'a> {
    store: &'a Store,
    /// None: every pod.
    targets: Option<Vec<Target>>,
    hierarchy: Hierarchy,
    /// By when its journal was written last: a plan is long, and seldom a new one.
    parts: RefCell<BTreeMap<PodName, (SystemTime, Parts)>>,
}

type Parts = Rc<Vec<Part>>;

/// What of a plan tells where to read: a container, or (None) infra and the pod as a whole.
struct Part {
    container: Option<ContainerName>,
    cgroup: PathBuf,
    /// The host's end of its own network.
    link: Option<IfName>,
    bounds: Bounds,
}

impl<'a> Meter<'a> {
    pub(super) fn open(store: &'a Store, targets: Option<Vec<Target>>) -> Result<Self, CliError> {
        let hierarchy =
            Hierarchy::open().map_err(|error| CliError::host("cannot read cgroups", &error))?;
        Ok(Self { store, targets, hierarchy, parts: RefCell::default() })
    }

    pub(super) fn read(&self) -> Result<Readings, CliError> {
        let pods = match &self.targets {
            None => {
                self.store.pods().map_err(|error| CliError::host("cannot list the pods", &error))?
            }
            Some(targets) => targets.iter().map(|target| target.pod.clone()).collect(),
        };
        let links = counters().map_err(|error| CliError::host("cannot read counters", &error))?;
        let accounts = Accounts::open();
        let mut readings = Readings::new();
        self.parts.borrow_mut().retain(|name, _| pods.contains(name));
        for pod in pods {
            // One that has just gone has no plan any more.
            if let Some(parts) = self.parts(&pod) {
                let mut of_pod = Vec::new();
                for part in parts.iter() {
                    let read = self.read_part(part, &links, &accounts).map_err(|error| {
                        CliError::host(format!("cannot read what `{pod}` uses"), &error)
                    })?;
                    of_pod.extend(read.map(|reading| (part.container.clone(), reading)));
                }
                if !of_pod.is_empty() {
                    readings.insert(pod, of_pod);
                }
            }
        }
        Ok(readings)
    }

    fn parts(&self, pod: &PodName) -> Option<Parts> {
        let journal = std::fs::metadata(self.store.pod(pod).journal()).ok()?;
        let written = journal.modified().ok()?;
        if let Some((known, parts)) = self.parts.borrow().get(pod)
            && *known == written
        {
            return Some(Rc::clone(parts));
        }
        let plan = running::plan(self.store, pod).ok()?;
        let part = |(container, cgroup): (Option<&ContainerName>, &Path)| Part {
            container: container.cloned(),
            cgroup: cgroup.to_owned(),
            link: link_of(&plan, container).cloned(),
            bounds: Bounds::of(&running::limits(&plan, container)),
        };
        let parts = Rc::new(running::cgroups(&plan).map(part).collect::<Vec<_>>());
        self.parts.borrow_mut().insert(pod.clone(), (written, Rc::clone(&parts)));
        Some(parts)
    }

    fn read_part(
        &self,
        part: &Part,
        links: &BTreeMap<IfName, Counters>,
        accounts: &Accounts,
    ) -> Result<Option<Reading>, CgroupError> {
        let Some(cgroup) = self.hierarchy.find(&part.cgroup)? else { return Ok(None) };
        let Some(usage) = cgroup.usage(accounts)? else { return Ok(None) };
        let network = part.link.as_ref().and_then(|link| links.get(link).copied());
        let pressure = match part.container {
            Some(_) => usage.pressure,
            None => self.pressure_of_pod(&part.cgroup),
        };
        Ok(Some(Reading { at: Instant::now(), usage, network, pressure, bounds: part.bounds }))
    }

    /// Infra's cgroup lies in the pod's.
    fn pressure_of_pod(&self, infra: &Path) -> Option<Pressure> {
        self.hierarchy.find(infra.parent()?).ok()??.pressure()
    }

    pub(super) fn sample(&self, before: &Readings, now: &Readings) -> Sample {
        let pods = now.iter().map(|(pod, readings)| {
            let before = before.get(pod).map_or(&[][..], Vec::as_slice);
            let all: Vec<(Option<&ContainerName>, Values)> = readings
                .iter()
                .map(|(container, reading)| {
                    let earlier = before.iter().find(|(known, _)| known == container);
                    (container.as_ref(), values(earlier.map(|(_, earlier)| earlier), reading))
                })
                .collect();
            let wanted = |name: &ContainerName| self.wants(pod, Some(name));
            let containers = all.iter().filter_map(|(name, values)| {
                let name = name.filter(|name| wanted(name))?.clone();
                Some(ContainerStats { name, values: *values })
            });
            PodStats {
                name: pod.clone(),
                total: self.wants(pod, None).then(|| sum(&all)).flatten(),
                containers: containers.collect(),
            }
        });
        Sample { time: format!("{:.3}", jiff::Timestamp::now()), pods: pods.collect() }
    }

    /// Whether this container is asked for, or the pod as a whole.
    fn wants(&self, pod: &PodName, container: Option<&ContainerName>) -> bool {
        let Some(targets) = &self.targets else { return true };
        let mut of_pod = targets.iter().filter(|target| target.pod == *pod);
        of_pod.any(|target| target.container.is_none() || target.container.as_ref() == container)
    }
}

/// The host's end of the veth of a container's own network, or (None) of the pod's.
fn link_of<'p>(plan: &'p Plan, container: Option<&ContainerName>) -> Option<&'p IfName> {
    plan.steps.iter().find_map(|planned| match &planned.step {
        Step::Connect(veth) if veth.container.as_ref() == container => Some(&veth.host),
        _ => None,
    })
}

fn values(before: Option<&Reading>, now: &Reading) -> Values {
    let percent = before.map_or(0.0, |before| {
        let time = now.at.duration_since(before.at).as_secs_f64();
        // Less than before: it is another run's cgroup.
        let used = now.usage.cpu.saturating_sub(before.usage.cpu) as f64 / 1e6;
        if time > 0.0 { rounded(100.0 * used / time) } else { 0.0 }
    });
    Values {
        cpu: Cpu {
            percent,
            usage_microseconds: now.usage.cpu,
            limit: now.bounds.cpus,
            source: Source::Cgroup2,
        },
        memory: Amount { limit: now.bounds.memory.or(now.usage.memory.limit), ..now.usage.memory },
        tasks: Amount { limit: now.bounds.tasks.or(now.usage.tasks.limit), ..now.usage.tasks },
        block_io: now.usage.io,
        // What its end on the host receives, the pod has sent.
        network: now.network.map(|link| Network {
            received: link.sent,
            sent: link.received,
            source: "veth",
        }),
        pressure: now.pressure,
    }
}

/// Of a whole pod. Network, pressure and limits are infra's line: they are the pod's already.
fn sum(all: &[(Option<&ContainerName>, Values)]) -> Option<Values> {
    let (first, more) = all.split_first()?;
    let mut total = first.1;
    if first.0.is_some() {
        (total.network, total.pressure) = (None, None);
        (total.memory.limit, total.tasks.limit, total.cpu.limit) = (None, None, None);
    }
    for (_, values) in more {
        total.cpu.percent = rounded(total.cpu.percent + values.cpu.percent);
        total.cpu.usage_microseconds += values.cpu.usage_microseconds;
        total.memory.used += values.memory.used;
        total.tasks.used += values.tasks.used;
        total.block_io.read += values.block_io.read;
        total.block_io.written += values.block_io.written;
    }
    total.cpu.source = Source::Sum;
    total.memory.source = Source::Sum;
    total.tasks.source = Source::Sum;
    total.block_io.source = Source::Sum;
    Some(total)
}

const HEADER: [&str; 8] =
    ["POD", "CONTAINER", "CPU %", "PIDS", "MEM / LIMIT", "NET RX / TX", "BLOCK R / W", "PRESSURE"];
/// The columns that stay however narrow the terminal is.
const LEAST: usize = 5;

/// The table, without the last columns where they do not fit, and without the last lines.
fn lines(sample: &Sample, width: usize, height: usize) -> Vec<String> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for pod in &sample.pods {
        rows.extend(pod.total.as_ref().map(|total| row(&pod.name, None, total)));
        let containers = pod.containers.iter();
        rows.extend(containers.map(|one| row(&pod.name, Some(&one.name), &one.values)));
    }
    let mut columns = HEADER.len();
    let table = loop {
        let cut = rows.iter().map(|row| row[..columns].to_vec()).collect();
        let table = output::table(&HEADER[..columns], cut);
        if columns == LEAST || table.lines().all(|line| line.chars().count() <= width) {
            break table;
        }
        columns -= 1;
    };
    let mut lines: Vec<String> =
        table.lines().map(|line| line.chars().take(width).collect()).collect();
    let hidden = lines.len().saturating_sub(height);
    if hidden > 0 {
        lines.truncate(height.saturating_sub(1));
        lines.push(format!("and {} more", hidden + 1).chars().take(width).collect());
    }
    lines
}

fn row(pod: &PodName, container: Option<&ContainerName>, values: &Values) -> Vec<String> {
    let dash = || "-".to_owned();
    let limit = values.memory.limit.map_or_else(dash, size);
    let beside = |used: String, limit: Option<String>| match limit {
        Some(limit) => format!("{used} / {limit}"),
        None => used,
    };
    let most = values.cpu.limit.map(|cpus| rounded(cpus * 100.0).to_string());
    vec![
        pod.to_string(),
        container.map_or_else(dash, ToString::to_string),
        beside(format!("{:.1}", values.cpu.percent), most),
        beside(values.tasks.used.to_string(), values.tasks.limit.map(|most| most.to_string())),
        format!("{} / {limit}", size(values.memory.used)),
        values
            .network
            .map_or_else(dash, |net| format!("{} / {}", size(net.received), size(net.sent))),
        format!("{} / {}", size(values.block_io.read), size(values.block_io.written)),
        values
            .pressure
            .map_or_else(dash, |some| format!("{:.1} {:.1} {:.1}", some.cpu, some.memory, some.io)),
    ]
}

/// For a while, or until a signal comes or the last reader has gone.
fn wait(signals: Option<&SignalFd>, time: Duration) -> Result<(), CliError> {
    let mut fds: Vec<PollFd<'_>> =
        signals.iter().map(|signals| PollFd::new(*signals, PollFlags::IN)).collect();
    fds.push(output::reader());
    let time =
        Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() };
    match poll(&mut fds, Some(&time)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => fds.last().map_or(Ok(()), output::reads),
        Err(errno) => Err(CliError::host("cannot wait", &std::io::Error::from(errno))),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One pod, whose network has had so many bytes, and its containers with their processor and memory.
    pub(in crate::cli) fn sample_of(
        pod: &str,
        bytes: u64,
        containers: &[(&str, f64, u64)],
    ) -> Sample {
        let network = Network { received: bytes, sent: 2 * bytes, source: "veth" };
        let infra = Values { network: Some(network), ..some(None, 0.0, 0) };
        let names: Vec<ContainerName> =
            containers.iter().map(|(name, ..)| name.parse().unwrap()).collect();
        let values = containers.iter().map(|(name, cpu, memory)| some(Some(name), *cpu, *memory));
        let values: Vec<Values> = values.collect();
        let all: Vec<_> = names.iter().map(Some).zip(values.iter().copied()).collect();
        let total = sum(&[vec![(None, infra)], all].concat());
        let containers = names.iter().cloned().zip(values);
        let containers = containers.map(|(name, values)| ContainerStats { name, values });
        let pod = PodStats { name: pod.parse().unwrap(), total, containers: containers.collect() };
        Sample { time: String::new(), pods: vec![pod] }
    }

    fn some(container: Option<&str>, cpu: f64, memory: u64) -> Values {
        let amount = Amount { used: memory, limit: None, source: Source::Proc };
        let network = Network { received: 1, sent: 2, source: "veth" };
        Values {
            cpu: Cpu { percent: cpu, usage_microseconds: 7, limit: None, source: Source::Cgroup2 },
            memory: amount,
            tasks: Amount { used: 1, ..amount },
            block_io: BlockIo { read: 5, written: 6, source: Source::Proc },
            network: container.is_none().then_some(network),
            pressure: None,
        }
    }

    fn sample() -> Sample {
        let web: ContainerName = "web".parse().unwrap();
        let (infra, of_web) = (some(None, 0.5, 1024), some(Some("web"), 50.0, 1 << 20));
        let pod = PodStats {
            name: "shop".parse().unwrap(),
            total: sum(&[(None, infra), (Some(&web), of_web)]),
            containers: vec![ContainerStats { name: web, values: of_web }],
        };
        Sample { time: String::new(), pods: vec![pod] }
    }

    #[test]
    fn a_pod_is_the_sum_of_its_containers_and_has_their_network() {
        let lines = lines(&sample(), 200, 100);
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&lines[1])[..7], ["shop", "-", "50.5", "2", "1.0Mi", "/", "-"]);
        assert!(lines[1].contains("1B / 2B") && lines[1].contains("10B / 12B"), "{lines:?}");
        assert_eq!(words(&lines[2])[..4], ["shop", "web", "50.0", "1"]);
    }

    #[test]
    fn a_narrow_terminal_loses_columns_and_a_low_one_lines() {
        let narrow = lines(&sample(), 50, 100);
        assert!(!narrow[0].contains("BLOCK") && narrow[0].contains("MEM"), "{narrow:?}");
        assert!(narrow.iter().all(|line| line.chars().count() <= 50));
        let low = lines(&sample(), 200, 2);
        assert_eq!(low.len(), 2);
        assert_eq!(low[1], "and 2 more");
    }

    #[test]
    fn processor_time_is_measured_between_two_readings() {
        let usage = |cpu| Usage {
            cpu,
            memory: some(None, 0.0, 0).memory,
            tasks: some(None, 0.0, 0).tasks,
            io: some(None, 0.0, 0).block_io,
            pressure: None,
        };
        let at = Instant::now();
        let reading = |after: u64, cpu| Reading {
            at: at + Duration::from_millis(after),
            usage: usage(cpu),
            network: Some(Counters { received: 1, sent: 2 }),
            pressure: None,
            bounds: Bounds::default(),
        };
        let (before, now) = (reading(0, 1_000_000), reading(500, 1_250_000));
        let values = |before, now| super::values(before, now).cpu.percent;
        assert_eq!(values(Some(&before), &now), 50.0);
        assert_eq!(values(None, &now), 0.0);
        assert_eq!(values(Some(&now), &before), 0.0);
        let network = super::values(None, &now).network.unwrap();
        assert_eq!(
            (network.received, network.sent),
            (2, 1),
            "the pod receives what the host sends"
        );
    }
}
