//! Text that is no YAML: which mistake it probably is, and where the next document begins. The parser
//! says what it expected; a person wants to know what to type.

use super::problem::{Edit, Problem, nearest};
use granit_parser::ErrorKind;
use std::ops::Range;

/// The next `---` at the head of a line, at or after this byte.
pub(super) fn next_document(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = match bytes.get(..from) {
        Some([.., b'\n']) | Some([]) => from,
        _ => from + text.get(from..)?.find('\n')? + 1,
    };
    loop {
        let line = bytes.get(at..)?;
        if line.starts_with(b"---") && line.get(3).is_none_or(u8::is_ascii_whitespace) {
            return Some(at);
        }
        at += line.iter().position(|byte| *byte == b'\n')? + 1;
    }
}

/// The line of a byte: where it begins, and its text without the end.
fn line_of(text: &str, at: usize) -> (usize, &str) {
    let start = text[..at].rfind('\n').map_or(0, |index| index + 1);
    (start, text[start..].lines().next().unwrap_or(""))
}

/// The character at a byte; nothing at the end of a line.
fn one(text: &str, at: usize) -> Range<usize> {
    let next = text[at..].chars().next().filter(|c| !matches!(c, '\n' | '\r'));
    at..at + next.map_or(0, char::len_utf8)
}

/// From a byte to the end of its word.
fn word(text: &str, at: usize) -> Range<usize> {
    let end = text[at..].find(|c: char| c.is_whitespace()).unwrap_or(text.len() - at);
    if end == 0 { one(text, at) } else { at..at + end }
}

/// A mistake of the parser in the words of a pod file; `begins`: the list or map that was open.
pub(super) fn problem(
    text: &str,
    at: usize,
    kind: &ErrorKind,
    begins: Option<Range<usize>>,
) -> Problem {
    if let Some(problem) = bracket_port(text, at).or_else(|| indented_by_tab(text, at)) {
        return problem;
    }
    match kind {
        ErrorKind::InvalidColonPlacement
        | ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofFlowSequence => in_flow(text, at, begins),
        ErrorKind::MappingValueNotAllowed => value_not_allowed(text, at, line_of(text, at)),
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::ExpectedDocumentStart
        | ErrorKind::InvalidIndentation => indentation(text, at, begins),
        ErrorKind::SimpleKeyExpected
        | ErrorKind::UnknownAnchor
        | ErrorKind::InvalidTrailingDoubleQuotedScalar
        | ErrorKind::InvalidTrailingSingleQuotedScalar => of_word(text, at, kind),
        _ => of_character(text, at, kind),
    }
}

/// Mistakes that a word shows.
fn of_word(text: &str, at: usize, kind: &ErrorKind) -> Problem {
    let mut place = word(text, at);
    if matches!(kind, ErrorKind::UnknownAnchor) {
        place.end = at + text[place.clone()].trim_end_matches([',', ']', '}']).len();
    }
    let word = text[place.clone()].to_owned();
    let say = |message: &str, label: &str| Problem::error("P0102", message, place.clone(), label);
    match kind {
        ErrorKind::SimpleKeyExpected if word.len() > 1 && word.starts_with('-') => {
            say(&format!("`{word}` is no item of a list"), "no space after `-`")
                .help(format!("write `- {word}`, or `- {}`", &word[1..]))
        }
        ErrorKind::SimpleKeyExpected => {
            say(&format!("`{word}` stands alone where a key belongs"), "no `:` after it")
                .help(format!("write `{word}: …`; indent a text of several lines"))
        }
        ErrorKind::UnknownAnchor => {
            let name = word.trim_start_matches('*');
            let problem = say(&format!("no anchor is named `{name}`"), "this alias");
            if !name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
                // A pattern of a shell is no name that anybody gives.
                let problem = problem.help(format!("put it in quotes: {}", quoted(&word)));
                return problem.fix(place.clone(), format!("\"{word}\""));
            }
            let words = text[..at].split_whitespace().filter_map(|word| word.strip_prefix('&'));
            match nearest(name, words) {
                Some(anchor) => problem.help(format!("did you mean `*{anchor}`?")),
                None => problem.help(format!(
                    "write `&{name}` before the value that it stands for, further up in the same \
                     document; put a text that begins with `*` into quotes"
                )),
            }
        }
        kind => {
            if let Some(key) = word.strip_suffix(':') {
                let problem = say("something follows the end of a quoted text", "this");
                return problem.help(match text[line_of(text, at).0..at].contains(['{', '[']) {
                    true => format!("write a `,` before `{key}`"),
                    false => format!("write `{key}` on a line of its own"),
                });
            }
            let single = matches!(kind, ErrorKind::InvalidTrailingSingleQuotedScalar);
            let mark = if single { "''" } else { "\\\"" };
            say("something follows the end of a quoted text", "this").help(format!(
                "put the quotes around the whole text; write a quote inside it as `{mark}`"
            ))
        }
    }
}

