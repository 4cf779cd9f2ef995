//! The timeline as one page: the drawing, to be zoomed, and below it the critical path and the containers as
//! tables. It asks the network for nothing, and its policy lets no script run but its own, by its hash: what
//! a file calls a command can do nothing here, even if it were written where it does not belong.

use super::{Timeline, svg, time};
use crate::draw::words::escape;
use base64::Engine as _;
use sha2::{Digest as _, Sha256};
use std::fmt::Write;

const SCRIPT: &str = include_str!("script.js");
const STYLE: &str = include_str!("page.css");

/// The timeline as one HTML document.
pub fn html(timeline: &Timeline) -> String {
    let pod = escape(&timeline.pod);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src '{}'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>start of {pod}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        hash(SCRIPT)
    );
    let _ = writeln!(
        out,
        "<nav><button data-until=\"{}\">the whole start</button><button data-until=\"{}\">podspec's set-up</button>\
         wheel: zoom \u{b7} drag: move \u{b7} double click: back</nav>",
        timeline.end,
        (timeline.set_up + timeline.set_up / 20).clamp(1, timeline.end)
    );
    out.push_str(&svg::zoomable(timeline));
    spent(&mut out, timeline);
    path(&mut out, timeline);
    containers(&mut out, timeline);
    let _ = write!(
        out,
        "</main>\n<div id=\"tip\" hidden></div>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    );
    out
}

/// As a policy names a script.
fn hash(script: &str) -> String {
    let digest = Sha256::digest(script.as_bytes());
    format!("sha256-{}", base64::engine::general_purpose::STANDARD.encode(digest))
}

fn spent(out: &mut String, timeline: &Timeline) {
    out.push_str("<section><h2>Where the time went, along the critical path</h2>\n<table>\n");
    for (spent, micros) in timeline.spent() {
        let share = micros as f64 * 100.0 / timeline.end as f64;
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{share:.1} %</td>\
             <td class=\"share\"><div style=\"width:{:.1}%\"></div></td></tr>",
            spent.words(),
            time(micros),
            share.max(0.5)
        );
    }
    out.push_str("</table></section>\n");
}

fn path(out: &mut String, timeline: &Timeline) {
    out.push_str(
        "<section><h2>The critical path</h2>\n<table>\n<tr><th class=\"number\">at</th>\
         <th class=\"number\">took</th><th></th><th>what</th></tr>\n",
    );
    for part in &timeline.critical_path {
        let _ = writeln!(
            out,
            "<tr><td class=\"number\">{}</td><td class=\"number\">{}</td><td>{}</td><td>{}</td></tr>",
            time(part.from),
            time(part.to.saturating_sub(part.from)),
            escape(&timeline.rows[part.row].name),
            escape(&part.what)
        );
    }
    out.push_str("</table></section>\n");
}

fn containers(out: &mut String, timeline: &Timeline) {
    out.push_str(
        "<section><h2>Containers</h2>\n<table>\n<tr><th></th><th class=\"number\">started</th>\
         <th class=\"number\">ready</th><th class=\"number\">completed</th></tr>\n",
    );
    let cell = |at: Option<u64>| at.map_or_else(|| "\u{2013}".to_owned(), time);
    for row in timeline.rows.iter().filter(|row| row.role.is_some()) {
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td></tr>",
            escape(&row.name),
            cell(row.started),
            cell(row.ready),
            cell(row.completed)
        );
    }
    out.push_str("</table></section>\n");
}
