//! A fake host: its own network, mount and pid namespaces, an empty /run, a data directory on the real
//! disk. The test's thread is moved into it, so plain sockets, files and commands of the test are the
//! host's. When the test ends, however it ends, every process of the host is killed with its PID 1.

use nix::sched::{CloneFlags, setns, unshare};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// The host's address on its uplink, and the other host behind it.
pub const HOST: &str = "192.0.2.1";
pub const NEIGHBOUR: &str = "192.0.2.2";

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// PID 1 of the host. Ignoring SIGCHLD makes the kernel reap for it; the end of its stdin, which the
/// test holds, ends it and so everything.
const INIT: &str = r#"
set -e
export PATH=$PATH:/usr/sbin:/sbin
mount -t tmpfs -o mode=755 tmpfs /run
ip link set lo up
# A new network namespace begins with the machine's own setting.
echo 0 > /proc/sys/net/ipv4/ip_forward
echo ready
exec perl -e '$SIG{CHLD} = "IGNORE"; 1 while <STDIN>'
"#;

/// `lo` of the neighbour stays down: only then can it send to 127.0.0.1 over a wire, as an attacker would.
const ADD_NEIGHBOUR: &str = "
set -e
ip netns add neighbour
ip link add uplink type veth peer name eth0 netns neighbour
# A link-local address would come at some moment of the test, and look like something left behind.
ip link set uplink addrgenmode none
ip address add 192.0.2.1/24 dev uplink
ip link set uplink up
ip -n neighbour address add 192.0.2.2/24 dev eth0
ip -n neighbour link set eth0 up
ip route add default via 192.0.2.2
";

pub struct Host {
    /// Files of the test, and the data directory.
    pub dir: PathBuf,
    init: Child,
    /// Where the thread came from: mount, network; and the namespaces of pids, its own and the host's.
    home: [(File, CloneFlags); 2],
    own_pids: File,
    host_pids: File,
    run: PathBuf,
    before: Vec<String>,
    pods: Mutex<BTreeSet<String>>,
}

