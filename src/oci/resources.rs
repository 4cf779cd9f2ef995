//! A document's resources as files of cgroups on this machine. What the planner knows of a pod's limits it knows of
//! these, too; here is what no pod asks for. A limit that cannot be held is an error, never ignored.

use super::OciError;
use crate::cgroup::{self, Hierarchy};
use crate::plan::cgroups::{self as planned, Level};
use crate::plan::facts::Controller;
use crate::plan::step::{LegacyLimits, Limits};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxWeightDevice};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Of the whole document.
pub(super) fn limits(
    resources: Option<&LinuxResources>,
    hierarchy: &Hierarchy,
) -> Result<Limits, OciError> {
    let Some(resources) = resources else { return Ok(Limits::default()) };
    let wanted = wanted(resources);
    let facts = crate::host::cgroup_facts(&wanted);
    let mut plain = resources.clone();
    plain.set_unified(None);
    let mut limits = planned::limits(&plain, Level::Container, &facts)
        .map_err(|refusal| refused(&refusal.what, &refusal.remedy))?;
    let mut more = More {
        hierarchy,
        legacy: None,
        is_v2: |controller: Controller| facts.unified.contains(&controller),
        limits: &mut limits,
    };
    if let Some(memory) = resources.memory() {
        more.memory(memory)?;
    }
    if let Some(cpu) = resources.cpu() {
        more.processors(cpu)?;
    }
    if let Some(io) = resources.block_io() {
        more.disks(io, facts.io_weight.as_deref())?;
    }
    more.others(resources)?;
    Ok(limits)
}

fn refused(what: &str, remedy: &str) -> OciError {
    OciError::Limit { what: what.to_owned(), remedy: remedy.to_owned() }
}

fn wanted(resources: &LinuxResources) -> Vec<Controller> {
    let has_cpu = |cpu: &LinuxCpu| {
        cpu.quota().is_some()
            || cpu.period().is_some()
            || cpu.shares().is_some()
            || cpu.burst().is_some()
            || cpu.idle().is_some()
            || cpu.realtime_runtime().is_some()
            || cpu.realtime_period().is_some()
    };
    let cpu = resources.cpu().as_ref();
    let is_wanted = |controller: &Controller| match controller {
        Controller::Cpu => cpu.is_some_and(has_cpu),
        Controller::Cpuset => cpu.is_some_and(|cpu| cpu.cpus().is_some() || cpu.mems().is_some()),
        Controller::Io => resources.block_io().is_some(),
        Controller::Memory => resources.memory().is_some(),
        Controller::Pids => resources.pids().is_some(),
    };
    Controller::ALL.into_iter().filter(is_wanted).collect()
}

struct More<'a, F> {
    hierarchy: &'a Hierarchy,
    /// v1's controllers and where they are mounted, once they were looked up.
    legacy: Option<BTreeMap<String, PathBuf>>,
    is_v2: F,
    limits: &'a mut Limits,
}