/// Mistakes that a character shows.
fn of_character(text: &str, at: usize, kind: &ErrorKind) -> Problem {
    let place = one(text, at);
    let found = text[place.clone()].to_owned();
    let say = |message: &str, label: &str, help: &str| {
        Problem::error("P0102", message, place.clone(), label).help(help)
    };
    match kind {
        ErrorKind::UnclosedQuotedScalar | ErrorKind::DocumentIndicatorInQuotedScalar => {
            say("a quoted text is not closed", "opened here", &second_quote(text, at, &found))
        }
        ErrorKind::UnclosedFlowCollection { open }
        | ErrorKind::MismatchedFlowCollectionEnd { open, .. } => {
            let close = if *open == '[' { ']' } else { '}' };
            let help = format!("write `{close}` where it ends");
            say(&format!("`{open}` is not closed by `{close}`"), "opened here", &help)
        }
        ErrorKind::MisplacedFlowCollectionEnd => {
            let help = "remove it, or put the text in quotes";
            say(&format!("`{found}` closes nothing"), "opened nowhere", help)
        }
        ErrorKind::UnexpectedEofImplicitFlowMapping => say(
            "an item is missing before this comma",
            "nothing before it",
            "remove one of the commas",
        ),
        ErrorKind::UnexpectedCharacter { character } => first_character(text, at, *character),
        ErrorKind::UnknownQuotedScalarEscape => say(
            "a backslash in double quotes begins an escape, and this one is none",
            "in this text",
            "write `\\\\` for a backslash, or use single quotes",
        ),
        ErrorKind::BlockSequenceEntryNotAllowed => say(
            "a list of `- ` items begins on a line of its own",
            "here",
            "put the items below the key, or write `[item, item]`",
        ),
        ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabNotAllowed
        | ErrorKind::TabAtBlockScalarStart => say(
            "a tab stands where YAML wants spaces",
            "here",
            "write spaces instead: YAML is never indented by tabs",
        ),
        ErrorKind::CommentInterceptedScalar => say(
            "a comment interrupts a text of several lines",
            "this comment",
            "indent the next line less, or put the text in quotes",
        ),
        ErrorKind::BomInsideDocument => say(
            "a byte order mark stands inside the file",
            "here",
            "remove the invisible character: two files were joined",
        ),
        other => Problem::error("P0102", format!("not YAML: {other}"), place, "here"),
    }
}

/// A text begins with a character that no plain text of YAML begins with.
fn first_character(text: &str, at: usize, character: char) -> Problem {
    let say = |message: &str, label: &str, help: &str| {
        Problem::error("P0102", message, one(text, at), label).help(help)
    };
    if matches!(character, '|' | '>') {
        return say(
            "a block of text cannot stand inside of brackets",
            "begins a block",
            "write each item on a line of its own, `- item`, without the brackets; there `- |` begins a block",
        );
    }
    if character.is_control() {
        let message =
            format!("a control character ({:#04x}) stands in the text", u32::from(character));
        return say(&message, "here", "remove it: a file of text has none");
    }
    let rest = value_at(text, at);
    let name = if character == '`' { "a backtick" } else { &format!("`{character}`") };
    let help = format!("put it in quotes: {}", quoted(rest));
    let problem = say(&format!("a text cannot begin with {name}"), "here", &help);
    // What has quotes of its own may end elsewhere.
    if rest.contains(['"', '\'', '\\', '#', ':']) {
        return problem;
    }
    problem.fix(at..at + rest.len(), format!("\"{rest}\""))
}

/// Where a quote that is left open probably ends.
fn second_quote(text: &str, at: usize, quote: &str) -> String {
    let line = line_of(text, at).1.trim_end();
    let begin = line.rfind(quote).map_or("", |begin| &line[begin..]);
    format!("write a second `{quote}` where the text ends: `{begin}{quote}`")
}

