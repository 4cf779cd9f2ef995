//! Clocks that are set while a pod runs, and clocks that differ: podspec's times are of neither.

use crate::host::{Host, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::io::{Seek, Write};

/// In every program of the fake host the date is as many seconds off as a file says; the clocks that nobody can set
/// are as they were. As if somebody had set the machine's clock, which is never touched.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
static volatile long *off;
__attribute__((constructor)) static void start(void) {
  int fd = open(OFFSET, O_RDONLY | O_CLOEXEC);
  void *at = fd < 0 ? MAP_FAILED : mmap(0, sizeof *off, PROT_READ, MAP_SHARED, fd, 0);
  if (at != MAP_FAILED) off = at;
}
int clock_gettime(clockid_t which, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real(which, now);
  if (!failed && off && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) now->tv_sec += *off;
  return failed;
}
"#;

/// A fake host whose date can be set.
struct Date(fs::File);

impl Date {
    fn new(host: &Host) -> Self {
        let (offset, source) = (host.file("offset", [0; 8]), host.file("clock.c", CLOCK));
        let library = host.dir.join("clock.so");
        let [at, source, library, dir] =
            [&offset, &source, &library, &host.dir].map(|path| path.display().to_string());
        host.sh(&format!(
            "set -e; cc -shared -fPIC -DOFFSET='\"{at}\"' -o {library} {source} -ldl
             mkdir {dir}/etc {dir}/work
             mount -t overlay overlay -o lowerdir=/etc,upperdir={dir}/etc,workdir={dir}/work /etc
             echo {library} > /etc/ld.so.preload"
        ))
        .success();
        Self(fs::File::options().write(true).open(offset).unwrap())
    }

    fn set(&mut self, seconds: i64) {
        self.0.rewind().unwrap();
        self.0.write_all(&seconds.to_ne_bytes()).unwrap();
    }
}

const YEARS: i64 = 10 * 365 * 24 * 3600;

/// One that fails again and again, one that is asked again and again, one that is to wait for very long, one whose
/// stop is to take long.
fn pod() -> Value {
    let sh = |script: &str| json!({ "rootfs": "host", "command": ["/bin/sh", "-c", script], "volumes": ["v:/v"] });
    let with = |mut container: Value, more: Value| {
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        container
    };
    let often = json!({ "policy": "always", "backoff": { "initial": "20ms", "max": "20ms" } });
    let seldom = json!({ "policy": "always", "backoff": { "initial": "2h", "max": "2h" } });
    json!({ "name": "p", "network": "none", "volumes": { "v": {} }, "containers": {
        "fails": with(sh("exit 1"), json!({ "restart": often })),
        "asked": with(
            sh("exec sleep 999"),
            json!({ "livenessProbe": { "exec": ["/bin/sh", "-c", "echo asked >> /v/asked"], "interval": "20ms" } }),
        ),
        "waits": with(sh("exit 1"), json!({ "restart": seldom })),
        "unready": with(
            sh("exec sleep 999"),
            json!({ "startupProbe": { "tcp": 80, "interval": "1h" } }),
        ),
        "deaf": with(
            sh("trap '' TERM; echo deaf; while :; do sleep 1; done"),
            json!({ "stopTimeout": "2h" }),
        ),
    } })
}

fn asked(host: &Host) -> usize {
    let text = fs::read_to_string(host.data().join("volumes/p/v/asked")).unwrap_or_default();
    text.lines().count()
}

fn restarts(host: &Host) -> u64 {
    host.container("p", "fails")["restarts"].as_u64().unwrap()
}

/// What is to happen often goes on to; nothing has happened yet of what is to take hours.
fn goes_on(host: &Host) {
    let before = (restarts(host), asked(host));
    wait_for("restarts to go on", || restarts(host) > before.0 + 5);
    wait_for("checks to go on", || asked(host) > before.1 + 5);
    for (name, status) in [("waits", "restarting"), ("unready", "running"), ("deaf", "stopping")] {
        let container = host.container("p", name);
        assert_eq!(container["status"], status, "{container}");
    }
    assert_eq!(host.container("p", "waits")["restarts"], 0);
}

#[test]
fn a_date_that_is_set_changes_no_timer() {
    let Some(host) = Host::new() else { return };
    let mut date = Date::new(&host);
    host.up(&pod());
    host.wait_log("p/deaf", "deaf");
    let stop = host.start_podspec(["stop", "p/deaf"]);
    host.wait_status("p", "deaf", "stopping");
    host.wait_status("p", "waits", "restarting");
    goes_on(&host);
    for off in [YEARS, -YEARS, 0] {
        date.set(off);
        goes_on(&host);
        let told = host.sh("date +%Y").success();
        let events = host.podspec(["events", "--format", "json", "p"]).success();
        assert!(events.contains(told.trim()), "this date is nobody's: {told}\n{events}");
    }
    host.podspec(["stop", "-t", "0", "p"]).success();
    host.finish(stop).success();
    host.podspec(["down", "--volumes", "p"]).success();
    host.sh("umount -l /etc").success();
    host.assert_clean();
}

#[test]
fn a_supervisor_with_other_clocks_than_its_clients_is_the_same_to_them() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&pod());
    let elsewhere = |args: &str| {
        let podspec = env!("CARGO_BIN_EXE_podspec");
        host.sh(&format!(
            "unshare --time --monotonic=315360000 --boottime=315360000 --fork {podspec} --run {} --root {} {args}",
            host.run_dir().display(),
            host.data().display(),
        ))
    };
    elsewhere(&format!("up -d {file}")).success();
    host.wait_log("p/deaf", "deaf");
    let stop = host.start_podspec(["stop", "p/deaf"]);
    host.wait_status("p", "deaf", "stopping");
    host.wait_status("p", "waits", "restarting");
    goes_on(&host);
    for ps in [host.podspec(["ps", "p"]), elsewhere("ps p")] {
        let ps = ps.success();
        assert!(!ps.contains("unsupervised") && ps.contains("stopping"), "{ps}");
    }
    let unchanged = host.podspec(["up", "-d", &file]).success();
    assert!(unchanged.contains("unchanged"), "{unchanged}");
    host.podspec(["exec", "p/asked", "--", "true"]).success();
    host.podspec(["stop", "-t", "0", "p"]).success();
    host.finish(stop).success();
    // Both ways: what one began the other ends, with a supervisor and without.
    elsewhere("start p/asked").success();
    host.podspec(["down", "p"]).success();
    host.assert_clean();
    host.podspec(["up", "-d", &file]).success();
    host.podspec(["kill", "p/deaf"]).success();
    host.wait_status("p", "deaf", "failed");
    let supervisor = host.inspect("p")["supervisor"]["pid"].clone();
    host.kill(&supervisor, "KILL");
    elsewhere("down --volumes p").success();
    host.assert_clean();
}
