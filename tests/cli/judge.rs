//! Two judges of one file: the loader, and the published schema in the hands of a validator that is not
//! ours. An editor has the second, so the two may differ only where a form is right and its meaning wrong.

use super::{cases, load};
use podspec::spec;
use podspec::spec::problem::Severity;
use podspec::spec::tree::{self, Document, Kind, Node, Style};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// What no schema can say of a value, so that an editor stays silent where podspec does not.
const MEANING: &[(&str, &str)] = &[
    ("P0301", "a variable that is not closed"),
    ("P0302", "a form of variable that there is not"),
    ("P0303", "a variable that is not set"),
    ("P0305", "the value of a variable holds what no text may"),
    ("P0401", "a text of one line with a line feed or NUL in it"),
    ("P0402", "a host name"),
    ("P0407", "an empty program"),
    ("P0454", "an item without `=`"),
    ("P0455", "one variable twice in a list"),
    ("P0456", "a file that is not there, or wrong"),
    ("P0458", "a key of the environment"),
    ("P0459", "an id that is too large for a kernel"),
    ("P0460", "a name of a user"),
    ("P0462", "a soft limit above the hard one"),
    ("P0464", "a name of a sysctl"),
    ("P0465", "one sysctl in two ways of writing"),
    ("P0466", "a sysctl without a value"),
    ("P0467", "a sysctl of the whole machine"),
    ("P0470", "a device by the short form: its path"),
    ("P0471", "a device by the short form: its place inside"),
    ("P0472", "two devices at one place"),
    ("P0473", "a device by the short form: its access"),
    ("P0501", "a name that the file's place cannot give"),
    ("P0502", "two documents of one name"),
    ("P0504", "neither image nor rootfs"),
    ("P0505", "image and rootfs"),
    ("P0506", "a rootfs without a command"),
    ("P0510", "a host name where uts is not shared"),
    ("P0511", "ports without a network of the pod's own"),
    ("P0512", "two ports on one address"),
    ("P0513", "a host name where uts is shared"),
    ("P0514", "a size of /dev/shm where ipc is not shared"),
    ("P0515", "a sysctl of a namespace that is not shared"),
    ("P0520", "a cycle"),
    ("P0522", "waits for an end that never comes"),
    ("P0524", "no such container"),
    ("P0403", "not an IP address"),
    ("P0405", "a label without a name"),
    ("P0406", "not one option of a resolver"),
    ("P0424", "not a port"),
    ("P0431", "`share` mixes two forms"),
    ("P0432", "a namespace twice"),
    ("P0438", "an MTU of a network that podspec does not make"),
    ("P0440", "a volume of two kinds"),
    ("P0441", "`create` without `host`"),
    ("P0442", "not the name of a file"),
    ("P0443", "an empty path"),
    ("P0444", "`~` in a path"),
    ("P0445", "two volumes at one place"),
    ("P0448", "a key of the other kind of volume"),
    ("P0449", "a volume without a source"),
    ("P0450", "`subPath` leaves the volume"),
    ("P0451", "`subPath` of a path of the host"),
    ("P0452", "a target that is no place for a volume"),
    ("P0453", "`workingDir` is not absolute"),
    ("P0457", "no signal"),
    ("P0461", "not a limit"),
    ("P0468", "no capability"),
    ("P0475", "ranges of ids that are none, or meet"),
    ("P0480", "a probe or hook of no kind, or of two"),
    ("P0481", "a path of a request without `/`"),
    ("P0482", "less memory and swap than memory"),
    ("P0483", "no share of processors"),
    ("P0484", "no list of processors"),
    ("P0485", "`memorySwap` of nothing"),
    ("P0486", "a rate of zero"),
    ("P0487", "limits of one disk twice"),
    ("P0490", "not the name of an image"),
    ("P0491", "a policy of nothing"),
    ("P0516", "root where root is refused"),
    ("P0517", "two containers that listen on one port"),
    ("P0521", "a volume that is not declared"),
    ("P0523", "a dependency twice"),
    ("P0525", "a path that is not there"),
    ("P0526", "a name in two lists"),
    ("P0527", "an init container that waits"),
    ("P0528", "an init container that never completes"),
    ("P0529", "a dependency on an init container"),
    ("P0530", "a capability in both lists"),
    ("P0532", "a name of a profile or label"),
    ("P0533", "a path that nothing hides"),
    ("P0540", "`userns` where user is not shared"),
    ("P0541", "`time` where time is not shared"),
    ("P0542", "`idmap` without a user namespace"),
    ("P0543", "a network by path where net is not shared"),
    ("P0544", "a namespace shared and not shared"),
    ("P0560", "a regular expression"),
    ("P0561", "a time of a probe that is none"),
    ("P0562", "a file of a probe without its whole path"),
    ("P0563", "a liveness probe with successes in a row"),
    ("P0564", "a path or a header of a request"),
    ("P0565", "a probe of an init container"),
    ("P0580", "ids beyond a mapping"),
    ("P0643", "ports of no image"),
    ("P0660", "a secret of no source, or of two"),
    ("P0661", "a secret that is a directory"),
    ("P0662", "a secret's variable that is not set"),
    ("P0663", "no mode of a secret"),
    ("P0664", "a secret where something else is"),
    ("P0665", "a secret that is not declared"),
];