impl Host {
    /// None: this user may not make a host, and the test is skipped. Where CI is set it fails instead.
    pub fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "kernel tests need root");
            eprintln!("skipped: kernel tests need root");
            return None;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&unique);
        fs::create_dir_all(&dir).unwrap();
        let (init, proc) = start_init();
        let namespace = |kind: &str| File::open(proc.join(kind)).unwrap();
        let thread = |kind: &str| File::open(Path::new("/proc/thread-self/ns").join(kind)).unwrap();
        let home =
            [(thread("mnt"), CloneFlags::CLONE_NEWNS), (thread("net"), CloneFlags::CLONE_NEWNET)];
        let (own_pids, host_pids) = (thread("pid"), namespace("pid_for_children"));
        let (mnt, net) = (namespace("mnt"), namespace("net"));
        // A mount namespace can be entered only by a thread that shares its root and cwd with none.
        unshare(CloneFlags::CLONE_FS).unwrap();
        setns(&mnt, CloneFlags::CLONE_NEWNS).unwrap();
        setns(&net, CloneFlags::CLONE_NEWNET).unwrap();
        // Cgroups are found by a hash over the runtime directory and the pod, and the hierarchy is one
        // for all tests that run now: each needs a runtime directory of another name.
        let run = PathBuf::from(format!("/run/podspec-{unique}"));
        let (before, pods) = (Vec::new(), Mutex::default());
        let mut host = Self { dir, init, home, own_pids, host_pids, run, before, pods };
        host.before = host.snapshot();
        Some(host)
    }

    /// With another host behind a default route.
    pub fn with_neighbour() -> Option<Self> {
        let mut host = Self::new()?;
        host.sh(ADD_NEIGHBOUR).success();
        host.before = host.snapshot();
        Some(host)
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub fn run_dir(&self) -> &Path {
        &self.run
    }

    /// Writes a file of the test and gives its path.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A pod file; JSON is YAML. The pod is looked after in `leftovers`.
    pub fn pod(&self, pod: &Value) -> String {
        let name = pod["name"].as_str().unwrap();
        self.pods.lock().unwrap().insert(name.to_owned());
        let path = self.file(&format!("{name}.yaml"), serde_json::to_vec_pretty(pod).unwrap());
        path.to_str().unwrap().to_owned()
    }

    /// One of the files in examples/, whose pods are named as the files.
    pub fn example(&self, name: &str) -> String {
        self.pods.lock().unwrap().insert(name.to_owned());
        format!("{}/examples/{name}.yaml", env!("CARGO_MANIFEST_DIR"))
    }

    /// Writes the file and brings its pod up.
    pub fn up(&self, pod: &Value) -> String {
        let file = self.pod(pod);
        self.podspec(["up", "-d", &file]).success();
        file
    }

    pub fn down(&self, pod: &str) {
        self.podspec(["down", pod]).success();
    }

    /// Runs podspec to its end.
    pub fn podspec<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> Outcome {
        let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        self.finish_named(self.start_podspec(&args), &format!("podspec {args:?}"))
    }

    /// Starts podspec and leaves it running.
    pub fn start_podspec<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> Child {
        self.start(&mut self.command(args))
    }

    /// podspec with the host's directories.
    pub fn command<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podspec"));
        command.arg("--run").arg(&self.run).arg("--root").arg(self.data()).args(args);
        command
    }

    /// Runs a shell script on the host.
    pub fn sh(&self, script: &str) -> Outcome {
        self.finish(self.start(Command::new("sh").arg("-c").arg(script)))
    }

    /// Starts a command as a process of the host, with pipes for its output.
    pub fn start(&self, command: &mut Command) -> Child {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.spawn(command)
    }

    /// Starts a command as a process of the host, with whatever streams it was given.
    pub fn spawn(&self, command: &mut Command) -> Child {
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        command.env("PATH", path).env("SECRET_OF_THE_CALLER", "hunter2");
        // Only around the spawn: a thread whose children belong elsewhere cannot start threads.
        setns(&self.host_pids, CloneFlags::CLONE_NEWPID).unwrap();
        let child = command.spawn();
        setns(&self.own_pids, CloneFlags::CLONE_NEWPID).unwrap();
        child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
    }

    /// Waits for a child's end; one that hangs is killed and fails the test.
    pub fn finish(&self, child: Child) -> Outcome {
        self.finish_named(child, "a command")
    }

    /// As `finish`; where it hangs, the test says which.
    pub fn finish_named(&self, child: Child, what: &str) -> Outcome {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        let (done, end) = channel();
        std::thread::spawn(move || done.send(child.wait_with_output()));
        let Ok(output) = end.recv_timeout(PATIENCE) else {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            panic!("{what} hangs");
        };
        let output = output.unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code();
        Outcome { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Names that `ip netns` lists, sorted.
    pub fn netns(&self) -> Vec<String> {
        let text = self.sh("ip netns").success();
        let mut names: Vec<String> =
            text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        names.sort();
        names
    }

    pub fn inspect(&self, pod: &str) -> Value {
        serde_json::from_str(&self.podspec(["inspect", pod]).success()).unwrap()
    }

    /// The part of `inspect` about one container.
    pub fn container(&self, pod: &str, container: &str) -> Value {
        let inspected = self.inspect(pod);
        let all = inspected["containers"].as_array().unwrap();
        all.iter()
            .find(|c| c["name"] == container)
            .cloned()
            .unwrap_or_else(|| panic!("{inspected}"))
    }

    /// Waits until a container's status is this.
    pub fn wait_status(&self, pod: &str, container: &str, status: &str) -> Value {
        let deadline = Instant::now() + PATIENCE / 2;
        loop {
            let found = self.container(pod, container);
            if found["status"] == status {
                return found;
            }
            let told = || self.podspec(["events", pod]).stdout;
            assert!(Instant::now() < deadline, "not {status}: {found}\n{}", told());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn logs(&self, of: &str) -> String {
        self.podspec(["logs", of]).success()
    }

    /// Waits until a container's log has this text, and gives the log.
    pub fn wait_log(&self, of: &str, text: &str) -> String {
        wait_some(&format!("{text:?} in the log of {of}"), || {
            // Before the pod is there, there is no log.
            Some(self.podspec(["logs", of]).stdout).filter(|log| log.contains(text))
        })
    }

    /// Runs something in a named network namespace of the host.
    pub fn within<T: Send>(&self, netns: &str, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(Path::new("/run/netns").join(netns)).unwrap();
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            inside.join().unwrap()
        })
    }

    /// Signals a process by its pid on the host.
    pub fn kill(&self, pid: &Value, signal: &str) {
        self.sh(&format!("kill -{signal} {pid}")).success();
    }

    /// Pids of the host's processes that have this in their command line.
    pub fn pids_of(&self, command: &str) -> Vec<u32> {
        let all = self.processes().into_iter();
        all.filter(|(_, known)| known.contains(command)).map(|(pid, _)| pid).collect()
    }

    /// The one of them.
    #[track_caller]
    pub fn pid_of(&self, command: &str) -> u32 {
        let found = self.pids_of(command);
        let [one] = found[..] else { panic!("{command}: {found:?}") };
        one
    }

    /// Pids of the host, its PID 1 and zombies left out, with their command lines.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
            if pid == 1 || matches!(state, None | Some('Z' | 'X')) {
                continue;
            }
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(&command).replace('\0', " ")));
        }
        found
    }

    /// What is on the host now and was not when the test began. The bridge and the table (without
    /// elements) are the machine's and stay; a log stays until the next `up`.
    pub fn leftovers(&self) -> Vec<String> {
        // The supervisor answers, then exits: that takes a moment.
        let deadline = Instant::now() + Duration::from_secs(1);
        while !self.processes().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut now = self.snapshot();
        now.retain(|thing| !self.before.contains(thing));
        now
    }

    /// The assertion that ends every test.
    pub fn assert_clean(&self) {
        let left = self.leftovers();
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
    }

    fn snapshot(&self) -> Vec<String> {
        let mut all = self.links();
        all.extend(self.nft_elements());
        all.extend(mounts());
        all.extend(self.processes().into_iter().map(|(pid, what)| format!("process {pid} {what}")));
        let (run, data) = (&self.run, self.data());
        for folder in
            ["/run/netns".into(), run.join("pods"), run.join("net/leases"), data.join("layers")]
                as [PathBuf; 4]
        {
            all.extend(entries(&folder));
        }
        all.extend(self.cgroups().into_iter().map(|path| format!("cgroup {}", path.display())));
        all
    }

    fn links(&self) -> Vec<String> {
        let text = self.sh("ip -o address; ip -o link").success();
        // The counter at the head and whatever follows `\` (times, queue) differ from call to call.
        let short = |line: &str| {
            let line = line.split('\\').next()?.split_once(": ")?.1;
            let name = line.split([' ', ':', '@']).next()?;
            let address: Vec<&str> = line.split_whitespace().take(4).collect();
            let is_inet = address.get(1).is_some_and(|word| word.starts_with("inet"));
            Some(format!(
                "link {name} {}",
                if is_inet { address[1..].join(" ") } else { String::new() }
            ))
        };
        text.lines().filter_map(short).filter(|thing| !thing.starts_with("link podspec0")).collect()
    }

    fn nft_elements(&self) -> Vec<String> {
        let text = self.sh("nft -j list ruleset").success();
        let ruleset: Value = serde_json::from_str(&text).unwrap_or_default();
        let objects = ruleset["nftables"].as_array().cloned().unwrap_or_default();
        let of_ours = |object: &Value| {
            let set = object.get("map").or_else(|| object.get("set"))?.clone();
            (set["table"] == "podspec").then_some(set)
        };
        let sets = objects.iter().filter_map(of_ours);
        let elements = sets.flat_map(|set| {
            let elements = set["elem"].as_array().cloned().unwrap_or_default();
            elements.into_iter().map(move |element| format!("element of {} {element}", set["name"]))
        });
        elements.collect()
    }

    /// Cgroups of the pods that this test has named, of v2 and of each v1 hierarchy.
    fn cgroups(&self) -> Vec<PathBuf> {
        let text = fs::read_to_string("/proc/1/mountinfo").unwrap_or_default();
        let is_cgroup = |line: &&str| line.contains(" - cgroup2 ") || line.contains(" - cgroup ");
        let mounts = text.lines().filter(is_cgroup).filter_map(|line| line.split(' ').nth(4));
        let pods = self.pods.lock().unwrap();
        let id = |pod: &String| podspec::names::PodId::new(&self.run, &pod.parse().unwrap());
        let ids: Vec<_> = pods.iter().map(id).collect();
        let below = |root: &str| {
            let root = Path::new(root).join("podspec");
            ids.iter().map(move |id| root.join(id.as_str())).collect::<Vec<_>>()
        };
        mounts.flat_map(below).filter(|path| path.exists()).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let cgroups = self.cgroups();
        drop(self.init.stdin.take());
        let _ = self.init.wait();
        for cgroup in cgroups {
            remove_cgroup(&cgroup);
        }
        for (namespace, kind) in &self.home {
            let _ = setns(namespace, *kind);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Starts PID 1 and gives its parent's /proc/PID/ns, whose entries are the host's.
fn start_init() -> (Child, PathBuf) {
    let mut init = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["--propagation", "private", "sh", "-c", INIT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare");
    let mut line = String::new();
    BufReader::new(init.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "the fake host did not come up");
    let proc = PathBuf::from(format!("/proc/{}/ns", init.id()));
    (init, proc)
}

fn mounts() -> Vec<String> {
    // The thread is in the host's mount namespace but not in its pid namespace: no /proc/self here.
    let text = fs::read_to_string("/proc/1/mountinfo").unwrap();
    // /run/netns is a mount of the machine's, made by the first who pins a namespace (ip-netns(8)).
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|at| *at != "/run/netns").map(|at| format!("mount {at}")).collect()
}

fn entries(folder: &Path) -> Vec<String> {
    let Ok(found) = fs::read_dir(folder) else { return Vec::new() };
    found.flatten().map(|entry| format!("file {}", entry.path().display())).collect()
}

/// Where the v2 hierarchy is mounted.
pub fn cgroup2_root() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/1/mountinfo").ok()?;
    let line = text.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

fn remove_cgroup(cgroup: &Path) {
    let _ = fs::write(cgroup.join("cgroup.kill"), "1");
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_cgroup(&entry.path());
        }
    }
    // A cgroup is busy until its killed processes are gone.
    for _ in 0..50 {
        if fs::remove_dir(cgroup).is_ok() || !cgroup.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    /// None: by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Its stdout, if it ended with 0.
    #[track_caller]
    pub fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{self}");
        self.stdout
    }

    /// Its stderr, if it ended with this code.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self}");
        self.stderr
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, stdout, stderr } = self;
        write!(f, "code {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// Waits until a condition holds.
#[track_caller]
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    wait_some(what, || condition().then_some(()));
}