/// The text that begins here: to the end of its line, or of its item in brackets.
fn value_at(text: &str, at: usize) -> &str {
    let before = line_of(text, at).1.get(..at - line_of(text, at).0).unwrap_or("");
    let count = |brackets: [char; 2]| before.matches(brackets).count();
    let rest = text[at..].lines().next().unwrap_or("");
    let rest = match count(['[', '{']) > count([']', '}']) {
        true => rest.split([',', ']', '}']).next().unwrap_or(rest),
        false => rest.split(" #").next().unwrap_or(rest),
    };
    rest.trim_end()
}

fn quoted(text: &str) -> String {
    format!("`\"{}\"`", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A list or map in brackets ends early, or never.
fn in_flow(text: &str, at: usize, begins: Option<Range<usize>>) -> Problem {
    if text[at..].starts_with('{') && text[..at].ends_with('$') {
        let rest = &text[at - 1..];
        let end = rest.find('}').map_or(2, |end| end + 1);
        let place = at - 1..at - 1 + end;
        let variable = text[place.clone()].to_owned();
        let begins_value = text[..at - 1].ends_with([' ', ',', '[', ':']);
        let ends_value = rest[end..].starts_with([',', ' ', ']', '}']);
        let problem = Problem::error(
            "P0102",
            "inside `{ }` and `[ ]` a variable must be in quotes",
            place.clone(),
            "YAML takes this `{` for a map",
        )
        .help(format!("write {}, the quotes around the whole value", quoted(&variable)));
        let fits = begins_value && ends_value && variable.ends_with('}');
        return if fits && !variable.contains(['"', '\\']) {
            problem.fix(place, format!("\"{variable}\""))
        } else {
            problem
        };
    }
    let open = begins.map(|place| {
        let before = text[..place.start].trim_end();
        let bracket = before.len().saturating_sub(1);
        if before.ends_with(['[', '{']) { bracket..bracket + 1 } else { place }
    });
    if let Some(open) = open.clone().filter(|open| text[open.start..at].contains('\n')) {
        return left_open(text, at, open);
    }
    let problem = Problem::error(
        "P0102",
        "a `,` is missing, or the bracket that ends this",
        one(text, at),
        "not expected here",
    )
    .help("write a `,` between items, and close each `[` and `{`; quote a text with `: ` in it");
    match open {
        Some(open) => problem.also(open, "inside this"),
        None => problem,
    }
}

/// What is not expected stands lines below the bracket that is open.
fn left_open(text: &str, at: usize, open: Range<usize>) -> Problem {
    let close = if text[open.clone()].starts_with('{') { '}' } else { ']' };
    let (start, line) = line_of(text, at);
    let before = text[..start].trim_end().lines().count();
    let begin = start + (line.len() - line.trim_start().len());
    let place = if begin < at { begin..at } else { one(text, at) };
    Problem::error("P0102", format!("a bracket is not closed by `{close}`"), open, "opened here")
        .also(place, format!("a `,` or `{close}` is missing before this"))
        .help(format!("write `{close}` where it ends, such as at the end of line {before}"))
}

/// `a: b: c`, `name:shop`, a value and keys below it.
fn value_not_allowed(text: &str, at: usize, (start, line): (usize, &str)) -> Problem {
    let head = &text[start..at];
    if let Some(colon) = head.find(": ") {
        let value = start + colon + 2..start + line.len();
        let words = text[value.clone()].trim();
        let help = match words.strip_suffix(':').filter(|_| start + line.trim_end().len() == at + 1)
        {
            Some(without) => format!("write `{without}`, without the `:` at its end"),
            None => format!("put a text with `: ` in it in quotes: {}", quoted(words)),
        };
        return Problem::error(
            "P0102",
            "a second `:` on the line, where YAML expects text",
            one(text, at),
            "this one",
        )
        .help(help);
    }
    below_a_value(text, at, (start, line))
}

/// A key that is right, and what stands above it took it for its own text.
fn below_a_value(text: &str, at: usize, (start, line): (usize, &str)) -> Problem {
    let above = text[..start].trim_end();
    let (above_start, above_line) = line_of(text, above.len());
    let trimmed = above_line.trim();
    let place = above_start + (above_line.len() - above_line.trim_start().len());
    let place = place..place + trimmed.len();
    if let Some(space) = odd_space(trimmed) {
        let place = place.start + space.start..place.start + space.end;
        let message = "a space that YAML does not take for one stands behind the `:`";
        return Problem::error("P0102", message, place.clone(), "this one looks the same")
            .help("write a plain space: this one was probably copied from a page")
            .fix(place, " ");
    }
    if let Some((word, rest)) = without_colon(trimmed, above_line, line) {
        let place = place.start..place.start + word.len();
        let message = "a `:` is missing";
        let problem = Problem::error("P0102", message, place.clone(), "no `:` after this key");
        let problem = problem.help(match rest {
            "" => format!("write `{word}:`"),
            rest => format!("write `{word}: {rest}`"),
        });
        let is_sure = !rest.contains(' ') && begins_an_entry(text, above_start, above_line);
        return if is_sure { problem.fix(place.end..place.end, ":") } else { problem };
    }
    let key = line_of(text, at).1.trim();
    let long = trimmed.strip_prefix("- ").and_then(|item| long_form(item, key));
    if long.is_none()
        && let Some((key, value)) = trimmed.trim_start_matches("- ").split_once(':')
        && !value.starts_with(' ')
        && !value.is_empty()
        // `8080:80` is a port.
        && key.contains(|c: char| c.is_ascii_alphabetic())
    {
        let colon = place.start + trimmed.find(':').unwrap_or(0) + 1;
        let label = "a text, not a key";
        let problem = Problem::error("P0102", "a space is missing after `:`", place, label);
        // Behind a space it would be a comment, and what was written is gone.
        return match value.starts_with('#') {
            true => problem.help(format!("write `{key}: {}`", quoted(value))),
            false => problem.help(format!("write `{key}: {value}`")).fix(colon..colon, " "),
        };
    }
    let own = start + (line.len() - line.trim_start().len())..at;
    let problem = Problem::error(
        "P0102",
        "a key stands below a value",
        own,
        "a key here would belong to the line above",
    );
    let problem =
        if trimmed.is_empty() { problem } else { problem.also(place, "which has a value") };
    problem.help(long.map_or_else(
        || format!("indent `{key}` as the keys beside it, or leave the line above without a value"),
        |long| format!("write `- {long}`"),
    ))
}

/// A port or a volume in its short form, and a key below it, as the long form that has both.
fn long_form(item: &str, key: &str) -> Option<String> {
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (from, to) = item.trim_matches(['"', '\'']).split_once(':')?;
    if !key.contains(": ") {
        None
    } else if is_port(from) && is_port(to) {
        Some(format!("{{ host: {from}, container: {to}, {key} }}"))
    } else if to.starts_with('/') && !to.contains(':') && !matches!(from, "source" | "target") {
        Some(format!("{{ source: {from}, target: {to}, {key} }}"))
    } else {
        None
    }
}

/// Whether this line is a key of a map for certain, and not a further line of a text: it begins in the first column,
/// or the line above it is a key without a value, or an entry that is indented as far.
fn begins_an_entry(text: &str, start: usize, line: &str) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut above = text[..start].lines().rev().filter(|line| !line.trim().is_empty());
    indent(line) == 0
        || above.next().is_some_and(|above| {
            let is_entry = above.contains(": ") && indent(above) >= indent(line);
            above.trim_end().ends_with(':') || is_entry
        })
}

/// The first space of another kind (no-break, of a width of its own) right behind a `:`.
fn odd_space(line: &str) -> Option<Range<usize>> {
    let colon = line.find(':')?;
    let space = line[colon + 1..].chars().next().filter(|c| c.is_whitespace() && !c.is_ascii())?;
    Some(colon + 1..colon + 1 + space.len_utf8())
}

/// `name shop` above a key of the same column, or `web` above a key that is indented more: the word that is a key,
/// and what follows it.
fn without_colon<'a>(above: &'a str, above_line: &str, line: &str) -> Option<(&'a str, &'a str)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let (word, rest) = above.split_once(' ').unwrap_or((above, ""));
    let is_word = word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let is_beside = indent(line) == indent(above_line);
    let is_key = is_word
        && !above.contains([':', '#'])
        && (if rest.is_empty() { indent(line) > indent(above_line) } else { is_beside });
    is_key.then_some((word, rest.trim()))
}

