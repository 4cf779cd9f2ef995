//! Pictures of a pod: its containers and what each waits for, or every step of a plan. As a drawing
//! (svg), as text for other programs that draw (dot, mermaid), as a tree for a terminal. Pure; prints
//! nothing.

mod graphs;
mod layout;
mod svg;
pub mod timeline;
mod tree;
mod words;

#[cfg(test)]
mod tests;

pub use graphs::{dot, mermaid};
pub use svg::svg;
pub use tree::{Style, tree};

use crate::names::ContainerName;
use crate::plan::step::{Plan, Step, Until};
use crate::spec::model::{
    Condition, Container, NetworkMode, PodSpec, Port, Protocol, Role, Root, Shared,
};
use indexmap::IndexMap;
use serde::Serialize;

/// What a picture shows.
#[derive(Debug, Clone)]
pub struct Picture {
    pub name: String,
    pub about: String,
    /// What holds the pod together and comes before everything else; none in a picture of steps.
    pub infra: Option<Vec<String>>,
    pub cards: Vec<Card>,
    pub edges: Vec<Edge>,
}

/// A container, or a step.
#[derive(Debug, Clone)]
pub struct Card {
    pub name: String,
    pub kind: Kind,
    pub lines: Vec<String>,
    /// Cards of one level have nothing to wait for but lower levels; the lowest is 0.
    pub level: usize,
    pub critical: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Container,
    /// Steps.
    Infra,
    Network,
    Files,
}

/// `to` waits for `from`.
#[derive(Debug, Clone)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub until: Wait,
    pub critical: bool,
}

/// What must have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// The step is done.
    Done,
    Started,
    Ready,
    Completed,
}

impl Wait {
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Started => "started",
            Self::Ready => "ready",
            Self::Completed => "completed",
        }
    }

    /// What of a container's start a step waits for.
    fn until(until: Until) -> Self {
        match until {
            Until::Done => Self::Started,
            Until::Ready => Self::Ready,
            Until::Completed => Self::Completed,
        }
    }

    /// Whether it waits for the user's program, and not for podspec alone.
    fn is_for_a_program(self) -> bool {
        matches!(self, Self::Ready | Self::Completed)
    }

    fn of(condition: Condition) -> Self {
        match condition {
            Condition::Started => Self::Started,
            Condition::Ready => Self::Ready,
            Condition::Completed => Self::Completed,
        }
    }
}

/// The containers of a pod and what each waits for.
pub fn containers(spec: &PodSpec) -> Picture {
    some_containers(spec, &|_| true)
}

/// Those that are wanted, and what they wait for among themselves.
pub fn some_containers(spec: &PodSpec, wanted: &dyn Fn(&ContainerName) -> bool) -> Picture {
    let containers: IndexMap<&ContainerName, &Container> =
        spec.containers.iter().filter(|(name, _)| wanted(name)).collect();
    let mut edges = Vec::new();
    // Everything waits for the init container and the sidecar before it.
    let mut before: [Option<Edge>; 2] = [None, None];
    for (to, container) in containers.values().enumerate() {
        edges.extend(before.iter().flatten().map(|edge| Edge { to, ..*edge }));
        let wait = |until| Some(Edge { from: to, to, until, critical: false });
        match container.role {
            Role::Main => {}
            Role::Init => before[0] = wait(Wait::Completed),
            Role::Sidecar if container.probes.tell_readiness() => before[1] = wait(Wait::Ready),
            Role::Sidecar => before[1] = wait(Wait::Started),
        }
        for (needed, dependency) in &container.depends_on {
            if let Some(from) = containers.get_index_of(needed) {
                edges.push(Edge {
                    from,
                    to,
                    until: Wait::of(dependency.condition),
                    critical: false,
                });
            }
        }
    }
    let card = |(name, container): (&&ContainerName, &&Container)| Card {
        name: name.to_string(),
        kind: Kind::Container,
        lines: container_lines(container),
        level: 0,
        critical: false,
    };
    let cards: Vec<Card> = containers.iter().map(card).collect();
    // A network that is not the pod's own is none that infra holds.
    let is_held = |kind: &&Shared| {
        **kind != Shared::Net || !matches!(spec.network, NetworkMode::Host | NetworkMode::At(_))
    };
    let shared = spec.share.iter().filter(is_held);
    let shared: Vec<String> = shared.map(|kind| format!("{kind:?}").to_lowercase()).collect();
    let mut infra = vec![match shared.len() {
        0 => "shares nothing".to_owned(),
        _ => format!("holds {}", shared.join(", ")),
    }];
    infra.extend(spec.ports.iter().map(port_words));
    if spec.auto_ports {
        infra.push("the ports that images expose".to_owned());
    }
    let mut picture = Picture {
        name: spec.name.to_string(),
        about: String::new(),
        infra: Some(infra),
        cards,
        edges,
    };
    picture.finish("container");
    picture
}

