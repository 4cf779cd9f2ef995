//! The settings of each editor in the README: well-formed, and with what they set the language server knows
//! pod files by their names, and no others.

use crate::server::{SCHEMA, Server};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Where the README has the schema.
const OF_ADA: &str = "/home/ada/.config/pod.schema.json";

/// The block of this editor in the README.
fn block(editor: &str, language: &str) -> String {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, fold) = readme.split_once(&format!("<summary><b>{editor}</b>")).unwrap();
    let (fold, _) = fold.split_once("</details>").unwrap();
    let (_, block) = fold.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// What Neovim's Lua hands to the server, by a `vim` that prints it; None where there is no Lua, on a desk.
fn of_neovim() -> Option<Value> {
    let program = format!(
        "vim = {{ lsp = {{
           config = function(name, config)
             local known = config.settings.yaml.schemas
             for schema, patterns in pairs(known) do print(schema) print(table.concat(patterns, '\\n')) end
             configured = name
           end,
           enable = function(name) assert(name == configured, 'not enabled') end }} }}
         {}",
        block("Neovim", "lua")
    );
    let ran = match Command::new("lua5.4").args(["-e", &program]).output() {
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("skipped: lua5.4: {error}");
            return None;
        }
        ran => ran.unwrap(),
    };
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let printed = String::from_utf8(ran.stdout).unwrap();
    let mut lines = printed.lines();
    Some(json!({ lines.next().unwrap(): lines.collect::<Vec<_>>() }))
}

#[test]
fn the_settings_in_the_readme_are_what_the_server_takes() {
    let json = |editor| serde_json::from_str::<Value>(&block(editor, "json")).unwrap();
    let toml: Value = toml::from_str(&block("Helix", "toml")).unwrap();
    let mut all = vec![
        ("VS Code", json("VS Code")["yaml.schemas"].clone()),
        ("Zed", json("Zed")["lsp"]["yaml-language-server"]["settings"]["yaml"]["schemas"].clone()),
        (
            "Helix",
            toml["language-server"]["yaml-language-server"]["config"]["yaml"]["schemas"].clone(),
        ),
    ];
    all.extend(of_neovim().map(|schemas| ("Neovim", schemas)));
    let text = "containers: {}\nhostnme: a\n";
    for (editor, schemas) in all {
        let patterns = schemas[OF_ADA].clone();
        assert!(patterns.is_array(), "{editor}: {schemas}");
        let Some(mut server) = Server::with(json!({ SCHEMA: patterns })) else { return };
        let files = ["pod.yaml", "shop.pod.yaml", "below/pod.yaml", "values.yaml", "mypod.yaml"];
        let files = files.map(|name| (PathBuf::from("/work").join(name), text.to_owned()));
        let found = server.diagnose_at(&files);
        let found: Vec<usize> = found.iter().map(Vec::len).collect();
        // No container and a key that there is not; what is no pod file is not judged.
        assert_eq!(found, [2, 2, 2, 0, 0], "{editor}");
    }
    // SchemaStore's entry has the same patterns.
    assert_eq!(json("SchemaStore")["fileMatch"], json!(["pod.yaml", "*.pod.yaml"]));
}