/// A line that fits to nothing above it.
fn indentation(text: &str, at: usize, begins: Option<Range<usize>>) -> Problem {
    let (start, line) = line_of(text, at);
    let trimmed = line.trim_start();
    if text[..at].ends_with("- ") || trimmed.starts_with("- ") && at <= start + line.len() {
        let place = start + (line.len() - trimmed.len())..start + line.len();
        let problem =
            Problem::error("P0102", "a list item among the keys of a map", place, "this item");
        let problem = match begins {
            Some(place) => problem.also(place, "the map begins here"),
            None => problem,
        };
        return problem.help("indent the items below the key that they belong to");
    }
    let problem = Problem::error(
        "P0102",
        "this is indented as nothing above it",
        word(text, at),
        "begins in a column of its own",
    );
    let problem = match begins {
        Some(place) => problem.also(place, "what it should be in line with"),
        None => problem,
    };
    problem.help(match columns(text, start) {
        (Some(outer), Some(inner)) => {
            format!("indent it by {inner} spaces or by {outer}, as the lines above it")
        }
        (None, Some(indent)) | (Some(indent), None) => format!("indent it by {indent} spaces"),
        (None, None) => {
            "begin the keys of one map, and the items of one list, in one column".to_owned()
        }
    })
}

/// How far lines above this one are indented: the next one that is less, and the next that is more.
fn columns(text: &str, line: usize) -> (Option<usize>, Option<usize>) {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let own = indent(line_of(text, line).1);
    let above = text[..line].lines().rev();
    let above = above.filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let (mut inner, mut outer) = (None, None);
    for found in above.map(indent) {
        if found < own {
            outer = Some(found);
            break;
        }
        inner = Some(found);
    }
    (outer, inner)
}

