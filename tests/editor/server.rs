//! A real yaml-language-server as a child: what an editor would ask, and what a user would see.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// What `podspec schema` prints; a test of the library's holds the two equal.
pub(crate) const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/pod.schema.json");

/// Where the cursor stands in a text of a test.
pub(crate) const CURSOR: char = '\u{2038}';

pub(crate) struct Server {
    child: Child,
    stdin: ChildStdin,
    messages: Receiver<Value>,
    schemas: Value,
    last_id: u64,
    documents: u64,
    published: Vec<Value>,
    configured: bool,
}

/// One thing that a completion offers.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) label: String,
    pub(crate) insert: String,
    pub(crate) text: String,
}

/// A squiggly line: where it begins, counted from 1, and what it says.
#[derive(Debug)]
pub(crate) struct Diagnostic {
    pub(crate) line: u64,
    pub(crate) message: String,
}

impl Server {
    /// With the schema for the names of pod files. None where there is no node, on a desk; never where `CI` is set.
    pub(crate) fn start() -> Option<Self> {
        Self::with(json!({ SCHEMA: ["*.pod.yaml", "pod.yaml"] }))
    }

    /// With this map from schemas to patterns.
    pub(crate) fn with(schemas: Value) -> Option<Self> {
        let install = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/editor/install");
        let installed = Command::new(install).stderr(Stdio::inherit()).output().unwrap();
        if !installed.status.success() {
            assert!(std::env::var_os("CI").is_none(), "{install} failed");
            eprintln!("skipped: {install} failed (is there npm?)");
            return None;
        }
        let program = String::from_utf8(installed.stdout).unwrap();
        let mut command = Command::new(program.trim());
        command.arg("--stdio");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let (sender, messages) = channel();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            while let Some(message) = read_message(&mut stdout) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut server = Self {
            child,
            stdin,
            messages,
            schemas,
            last_id: 0,
            documents: 0,
            published: Vec::new(),
            configured: false,
        };
        server.initialize();
        Some(server)
    }

    fn initialize(&mut self) {
        let item = json!({ "documentationFormat": ["markdown"], "snippetSupport": true });
        self.request(
            "initialize",
            json!({
                "processId": std::process::id(),
                "rootUri": null,
                "capabilities": {
                    "textDocument": {
                        "completion": { "completionItem": item },
                        "hover": { "contentFormat": ["markdown"] },
                        "publishDiagnostics": {},
                    },
                    "workspace": { "configuration": true },
                },
            }),
        );
        self.notify("initialized", json!({}));
        self.notify("workspace/didChangeConfiguration", json!({ "settings": {} }));
        // It asks for its settings in its own time, and knows no schema before.
        while !self.configured {
            self.receive();
        }
        assert!(!self.diagnose("nothing: so\n").is_empty(), "the settings did not arrive");
    }

    /// What the README tells a user to set, but for the schema store, which is on the network.
    fn settings(&self) -> Value {
        json!({
            "validate": true,
            "hover": true,
            "completion": true,
            "schemas": self.schemas,
            "schemaStore": { "enable": false, "url": "" },
        })
    }

    /// What is offered where the cursor stands.
    pub(crate) fn complete(&mut self, text: &str) -> Vec<Item> {
        let (document, position) = self.open(text);
        let at = json!({ "textDocument": { "uri": document }, "position": position });
        let answer = self.request("textDocument/completion", at);
        let list = answer.get("items").unwrap_or(&answer).as_array().cloned();
        let word = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
        let text = |item: &Value| match &item["documentation"] {
            Value::String(text) => text.clone(),
            markup => word(markup, "value"),
        };
        let item = |item: &Value| Item {
            label: word(item, "label"),
            insert: word(item, "insertText"),
            text: text(item),
        };
        list.unwrap_or_default().iter().map(item).collect()
    }

    /// What stands in the box when the mouse rests at the cursor.
    pub(crate) fn hover(&mut self, text: &str) -> String {
        let (document, position) = self.open(text);
        let at = json!({ "textDocument": { "uri": document }, "position": position });
        let answer = self.request("textDocument/hover", at);
        answer["contents"]["value"].as_str().unwrap_or_default().to_owned()
    }

    /// What is underlined in a file of this text.
    pub(crate) fn diagnose(&mut self, text: &str) -> Vec<Diagnostic> {
        let (document, _) = self.open(text);
        self.published(&document)
    }

    /// What is underlined in each of these files, had they these texts. All at once: the server waits a
    /// moment before it looks at a text.
    pub(crate) fn diagnose_at(&mut self, files: &[(PathBuf, String)]) -> Vec<Vec<Diagnostic>> {
        let document = |path: &Path| format!("file://{}", path.display());
        for (path, text) in files {
            self.did_open(&document(path), text);
        }
        files.iter().map(|(path, _)| self.published(&document(path))).collect()
    }

    fn open(&mut self, text: &str) -> (String, Value) {
        self.documents += 1;
        let document = format!("file:///work/{}.pod.yaml", self.documents);
        let before = text.split(CURSOR).next().unwrap();
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap().encode_utf16().count();
        self.did_open(&document, &text.replace(CURSOR, ""));
        (document, json!({ "line": line, "character": column }))
    }

    fn did_open(&mut self, document: &str, text: &str) {
        let file = json!({ "uri": document, "languageId": "yaml", "version": 1, "text": text });
        self.notify("textDocument/didOpen", json!({ "textDocument": file }));
    }

    fn published(&mut self, document: &str) -> Vec<Diagnostic> {
        loop {
            let is_it = |message: &Value| message["uri"] == document;
            if let Some(index) = self.published.iter().position(is_it) {
                let found = self.published.swap_remove(index);
                let list = found["diagnostics"].as_array().unwrap().iter();
                return list
                    .map(|one| Diagnostic {
                        line: one["range"]["start"]["line"].as_u64().unwrap() + 1,
                        message: one["message"].as_str().unwrap().to_owned(),
                    })
                    .collect();
            }
            self.receive();
        }
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            if let Some(answer) = self.receive()
                && answer["id"] == id
            {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// The next message, if it is an answer to us. Questions of the server are answered here.
    fn receive(&mut self) -> Option<Value> {
        let message = self.messages.recv_timeout(Duration::from_secs(60));
        let mut message = message.expect("yaml-language-server says nothing");
        let method = message["method"].as_str().map(str::to_owned);
        match (method.as_deref(), message.get("id").cloned()) {
            (Some("textDocument/publishDiagnostics"), _) => {
                self.published.push(message["params"].take());
            }
            (Some(method), Some(id)) => {
                let result = if method == "workspace/configuration" {
                    self.configured = true;
                    let items = message["params"]["items"].as_array().unwrap().iter();
                    let of = |item: &Value| match item["section"].as_str() {
                        Some("yaml") => self.settings(),
                        _ => json!({}),
                    };
                    items.map(of).collect()
                } else {
                    Value::Null
                };
                self.send(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
            }
            (None, Some(_)) => return Some(message),
            _ => {}
        }
        None
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        write!(self.stdin, "Content-Length: {}\r\n\r\n{text}", text.len()).unwrap();
        self.stdin.flush().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_message(from: &mut impl BufRead) -> Option<Value> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("Content-Length:") {
            length = value.trim().parse().ok();
        }
    }
    let mut body = vec![0; length?];
    from.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}
