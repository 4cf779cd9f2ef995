//! Tables without borders that fit a terminal: pure, cells in and text out. Where there is no room, what
//! the reader misses least goes first, in the order that the table's owner gives.

/// What stands in one place of a table. Each kind gives way in its own manner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    /// Loses its end.
    Text(String),
    /// Loses its middle: names differ at either end.
    Name(String),
    /// Loses whole items, and says how many.
    List(Vec<String>),
    /// A number: stands at the right of its column.
    Number(String),
}

/// What is given up next where the table is too wide.
#[derive(Debug, Clone, Copy)]
pub(super) enum Relief {
    /// The column becomes as narrow as needed, but no narrower than this.
    Shrink(&'static str, usize),
    Drop(&'static str),
}

const GAP: usize = 2;

/// Lines of at most `width` columns; no line ends with a space.
pub(super) fn table(
    heads: &[&'static str],
    rows: &[Vec<Cell>],
    relief: &[Relief],
    width: usize,
) -> String {
    let widths = widths(heads, rows, relief, width);
    let shown = || widths.iter().enumerate().filter_map(|(at, width)| width.map(|w| (at, w)));
    let is_number = |at: usize| rows.iter().any(|row| matches!(row[at], Cell::Number(_)));
    let mut out = String::new();
    let head: Vec<(String, usize, bool)> =
        shown().map(|(at, width)| (cut(heads[at], width), width, is_number(at))).collect();
    push_line(&mut out, head);
    for row in rows {
        let cells = shown().map(|(at, width)| (row[at].fit(width), width, is_number(at)));
        push_line(&mut out, cells.collect());
    }
    out.pop();
    out
}

/// The width of each column; `None` for one that is not shown.
fn widths(
    heads: &[&'static str],
    rows: &[Vec<Cell>],
    relief: &[Relief],
    width: usize,
) -> Vec<Option<usize>> {
    let widest = |at: usize| rows.iter().map(|row| row[at].width()).max().unwrap_or(0);
    let mut widths: Vec<Option<usize>> =
        (0..heads.len()).map(|at| Some(columns(heads[at]).max(widest(at)))).collect();
    let natural = widths.clone();
    let column = |name: &str| heads.iter().position(|head| *head == name);
    for step in relief {
        let excess = total(&widths).saturating_sub(width);
        if excess == 0 {
            break;
        }
        match step {
            Relief::Drop(name) => column(name).into_iter().for_each(|at| widths[at] = None),
            Relief::Shrink(name, least) => {
                if let Some(now) = column(name).and_then(|at| widths[at].as_mut()) {
                    *now = (*now).saturating_sub(excess).max(*least).min(*now);
                }
            }
        }
    }
    // Dropping a column may leave more room than was needed: who became narrow last gets it back.
    for step in relief.iter().rev() {
        let spare = width.saturating_sub(total(&widths));
        if let Relief::Shrink(name, _) = step
            && let Some(at) = column(name)
            && let (Some(now), Some(most)) = (&mut widths[at], natural[at])
        {
            *now = (*now + spare).min(most);
        }
    }
    widths
}

fn total(widths: &[Option<usize>]) -> usize {
    let shown: Vec<usize> = widths.iter().flatten().copied().collect();
    shown.iter().sum::<usize>() + GAP * shown.len().saturating_sub(1)
}

fn push_line(out: &mut String, cells: Vec<(String, usize, bool)>) {
    let start = out.len();
    for (text, width, is_number) in cells {
        let room = " ".repeat(width.saturating_sub(columns(&text)));
        let (before, after) = if is_number { (room.as_str(), "") } else { ("", room.as_str()) };
        for part in [before, &text, after, "  "] {
            out.push_str(part);
        }
    }
    out.truncate(start + out[start..].trim_end().len());
    out.push('\n');
}

impl Cell {
    fn width(&self) -> usize {
        match self {
            Self::Text(text) | Self::Name(text) | Self::Number(text) => columns(text),
            Self::List(items) => columns(&items.join(", ")),
        }
    }

    fn fit(&self, width: usize) -> String {
        match self {
            Self::Text(text) | Self::Number(text) => cut(text, width),
            Self::Name(text) => cut_middle(text, width),
            Self::List(items) => fit_list(items, width),
        }
    }
}

/// As many items as there is room for, and how many more there are.
fn fit_list(items: &[String], width: usize) -> String {
    for shown in (1..=items.len()).rev() {
        let more = match items.len() - shown {
            0 => String::new(),
            more => format!(", +{more}"),
        };
        let text = items[..shown].join(", ") + &more;
        if columns(&text) <= width {
            return text;
        }
    }
    match items {
        [] => String::new(),
        [only] => cut(only, width),
        _ => cut(&format!("{} in all", items.len()), width),
    }
}

/// Columns that a text takes. Text beyond ASCII is taken to be two wide: too short is better than a line
/// that wraps.
fn columns(text: &str) -> usize {
    text.chars().map(column).sum()
}

fn column(c: char) -> usize {
    if c.is_ascii() { 1 } else { 2 }
}

/// The text in at most `width` columns, its end left out.
pub(super) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    begin(text, width.saturating_sub(3)) + &"..."[..width.min(3)]
}

/// The text in at most `width` columns, its middle left out.
pub(super) fn cut_middle(text: &str, width: usize) -> String {
    const LEAST: usize = 8;
    if columns(text) <= width || width < LEAST {
        return cut(text, width);
    }
    let behind = (width - 2) / 2;
    let reversed: String = text.chars().rev().collect();
    let end: String = begin(&reversed, behind).chars().rev().collect();
    begin(text, width - 2 - behind) + ".." + &end
}

/// As much of the text as `left` columns hold.
pub(super) fn begin(text: &str, mut left: usize) -> String {
    let fits = |c: &char| {
        let rest = left.checked_sub(column(*c));
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    text.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(word: &str) -> Cell {
        Cell::Text(word.to_owned())
    }

    #[test]
    fn a_table_lines_up() {
        let rows = [
            vec![text("shop"), Cell::Number("12".to_owned()), text("up")],
            vec![text("b"), Cell::Number("3".to_owned()), text("")],
        ];
        assert_eq!(
            table(&["POD", "PID", "STATUS"], &rows, &[], usize::MAX),
            "POD   PID  STATUS\nshop   12  up\nb       3"
        );
    }

    #[test]
    fn what_is_missed_least_goes_first() {
        let row =
            [text("shop"), text("running and running"), Cell::Name("ab-cdefghij-yz".to_owned())];
        let relief = [Relief::Shrink("B", 10), Relief::Drop("C"), Relief::Shrink("A", 2)];
        let at =
            |width| table(&["A", "B", "C"], std::slice::from_ref(&row.to_vec()), &relief, width);
        assert_eq!(at(80), at(usize::MAX));
        assert!(at(38).ends_with("\nshop  running and r...  ab-cdefghij-yz"), "{}", at(38));
        // Without C there is room for all of B again.
        assert!(at(28).ends_with("\nshop  running and running"), "{}", at(28));
        assert!(at(16).ends_with("\nshop  running..."), "{}", at(16));
        assert!(at(15).ends_with("\n...  running..."), "{}", at(15));
    }

    #[test]
    fn nothing_is_wider_than_it_may_be() {
        let items: Vec<String> = (0..9).map(|n| format!("80{n}0->80/tcp")).collect();
        let cells = [
            text("жжжжж and more"),
            Cell::Name("a-very-long-name-of-a-pod".to_owned()),
            Cell::List(items),
            Cell::List(vec!["one-long-item".to_owned()]),
        ];
        for cell in cells {
            for width in 0..60 {
                let fitted = cell.fit(width);
                assert!(columns(&fitted) <= width, "{width}: {fitted:?}");
            }
        }
    }

    #[test]
    fn each_kind_gives_way_in_its_own_manner() {
        assert_eq!(cut_middle("production-web-front", 14), "produc..-front");
        let items = ["8080->80/tcp", "8443->443/tcp", "53->53/udp"].map(str::to_owned);
        assert_eq!(fit_list(&items, 18), "8080->80/tcp, +2");
        assert_eq!(fit_list(&items, 10), "3 in all");
    }
}
