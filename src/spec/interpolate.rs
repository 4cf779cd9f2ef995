//! `${VAR}` in values. Only `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `$$` are special; the
//! result is text and is never read as YAML again.

use super::problem::{Problem, Problems};
use super::tree::{Kind, Node, Style};
use std::ops::Range;

const FORMS: &str = "write `${VAR}`, `${VAR:-default}` or `${VAR:?message}`; `$$` is a dollar sign";

/// Replaces the variables of every value below `node`; `text` is the file.
pub fn interpolate(
    node: &mut Node,
    text: &str,
    lookup: &mut dyn FnMut(&str) -> Result<Option<String>, String>,
    problems: &mut Problems,
) {
    match &mut node.kind {
        Kind::Map(map) => {
            map.values_mut()
                .for_each(|entry| interpolate(&mut entry.value, text, lookup, problems));
        }
        Kind::List(items) => {
            items.iter_mut().for_each(|item| interpolate(item, text, lookup, problems));
        }
        Kind::Scalar { text: value, style } => {
            if value.contains('$') {
                let mut scalar = Scalar { value, span: node.span.clone(), file: text, from: 0 };
                let (result, changed) = scalar.expand(lookup, problems);
                *value = result.into_boxed_str();
                if changed {
                    *style = Style::Interpolated;
                }
            }
            if value.contains('\0') {
                let message = "a text with a NUL character cannot be given to any program";
                problems.push(
                    Problem::error("P0305", message, node.span.clone(), "has a `\\0` in it")
                        .help("take the `\\0` out of the text"),
                );
            }
        }
    }
}

struct Scalar<'a> {
    value: &'a str,
    span: Range<usize>,
    file: &'a str,
    /// How far into the source of the scalar references were found.
    from: usize,
}

impl Scalar<'_> {
    /// The text with its variables, and whether there were any.
    fn expand(
        &mut self,
        lookup: &mut dyn FnMut(&str) -> Result<Option<String>, String>,
        problems: &mut Problems,
    ) -> (String, bool) {
        let mut result = String::with_capacity(self.value.len());
        let mut changed = false;
        let mut rest = self.value;
        while let Some(index) = rest.find('$') {
            result.push_str(&rest[..index]);
            rest = &rest[index..];
            if let Some(after) = rest.strip_prefix("$$") {
                result.push('$');
                changed = true;
                rest = after;
                // What follows it is no variable, whatever it looks like.
                self.place("$$");
                continue;
            }
            let Some(after) = rest.strip_prefix("${") else {
                result.push('$');
                rest = &rest[1..];
                continue;
            };
            changed = true;
            let Some(end) = after.find('}') else {
                let place = self.place(rest);
                let message = "`${` has no `}`";
                let known = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let name = after.split(|c| !known(c)).next().filter(|name| !name.is_empty());
                let help =
                    format!("write `${{{}}}`, or `$$` for a dollar sign", name.unwrap_or("VAR"));
                problems.push(Problem::error("P0301", message, place, "begins here").help(help));
                return (result, true);
            };
            let place = self.place(&rest[..end + 3]);
            match value(&after[..end], lookup) {
                Ok(value) => result.push_str(&value),
                Err(mistake) => problems.push(mistake.at(place)),
            }
            rest = &after[end + 1..];
        }
        result.push_str(rest);
        (result, changed)
    }

    /// Where in the file this piece of the scalar stands; the scalar where escapes hide it.
    fn place(&mut self, piece: &str) -> Range<usize> {
        let source = self.file.get(self.span.clone()).unwrap_or("");
        match source.get(self.from..).and_then(|source| source.find(piece)) {
            Some(found) => {
                let start = self.span.start + self.from + found;
                self.from += found + piece.len();
                start..start + piece.len()
            }
            None => self.span.clone(),
        }
    }
}

struct Mistake {
    code: &'static str,
    message: String,
    label: &'static str,
    help: Option<String>,
}

impl Mistake {
    fn help(self, help: String) -> Self {
        Self { help: Some(help), ..self }
    }

    fn at(self, place: Range<usize>) -> Problem {
        Problem::error(self.code, self.message, place, self.label).maybe_help(self.help)
    }
}