/// Cases whose code is one of form, but whose mistake comes with the value of a variable.
const BY_VARIABLE: &[&str] = &["variable-quoted-number-out-of-range"];

/// As an editor sees it: YAML 1.2, no variable replaced.
fn as_json(node: &Node) -> Value {
    match &node.kind {
        Kind::Map(map) => {
            map.iter().map(|(key, entry)| (key.clone(), as_json(&entry.value))).collect()
        }
        Kind::List(items) => items.iter().map(as_json).collect(),
        Kind::Scalar { style: Style::Plain, .. } if node.is_null() => Value::Null,
        Kind::Scalar { text, style: Style::Plain } => (node.boolean().map(Value::from))
            .or_else(|| node.integer().map(Value::from))
            .or_else(|| node.number().map(Value::from))
            .unwrap_or_else(|| Value::from(&**text)),
        Kind::Scalar { text, .. } => Value::from(&**text),
    }
}

#[test]
fn loader_and_schema_differ_only_in_meaning() {
    let validator = jsonschema::draft7::new(&spec::schema()).unwrap();
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for case in cases() {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(case.join("pod.yaml")).unwrap();
        let (documents, _) = tree::parse(&text);
        // Of a text that is no YAML there is nothing to judge.
        let judged: Vec<&Document> =
            documents.iter().filter(|document| document.broken.is_none()).collect();
        let accepted = judged.iter().all(|document| validator.is_valid(&as_json(&document.root)));
        let Err(problems) = load(&case, &text) else {
            if !accepted {
                wrong.push(format!("{name}: podspec accepts it, an editor does not"));
            }
            continue;
        };
        let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
        let codes: BTreeSet<&str> = errors.map(|problem| problem.code).collect();
        let of_form: Vec<&str> = codes
            .iter()
            .copied()
            .filter(|code| !code.starts_with("P01") && !MEANING.iter().any(|(m, _)| m == code))
            .collect();
        // What an editor makes of the rest of a broken document is its own.
        let is_yaml = !codes.contains("P0102");
        if accepted && is_yaml && !of_form.is_empty() && !BY_VARIABLE.contains(&name.as_str()) {
            wrong.push(format!("{name}: an editor accepts what podspec refuses with {of_form:?}"));
        }
        seen.extend(codes);
    }
    for (code, why) in MEANING {
        if !seen.contains(code) {
            wrong.push(format!("{code} ({why}): no case has it"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nteach it to the schema, or list its code in MEANING",
        wrong.join("\n")
    );
}