fn indented_by_tab(text: &str, at: usize) -> Option<Problem> {
    let (start, line) = line_of(text, at);
    let indent = line.len() - line.trim_start().len();
    let tabs = line[..indent].find('\t')?;
    let place = start + tabs..start + indent;
    let problem = Problem::error("P0102", "a line is indented by a tab", place, "this is a tab")
        .help("write spaces instead: YAML is never indented by tabs");
    Some(Problem { fix: spaces_for_tabs(text), ..problem })
}

/// Two spaces for each tab that indents a line; nothing where others are indented by spaces, for how wide
/// a tab was meant to be nobody knows then.
fn spaces_for_tabs(text: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if indent > 0 && !line.trim().is_empty() {
            if line[..indent].contains(' ') {
                return Vec::new();
            }
            let text = "  ".repeat(indent);
            edits.push(Edit { place: start..start + indent, text });
        }
        start += line.len();
    }
    edits
}

/// `- [::1]:8053:53`, which YAML takes for a list and what follows for a mistake.
fn bracket_port(text: &str, at: usize) -> Option<Problem> {
    // The parser may notice the mistake on the line after.
    let (start, line) = line_of(text, at);
    let before = text[..start].trim_end_matches(['\n', '\r']);
    let (previous_start, _) = line_of(text, before.len());
    for (start, line) in
        [(start, line), (previous_start, &before[previous_start.min(before.len())..])]
    {
        let value = line.trim_start().trim_start_matches('-').trim_start();
        let value = value.split(" #").next().unwrap_or(value).trim_end();
        let inside = value.strip_prefix('[').and_then(|rest| rest.split_once("]:"));
        if inside.is_some_and(|(address, _)| address.parse::<std::net::Ipv6Addr>().is_ok()) {
            let offset = start + line.find('[')?;
            let place = offset..offset + value.len();
            let message = "an address in brackets must be in quotes";
            return Some(
                Problem::error(
                    "P0102",
                    message,
                    place.clone(),
                    "YAML reads this as the start of a list",
                )
                .help(format!("write `- \"{value}\"`"))
                .fix(place, format!("\"{value}\"")),
            );
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A further line of a text is no key, and no fix makes it one.
    #[test]
    fn a_colon_is_put_in_only_where_it_is_missing_for_certain() {
        let fixes = |text: &str| {
            let (_, problems) = crate::spec::tree::parse(text);
            problems.in_order().iter().map(|problem| problem.fix.len()).sum::<usize>()
        };
        for sure in ["name shop\na: b", "a:\n  b c\n  d: e"] {
            assert_eq!(fixes(sure), 1, "{sure}");
        }
        for unsure in [
            "a: some\n  long text\n  here now\n  x: 1",
            "a:\n  b: some\n    text\n      x: 1",
            "this is a text\nx: 1",
        ] {
            assert_eq!(fixes(unsure), 0, "{unsure}");
        }
    }

    #[test]
    fn the_next_document_is_a_line_of_its_own() {
        let text = "a: [\nb\n ---\n----\n--- # c\nd: e\n";
        assert_eq!(next_document(text, 2).map(|at| &text[at..at + 5]), Some("--- #"));
        assert_eq!(next_document(text, text.find("--- #").unwrap()), text.find("--- #"));
        assert_eq!(next_document(text, text.len() - 2), None);
        assert_eq!(next_document("---", 0), Some(0));
    }
}