/// Every step of a plan and what each waits for.
pub fn steps(plan: &Plan) -> Picture {
    let mut edges = Vec::new();
    for (to, planned) in plan.steps.iter().enumerate() {
        for edge in &planned.after {
            let until = match edge.until {
                Until::Done => Wait::Done,
                Until::Ready => Wait::Ready,
                Until::Completed => Wait::Completed,
            };
            edges.push(Edge { from: edge.step, to, until, critical: false });
        }
    }
    let card = |planned: &crate::plan::step::Planned| Card {
        name: words::one_line(&planned.step.to_string()),
        kind: step_kind(&planned.step),
        lines: vec![words::one_line(&planned.why)],
        level: 0,
        critical: false,
    };
    let cards = plan.steps.iter().map(card).collect();
    let mut picture =
        Picture { name: plan.pod.to_string(), about: String::new(), infra: None, cards, edges };
    picture.finish("step");
    picture
}

fn step_kind(step: &Step) -> Kind {
    match step {
        Step::MakeCgroup { .. }
        | Step::TakeIds { .. }
        | Step::StartInfra(_)
        | Step::PinNamespaces { .. } => Kind::Infra,
        Step::MakeNetwork(_)
        | Step::MakeNetns { .. }
        | Step::TakeAddress { .. }
        | Step::Connect(_)
        | Step::LoopbackUp { .. }
        | Step::ReservePorts { .. }
        | Step::Publish { .. } => Kind::Network,
        Step::CreateContainer(_) | Step::StartContainer { .. } => Kind::Container,
        _ => Kind::Files,
    }
}

fn container_lines(container: &Container) -> Vec<String> {
    let root = match &container.root {
        Root::Directory(path) => path.display().to_string(),
        Root::Host => "this machine's root".to_owned(),
        Root::Image(image) => image.reference.to_string(),
    };
    let mut lines = vec![root];
    if !container.argv.is_empty() {
        lines.push(container.argv.join(" "));
    }
    if !container.ports.is_empty() {
        lines.push(container.ports.iter().map(port_words).collect::<Vec<_>>().join(", "));
    }
    lines.iter().map(|line| words::one_line(line)).collect()
}

fn port_words(port: &Port) -> String {
    let range = |first: u16| match port.count {
        0 | 1 => first.to_string(),
        count => format!("{first}-{}", u32::from(first) + u32::from(count) - 1),
    };
    let address = port.address.map_or(String::new(), |address| format!("{address}:"));
    let protocol = if port.protocol == Protocol::Tcp { "" } else { "/udp" };
    format!("{address}{} \u{2192} {}{protocol}", range(port.host), range(port.container))
}

impl Picture {
    pub fn levels(&self) -> usize {
        self.cards.iter().map(|card| card.level + 1).max().unwrap_or(0)
    }

    /// The chain that decides how long a start takes, by names; empty where nothing waits.
    pub fn critical_path(&self) -> Vec<&str> {
        let mut path: Vec<&Card> = self.cards.iter().filter(|card| card.critical).collect();
        path.sort_by_key(|card| card.level);
        path.iter().map(|card| card.name.as_str()).collect()
    }

    /// Levels, and the critical path: nothing has been timed, so a wait for a program counts more than any
    /// number of podspec's own steps (about a millisecond each), and among equals the longest chain wins,
    /// then the first of the file.
    fn finish(&mut self, noun: &str) {
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); self.cards.len()];
        for (n, edge) in self.edges.iter().enumerate() {
            before[edge.to].push(n);
        }
        let mut cost = vec![(0usize, 0usize); self.cards.len()];
        let mut by: Vec<Option<usize>> = vec![None; self.cards.len()];
        for card in self.order() {
            for &n in &before[card] {
                let edge = &self.edges[n];
                let (waits, length) = cost[edge.from];
                let whole = (waits + usize::from(edge.until.is_for_a_program()), length + 1);
                if whole > cost[card] {
                    (cost[card], by[card]) = (whole, Some(n));
                }
                self.cards[card].level =
                    self.cards[card].level.max(self.cards[self.edges[n].from].level + 1);
            }
        }
        let last = (0..self.cards.len()).rev().max_by_key(|&card| cost[card]);
        let mut at = last.filter(|&card| by[card].is_some());
        while let Some(card) = at {
            self.cards[card].critical = true;
            at = by[card].map(|n| {
                self.edges[n].critical = true;
                self.edges[n].from
            });
        }
        let count = |number: usize, noun: &str| {
            format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
        };
        self.about =
            format!("{} in {}", count(self.cards.len(), noun), count(self.levels(), "level"));
    }

    /// Every card after all that it waits for.
    fn order(&self) -> Vec<usize> {
        let mut missing = vec![0; self.cards.len()];
        let mut after: Vec<Vec<usize>> = vec![Vec::new(); self.cards.len()];
        for edge in &self.edges {
            missing[edge.to] += 1;
            after[edge.from].push(edge.to);
        }
        let mut order: Vec<usize> =
            (0..self.cards.len()).filter(|&card| missing[card] == 0).collect();
        let mut next = 0;
        while let Some(&card) = order.get(next) {
            next += 1;
            for &to in &after[card] {
                missing[to] -= 1;
                if missing[to] == 0 {
                    order.push(to);
                }
            }
        }
        order
    }
}