/// Waits until there is a value.
#[track_caller]
pub fn wait_some<T>(what: &str, mut value: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        if let Some(value) = value() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How long a connection may take before it counts as hung; far above what refusing one takes.
const HUNG: Duration = Duration::from_secs(2);

/// The body that an HTTP server answers with. An error of kind `TimedOut` or `WouldBlock` is a hang.
pub fn http_get(address: &str) -> io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, HUNG)?;
    stream.set_read_timeout(Some(HUNG))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.to_owned()))
}

/// Asks until a server that has just been started listens.
pub fn http_wait(address: &str) -> String {
    wait_some(&format!("an answer from {address}"), || http_get(address).ok())
}

/// Sends a datagram and gives the answer, which must come from the address it was sent to.
pub fn udp_ask(address: &str, text: &str) -> io::Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    socket.send(text.as_bytes())?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// A command for a container with `rootfs: host`: an HTTP server on each of these ports, which answers
/// with its name, its port and the client's address.
pub fn server(name: &str, ports: &[u16]) -> Vec<String> {
    const PROGRAM: &str = r#"
        use strict; use IO::Socket::INET; use IO::Select;
        $| = 1; $SIG{PIPE} = 'IGNORE';
        my ($name, @ports) = @ARGV;
        my $all = IO::Select->new(map {
          IO::Socket::INET->new(LocalPort => $_, Listen => 64, ReuseAddr => 1) or die "listen $_: $!"
        } @ports);
        print "listening\n";
        while (1) {
          for my $server ($all->can_read) {
            my $client = $server->accept or next;
            while (defined(my $line = <$client>)) { last if $line =~ /^\r?\n$/ }
            print $client "HTTP/1.0 200 OK\r\n\r\n$name ", $server->sockport, " ", $client->peerhost;
            close $client;
          }
        }"#;
    let ports = ports.iter().map(u16::to_string);
    ["perl", "-e", PROGRAM, name].into_iter().map(str::to_owned).chain(ports).collect()
}

