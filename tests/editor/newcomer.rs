//! A newcomer with an editor and the README, and nothing else: types a few letters, asks what there is,
//! takes what is offered, and has a pod of three containers that podspec accepts.

use crate::server::{CURSOR, Server};

/// A text that grows as an editor's does: what is taken replaces the letters before it, and is indented
/// like its line.
struct Buffer {
    text: String,
}

impl Buffer {
    /// Types, asks, and takes the item of this label. Holes keep what they suggest, unless filled.
    fn take(&mut self, server: &mut Server, typed: &str, label: &str, filled: &[(&str, &str)]) {
        self.text.push_str(typed);
        let items = server.complete(&format!("{}{CURSOR}", self.text));
        let found: Vec<&str> = items.iter().map(|item| item.label.as_str()).collect();
        let item = items.iter().find(|item| item.label == label);
        let item = item.unwrap_or_else(|| panic!("no `{label}` in {found:?} after\n{}", self.text));
        let line = self.text.rsplit('\n').next().unwrap().to_owned();
        let word = line.rsplit([' ', ':']).next().unwrap().to_owned();
        self.text.truncate(self.text.len() - word.len());
        // In a list an item begins behind its dash.
        let indent = line.len() - line.trim_start_matches([' ', '-']).len();
        let mut insert = without_holes(&item.insert);
        for (suggested, wanted) in filled {
            assert!(insert.contains(suggested), "no `{suggested}` in {insert}");
            insert = insert.replacen(suggested, wanted, 1);
        }
        self.text.push_str(&insert.trim_end().replace('\n', &format!("\n{}", " ".repeat(indent))));
    }
}

/// `${1:word}` is `word`, `${2|a,b|}` is `a`, `$3` is nothing.
fn without_holes(snippet: &str) -> String {
    let mut out = String::new();
    let mut rest = snippet;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(hole) = after.strip_prefix('{') {
            let (hole, after) = hole.split_once('}').unwrap();
            let word = hole.trim_start_matches(|c: char| c.is_ascii_digit());
            let word = word.trim_start_matches([':', '|']).trim_end_matches('|');
            let is_choice = hole.contains('|');
            out.push_str(if is_choice { word.split(',').next().unwrap() } else { word });
            rest = after;
        } else {
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        }
    }
    out + rest
}

#[test]
fn a_newcomer_writes_a_pod_of_three_containers() {
    let Some(mut server) = Server::start() else { return };
    let server = &mut server;
    let mut file = Buffer { text: String::new() };
    file.take(server, "na", "name", &[]);
    file.take(server, "\npo", "ports", &[]);
    file.take(server, "\nvol", "volumes", &[]);
    file.take(
        server,
        "\ncont",
        "containers",
        &[("web", "db"), ("image: docker.io/library/httpd:2.4", "")],
    );
    // It has a cursor in the container's first line now.
    file.text.truncate(file.text.trim_end().len());
    file.take(
        server,
        "\n    ",
        "from this machine's root",
        &[("sleep", "/opt/db"), ("1h", "--data=/data")],
    );
    file.take(server, "\n    vol", "volumes", &[]);
    file.text.push_str(" data:/data");
    file.take(server, "\n    rest", "restart", &[]);
    file.take(server, " ", "always", &[]);

    file.take(server, "\n  ", "container name", &[("container name", "migrate")]);
    file.text.truncate(file.text.trim_end().len());
    file.take(
        server,
        "\n    ",
        "from this machine's root",
        &[("sleep", "/opt/migrate"), ("1h", "--all")],
    );
    file.take(server, "\n    dep", "dependsOn", &[]);
    file.take(server, " ", "NAME: condition", &[]);

    file.take(server, "\n  ", "container name", &[("container name", "web")]);
    file.text.truncate(file.text.trim_end().len());
    file.take(
        server,
        "\n    ",
        "from this machine's root",
        &[("sleep", "/opt/web"), ("1h", "--port=80")],
    );
    file.take(server, "\n    dep", "dependsOn", &[]);
    file.text.push_str("\n      migrate: ");
    file.take(server, "", "completed", &[]);
    file.take(server, "\n    stopT", "stopTimeout", &[]);
    file.take(server, " ", "1m30s", &[]);
    file.text.push('\n');

    accepted(server, &file.text);
}

/// By the editor and by podspec, and it is the pod that was meant.
fn accepted(server: &mut Server, text: &str) {
    assert_eq!(server.diagnose(text).len(), 0, "{text}");
    let context = podspec::spec::Context {
        base: "/work".into(),
        default_name: None,
        env: &|_| None,
        read: &|_| Err(std::io::ErrorKind::NotFound.into()),
        look: &|_| Some(podspec::spec::Found::Directory),
    };
    let loaded = podspec::spec::load(text, &context).unwrap_or_else(|e| panic!("{e:#?}\n{text}"));
    let pod = &loaded.pods[0].spec;
    assert_eq!(
        pod.containers.keys().map(|name| name.as_str()).collect::<Vec<_>>(),
        ["db", "migrate", "web"]
    );
    assert_eq!((pod.ports[0].host, pod.ports[0].container), (8080, 80));
    assert_eq!(pod.containers[0].mounts.len(), 1);
}
