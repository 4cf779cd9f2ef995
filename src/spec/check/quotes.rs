//! Quotes of a word processor around a value: to YAML they are letters, and so they would reach the program.

use crate::spec::problem::{Edit, Problem, Problems};
use crate::spec::tree::{Kind, Node, Style};

const OPENING: [char; 6] = ['\u{201c}', '\u{201e}', '\u{201f}', '\u{2018}', '\u{201a}', '\u{ab}'];
const CLOSING: [char; 6] = ['\u{201d}', '\u{201c}', '\u{2019}', '\u{2018}', '\u{201b}', '\u{bb}'];

/// Warns of every value that was to be quoted; before the texts are taken out of the tree.
pub(super) fn warn(root: &Node, text: &str, problems: &mut Problems) {
    // Most documents have none, and then nothing is looked at twice. Of this one alone: a file may have many.
    if text.get(root.span.clone()).is_some_and(|own| own.contains(OPENING)) {
        walk(root, text, problems);
    }
}

fn walk(node: &Node, text: &str, problems: &mut Problems) {
    match &node.kind {
        Kind::Scalar { style: Style::Plain | Style::Interpolated, .. } => {
            if let Some(problem) = judge(node, text) {
                problems.push(problem);
            }
        }
        Kind::Scalar { style: Style::Quoted, .. } => {}
        Kind::List(items) => items.iter().for_each(|item| walk(item, text, problems)),
        Kind::Map(map) => map.values().for_each(|entry| walk(&entry.value, text, problems)),
    }
}

fn judge(node: &Node, text: &str) -> Option<Problem> {
    let source = text.get(node.span.clone())?;
    let rest = source.strip_prefix(OPENING)?;
    let inside = rest.strip_suffix(CLOSING);
    // A text that begins with a quoted word is a text; one that is never closed was cut by a comma.
    if inside.is_none() && rest.contains(CLOSING) || inside.is_some_and(|it| it.contains(OPENING)) {
        return None;
    }
    let message = format!("the quotes of `{source}` are part of the text");
    let plain = inside.filter(|it| !it.contains(['"', '\\', '\n']));
    let fix = plain.map(|it| Edit { place: node.span.clone(), text: format!("\"{it}\"") });
    let help = match &fix {
        Some(edit) => format!("write `{}`: YAML knows straight quotes alone", edit.text),
        None => "write straight quotes, `\"` or `'`: YAML knows no others".to_owned(),
    };
    let problem = Problem::error("P0207", message, node.span.clone(), "no quotes to YAML");
    Some(problem.warning().help(help).maybe_fix(fix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tree;

    fn warned(value: &str) -> Option<Vec<Edit>> {
        let text = format!("- {value}\n");
        let (documents, _) = tree::parse(&text);
        let mut problems = Problems::default();
        warn(&documents[0].root, &text, &mut problems);
        problems.in_order().pop().map(|problem| problem.fix)
    }

    #[test]
    fn a_value_in_other_quotes_is_noticed() {
        for (value, fixed) in [
            ("\u{201c}sleep\u{201d}", Some("\"sleep\"")),
            ("\u{2018}a b\u{2019}", Some("\"a b\"")),
            ("\u{201e}a\u{201c}", Some("\"a\"")),
            ("\u{ab}a\u{bb}", Some("\"a\"")),
            ("\u{201c}a\"b\u{201d}", None),
            ("[\u{201c}a, b\u{201d}]", None),
        ] {
            let fix = warned(value).unwrap_or_else(|| panic!("{value}: nothing is said"));
            assert_eq!(fix.first().map(|edit| edit.text.as_str()), fixed, "{value}");
        }
    }

    #[test]
    fn a_text_with_quotes_in_it_is_a_text() {
        for value in [
            "\u{201c}Hello\u{201d} she said",
            "say \u{201c}hello\u{201d}",
            "it\u{2019}s",
            "\"\u{201c}a\u{201d}\"",
            "'\u{201c}a\u{201d}'",
            "\u{201c}a\u{201d} and \u{201c}b\u{201d}",
        ] {
            assert_eq!(warned(value), None, "{value}");
        }
    }
}