/// The value of what stands between `${` and `}`.
fn value(
    inside: &str,
    lookup: &mut dyn FnMut(&str) -> Result<Option<String>, String>,
) -> Result<String, Mistake> {
    let bad = |message: String, label| Mistake {
        code: "P0302",
        message,
        label,
        help: Some(FORMS.to_owned()),
    };
    let length = inside.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    let (name, operator) = inside.split_at(length);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("`{inside}` does not begin with the name of a variable");
        let help =
            format!("write `$${{{inside}}}` to leave it as it is, or a name such as `${{VAR}}`");
        return Err(bad(message, "here").help(help));
    }
    if operator.contains("${") {
        return Err(bad("variables cannot be nested".to_owned(), "one inside the other"));
    }
    let found = lookup(name).map_err(|message| Mistake {
        code: "P0304",
        message,
        label: "needed here",
        help: Some(format!("mend that file, or set `{name}` in the environment")),
    })?;
    let filled = || found.clone().filter(|value| !value.is_empty());
    if operator.is_empty() {
        return found.ok_or_else(|| Mistake {
            code: "P0303",
            message: format!("the variable `{name}` is not set"),
            label: "used here",
            help: Some(format!(
                "set it in the environment or in `.env`, or write `${{{name}:-default}}`"
            )),
        });
    }
    if let Some(default) = operator.strip_prefix(":-") {
        return Ok(filled().unwrap_or_else(|| default.to_owned()));
    }
    if let Some(message) = operator.strip_prefix(":?") {
        let message = if message.is_empty() { "it is needed" } else { message };
        return filled().ok_or_else(|| Mistake {
            code: "P0303",
            message: format!("the variable `{name}` is not set: {message}"),
            label: "used here",
            help: Some(format!("set `{name}` to some text, in the environment or in `.env`")),
        });
    }
    let mistake = bad(format!("`{operator}` is not known after the name of a variable"), "in this");
    Err(if operator.starts_with(['-', '?']) {
        mistake.help(format!("write `${{{name}:{operator}}}`"))
    } else {
        mistake
    })
}

/// The word with braces around the names of variables, where it has some without.
pub(super) fn with_braces(word: &str) -> Option<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (before, after) = word.split_once('$')?;
    let length = after.find(|c| !is_name(c)).unwrap_or(after.len());
    let (name, rest) = after.split_at(length);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let rest = with_braces(rest).unwrap_or_else(|| rest.to_owned());
    Some(format!("{before}${{{name}}}{rest}"))
}

/// KEY=VALUE lines; `#` lines and empty lines are skipped. The error is the number of the bad line.
pub fn environment(text: &str) -> Result<Vec<(String, String)>, usize> {
    let mut pairs = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=').ok_or(index + 1)?;
        let (key, value) = (key.trim_end(), value.trim_start());
        if !is_env_key(key) || value.contains('\0') {
            return Err(index + 1);
        }
        let quoted =
            |mark| value.strip_prefix(mark).and_then(|value: &str| value.strip_suffix(mark));
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        pairs.push((key.to_owned(), value.to_owned()));
    }
    Ok(pairs)
}

/// A name that an environment can have.
pub fn is_env_key(key: &str) -> bool {
    !key.is_empty() && !key.contains(|c: char| c == '=' || c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tree;

    fn expand(text: &str) -> Result<String, Vec<(String, String)>> {
        let mut node = tree::parse(text).0.remove(0).root;
        let mut problems = Problems::default();
        let mut lookup = |name: &str| {
            Ok(match name {
                "A" => Some("one: [two]".to_owned()),
                "EMPTY" => Some(String::new()),
                _ => None,
            })
        };
        interpolate(&mut node, text, &mut lookup, &mut problems);
        if problems.is_empty() {
            return Ok(node.text().unwrap().to_owned());
        }
        Err(problems
            .in_order()
            .into_iter()
            .map(|p| (text[p.labels[0].0.clone()].to_owned(), p.message))
            .collect())
    }

    #[test]
    fn what_is_special_and_what_is_not() {
        for (text, result) in [
            ("a${A}b", "aone: [two]b"),
            ("\"${EMPTY}\"", ""),
            ("${EMPTY:-x}${NO:-y}${NO:-}", "xy"),
            ("$$A $A $(ls) $ $${A}", "$A $A $(ls) $ ${A}"),
            ("${A:?never}", "one: [two]"),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(result), "{text}");
        }
    }

    #[test]
    fn a_mistake_points_into_the_text() {
        for (text, place, words) in [
            ("\"x ${NO} y\"", "${NO}", "`NO` is not set"),
            ("x ${NO:?set it} y", "${NO:?set it}", "not set: set it"),
            ("x ${EMPTY:?set it}", "${EMPTY:?set it}", "set it"),
            ("${A:+x}", "${A:+x}", "`:+x` is not known"),
            ("${A-x}", "${A-x}", "`-x` is not known"),
            ("${A:-${B}}", "${A:-${B}", "nested"),
            ("${A", "${A", "no `}`"),
            ("${}", "${}", "name of a variable"),
        ] {
            let problems = expand(text).unwrap_err();
            assert_eq!(problems[0].0, place, "{text}");
            assert!(problems[0].1.contains(words), "{text}: {problems:?}");
        }
    }

    #[test]
    fn environment_files_are_plain() {
        let pairs = environment("# c\nA=1\n B = 'x y' \nC=\"#\"\n\nD=a=b\n").unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("A", "1"), ("B", "x y"), ("C", "#"), ("D", "a=b")]);
        assert_eq!(environment("A=1\nexport B=2\n"), Err(2));
        assert_eq!(environment("A\n"), Err(1));
    }
}