/// As `server`, over UDP and for one port: it answers each datagram with its name and the datagram.
pub fn udp_server(name: &str, port: u16) -> Vec<String> {
    const PROGRAM: &str = r#"
        use strict; use IO::Socket::INET;
        $| = 1;
        my ($name, $port) = @ARGV;
        my $socket = IO::Socket::INET->new(LocalPort => $port, Proto => 'udp') or die "bind: $!";
        print "listening\n";
        while (1) {
          my $peer = $socket->recv(my $text, 512);
          print "received $text\n";
          $socket->send("$name $text", 0, $peer);
        }"#;
    let port = port.to_string();
    ["perl", "-e", PROGRAM, name, &port].into_iter().map(str::to_owned).collect()
}

/// A root directory of its own, with these programs of the machine and what they are linked to.
pub fn root_directory(host: &Host, name: &str, programs: &[&str]) -> PathBuf {
    let root = host.dir.join(name);
    for folder in ["etc", "proc", "sys", "dev", "tmp", "run", "bin", "usr/bin"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nbob:x:1000:1000::/:/bin/sh\n")
        .unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nbob:x:1000:\n").unwrap();
    for program in programs {
        let linked = host.sh(&format!("ldd {program} | grep -o '/[^ ]*'")).stdout;
        for file in linked.lines().chain([*program]) {
            let target = root.join(file.trim_start_matches('/'));
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(file, target).unwrap();
        }
    }
    root
}

#[test]
fn leftovers_are_noticed() {
    let Some(host) = Host::with_neighbour() else { return };
    host.assert_clean();
    host.sh("ip link add left0 type bridge; ip address add 198.51.100.1/24 dev left0").success();
    host.sh("mkdir -p /run/left; mount -t tmpfs left /run/left").success();
    host.sh("ip netns add left").success();
    host.sh("nft 'add table inet podspec; add set inet podspec ports { type inet_service; }; \
         add element inet podspec ports { 80 }'")
        .success();
    let mut sleeper = host.start(Command::new("sleep").arg("1000"));
    let left = host.leftovers().join("\n");
    for thing in
        ["link left0", "198.51.100.1", "mount /run/left", "/run/netns/left", "element of", "sleep"]
    {
        assert!(left.contains(thing), "{thing} was not noticed in:\n{left}");
    }
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}

#[test]
fn a_neighbour_is_another_host() {
    let Some(host) = Host::with_neighbour() else { return };
    let listener = std::net::TcpListener::bind((HOST, 8000)).unwrap();
    let client = host.within("neighbour", || TcpStream::connect((HOST, 8000)).unwrap());
    assert_eq!(client.local_addr().unwrap().ip().to_string(), NEIGHBOUR);
    assert_eq!(listener.accept().unwrap().1.ip().to_string(), NEIGHBOUR);
    assert_eq!(host.netns(), ["neighbour"]);
}