impl<F: Fn(Controller) -> bool> More<'_, F> {
    fn memory(&mut self, memory: &LinuxMemory) -> Result<(), OciError> {
        let is_v2 = (self.is_v2)(Controller::Memory);
        if let Some(reservation) = memory.reservation().filter(|bytes| *bytes != 0) {
            let file = if is_v2 { "memory.low" } else { "memory.soft_limit_in_bytes" };
            let value = match (reservation, is_v2) {
                (..=-1, true) => "max".to_owned(),
                (bytes, _) => bytes.to_string(),
            };
            self.write("memory", file, value)?;
        }
        let bound = |bytes: Option<i64>| bytes.filter(|bytes| *bytes > 0);
        if bound(memory.kernel()).is_some() {
            return Err(refused(
                "memory of the kernel alone",
                "Linux counts it with the rest; leave it out",
            ));
        }
        let own = [
            (
                "memory.kmem.tcp.limit_in_bytes",
                bound(memory.kernel_tcp()).map(|bytes| bytes.to_string()),
            ),
            ("memory.swappiness", memory.swappiness().map(|of_100| of_100.to_string())),
            (
                "memory.oom_control",
                memory.disable_oom_killer().filter(|off| *off).map(|_| "1".to_owned()),
            ),
        ];
        for (file, value) in own {
            let Some(value) = value else { continue };
            if is_v2 {
                let what = format!("`{file}`");
                return Err(refused(&what, "cgroup v2 has no such file; leave it out"));
            }
            self.write("memory", file, value)?;
        }
        Ok(())
    }

    fn processors(&mut self, cpu: &LinuxCpu) -> Result<(), OciError> {
        let is_v2 = (self.is_v2)(Controller::Cpu);
        let burst = if is_v2 { "cpu.max.burst" } else { "cpu.cfs_burst_us" };
        let idle = cpu.idle().map(|idle| idle.to_string());
        let numbers = [
            (burst, cpu.burst().map(|number| number.to_string())),
            ("cpu.idle", idle),
            ("cpu.rt_period_us", cpu.realtime_period().map(|number| number.to_string())),
            ("cpu.rt_runtime_us", cpu.realtime_runtime().map(|number| number.to_string())),
        ];
        for (file, value) in numbers {
            // Zero: nothing is asked for, as documents that others write have it.
            let Some(value) = value.filter(|value| value != "0") else { continue };
            if is_v2 && file.starts_with("cpu.rt_") {
                return Err(refused(
                    "real-time processor time",
                    "cgroup v2 has no such limit; leave it out",
                ));
            }
            self.write("cpu", file, value)?;
        }
        Ok(())
    }

    /// Shares of single disks; what bounds their rates the planner knows. `weight` is the file of shares, if there is one.
    fn disks(&mut self, io: &LinuxBlockIo, weight: Option<&str>) -> Result<(), OciError> {
        let of_leaf = |device: &LinuxWeightDevice| device.leaf_weight().is_some();
        let devices = io.weight_device().iter().flatten();
        if io.leaf_weight().is_some() || devices.clone().any(of_leaf) {
            let what = "shares of disk time among the cgroup's own processes";
            return Err(refused(
                what,
                "the kernel has no `leafWeight` since Linux 5.0; leave it out",
            ));
        }
        for device in devices {
            let Some(share) = device.weight() else { continue };
            let file = weight.ok_or_else(|| {
                refused(
                    "shares of disk time",
                    "give the disk the scheduler `bfq`, or leave `weightDevice` out",
                )
            })?;
            let value = format!("{}:{} {share}", device.major(), device.minor());
            match (self.is_v2)(Controller::Io) {
                true => self.write("io", file, value)?,
                false => self.write("blkio", &format!("{file}_device"), value)?,
            }
        }
        Ok(())
    }

    fn others(&mut self, resources: &LinuxResources) -> Result<(), OciError> {
        for limit in resources.hugepage_limits().iter().flatten() {
            let (size, bytes) = (limit.page_size(), limit.limit().to_string());
            let file = match self.hierarchy.controllers().contains("hugetlb") {
                true => "max",
                false => "limit_in_bytes",
            };
            // Reservations, too: without a bound of theirs a program is told of it by SIGBUS.
            for file in [format!("hugetlb.{size}.{file}"), format!("hugetlb.{size}.rsvd.{file}")] {
                self.write("hugetlb", &file, bytes.clone())?;
            }
        }
        if let Some(network) = resources.network() {
            if let Some(class) = network.class_id() {
                self.write("net_cls", "net_cls.classid", class.to_string())?;
            }
            for priority in network.priorities().iter().flatten() {
                let value = format!("{} {}", priority.name(), priority.priority());
                self.write("net_prio", "net_prio.ifpriomap", value)?;
            }
        }
        let rdma: BTreeMap<_, _> = resources.rdma().iter().flatten().collect();
        for (device, limit) in rdma {
            let number = |number: Option<u32>| {
                number.map_or_else(|| "max".to_owned(), |number| number.to_string())
            };
            let (handles, objects) = (number(limit.hca_handles()), number(limit.hca_objects()));
            let value = format!("{device} hca_handle={handles} hca_object={objects}");
            self.write("rdma", "rdma.max", value)?;
        }
        let unified: BTreeMap<_, _> = resources.unified().iter().flatten().collect();
        for (file, value) in unified {
            if file.contains('/') {
                return Err(refused(&format!("`unified.{file}`"), "name a file, not a path"));
            }
            let controller = file.split('.').next().unwrap_or_default().to_owned();
            let is_here = controller == "cgroup"
                || self.hierarchy.controllers().contains(controller.as_str());
            if !is_here {
                return Err(missing(&controller));
            }
            self.unified(&controller, file, value.clone());
        }
        Ok(())
    }

    fn write(&mut self, controller: &str, file: &str, value: String) -> Result<(), OciError> {
        if self.hierarchy.controllers().contains(controller) {
            self.unified(controller, file, value);
            return Ok(());
        }
        let mounts = self.legacy.get_or_insert_with(|| {
            cgroup::legacy_mounts().unwrap_or_default().into_iter().collect()
        });
        let Some(mount) = mounts.get(controller) else { return Err(missing(controller)) };
        let known = self.limits.legacy.iter_mut().find(|of| &of.mount == mount);
        let write = (file.to_owned(), value);
        match known {
            Some(of) => of.files.push(write),
            None => self.limits.legacy.push(LegacyLimits {
                mount: mount.clone(),
                controller: controller.to_owned(),
                files: vec![write],
            }),
        }
        Ok(())
    }

    fn unified(&mut self, controller: &str, file: &str, value: String) {
        if controller != "cgroup" {
            self.limits.controllers.insert(controller.to_owned());
        }
        self.limits.files.push((file.to_owned(), value));
    }
}

fn missing(controller: &str) -> OciError {
    let what = format!("no cgroup here has the controller `{controller}`");
    refused(&what, "the kernel, or the container that podspec runs in, must offer it")
}
