//! What stands on the screen, at sizes from a phone's to a wall's.

use super::*;
use crate::cli::top::input::{Command, Move};
use crate::cli::top::log::{Log, LogLine};
use crate::cli::top::sample::{self, NOW};
use ratatui::style::{Color, Modifier};
use std::time::Duration;

fn drawn(model: &mut Model, width: u16, height: u16, color: bool) -> Buffer {
    let mut buffer = Buffer::empty(Rect { x: 0, y: 0, width, height });
    let (rows, lines) = Places::of(buffer.area, model).room();
    model.fit(rows, lines);
    draw(model, NOW.parse().unwrap(), color, &mut buffer);
    buffer
}

fn text(buffer: &Buffer) -> Vec<String> {
    let rows = buffer.content().chunks(usize::from(buffer.area.width.max(1)));
    let row = |cells: &[ratatui::buffer::Cell]| {
        cells.iter().map(|cell| cell.symbol()).collect::<String>()
    };
    rows.map(|cells| row(cells).trim_end().to_owned()).collect()
}

fn screen(model: &mut Model, width: u16, height: u16) -> String {
    text(&drawn(model, width, height, true)).join("\n")
}

fn shop() -> Model {
    let mut model = Model::new(None);
    model.set_pods(vec![sample::shop()]);
    for seconds in 0..3_u32 {
        let containers = [("db", 12.5 * f64::from(seconds), 48 << 20), ("cache", 0.3, 5 << 20)];
        let bytes = 4096 * u64::from(seconds);
        let sample = crate::cli::stats::tests::sample_of("shop", bytes, &containers);
        model.set_usage(&sample, Duration::from_secs(1));
    }
    model.log = Log::new(vec!["db".to_owned()]);
    for n in 1..40 {
        let text = format!("line {n} of the log");
        model.log.push(LogLine { container: 0, is_error: false, text });
    }
    model
}

#[test]
fn at_80_by_24_all_of_it_has_its_place() {
    let mut model = shop();
    model.obey(Command::Move(Move::Down));
    let expected = "
 podspec top   1 pod  1 ready  2 not ready  1 done    cpu 25.3 %  memory 53.0Mi
 NAME                  STATE                 READY   CPU%    MEM PIDS  NET/s RST
 ▪ shop                running                 1/3   25.3 53.0Mi    3 12.0Ki
   ● db                running                 yes   25.0 48.0Mi    1          2
   └ ✓ migrate         exited (0)
     └ ○ web           waiting for cache ...    no
   ◐ cache             running                  no    0.3  5.0Mi    1
─ ● shop/db  running ───────────────────────────────────────────────────────────
 needed by  web, migrate
 cpu                                  ▁▁▂  25.0 %
 memory                               ███  48.0Mi              pids 1
 run        pid 4711, for 1m, 2 restarts
 ── log ───────────────────────────────────────────────────────────────────────
 line 30 of the log
 line 31 of the log
 line 32 of the log
 line 33 of the log
 line 34 of the log
 line 35 of the log
 line 36 of the log
 line 37 of the log
 line 38 of the log
 line 39 of the log
 ↑↓  select  Enter  log  r  restart  s  stop  e  shell  ?  help  q  quit
";
    assert_eq!(screen(&mut model, 80, 24), expected.trim_matches('\n'));
}

#[test]
fn the_one_that_waits_says_for_what() {
    let mut model = shop();
    for _ in 0..3 {
        model.obey(Command::Move(Move::Down));
    }
    let shown = screen(&mut model, 80, 24);
    for words in [
        "needs      ○ cache ready   ✓ db ready   ✓ migrate completed",
        "why        for cache to be ready (tcp 6379: refused, 14 tries)",
    ] {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
    model.obey(Command::Move(Move::First));
    model.obey(Command::Move(Move::Down));
    assert!(screen(&mut model, 80, 24).contains("needed by  web, migrate"));
}

#[test]
fn a_wide_screen_has_more_columns_and_the_selected_one_beside() {
    let mut model = shop();
    let lines = text(&drawn(&mut model, 200, 50, true));
    assert!(lines[1].contains("LIMIT") && lines[1].contains("AGE"), "{}", lines[1]);
    assert!(lines[1].contains("RX/s") && !lines[1].contains("NET/s"), "{}", lines[1]);
    assert!(lines[1].contains("│─ shop  running ──"), "{}", lines[1]);
    assert!(lines[45].ends_with("│ line 39 of the log"), "{lines:#?}");
}

#[test]
fn no_size_is_too_small() {
    for width in (0..24).chain([39, 40, 57, 79, 80, 149, 150, 300]) {
        for height in [0, 1, 2, 3, 5, 13, 14, 24, 60] {
            let mut model = shop();
            model.obey(Command::Move(Move::Down));
            drawn(&mut model, width, height, true);
            model.obey(Command::Stop);
            drawn(&mut model, width, height, true);
            model.obey(Command::Back);
            model.obey(Command::Log);
            drawn(&mut model, width, height, true);
            model.obey(Command::Help);
            drawn(&mut model, width, height, true);
        }
    }
}

#[test]
fn the_selected_row_is_always_seen() {
    let names: Vec<String> = (0..60).map(|n| format!("c{n}")).collect();
    let containers: Vec<_> = names.iter().map(|name| (name.as_str(), "running", true)).collect();
    let mut model = Model::new(None);
    model.set_pods(vec![sample::pod("many", "running", &containers)]);
    for at in 0..=60 {
        for (width, height) in [(80, 24), (200, 30)] {
            let buffer = drawn(&mut model, width, height, false);
            let turned = buffer.content().chunks(usize::from(width)).skip(2);
            let turned = turned.filter(|row| row[1].modifier.contains(Modifier::REVERSED));
            let rows: Vec<String> =
                turned.map(|row| row.iter().take(30).map(|cell| cell.symbol()).collect()).collect();
            // The pod is in the row before, which is above those.
            let seen = at == 0 || rows.iter().any(|row| row.contains(&names[at - 1]));
            assert!(seen, "{at} at {width}x{height}: {rows:?}");
        }
        model.obey(Command::Move(Move::Down));
    }
}

#[test]
fn a_question_names_what_would_end_and_who_needs_it() {
    let mut model = shop();
    model.obey(Command::Move(Move::Down));
    model.obey(Command::Stop);
    let shown = screen(&mut model, 80, 24);
    for words in ["stop shop/db?", "needed by web, migrate", ".  stop     any other key leaves it"]
    {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
    model.set_read();
    assert!(screen(&mut model, 80, 24).contains("y  stop     any other key leaves it"));
}

#[test]
fn without_colours_none_is_set() {
    let mut model = shop();
    model.say(Tone::Error, "no".to_owned());
    for command in
        [Command::Move(Move::Down), Command::Stop, Command::Back, Command::Log, Command::Help]
    {
        model.obey(command);
        let buffer = drawn(&mut model, 120, 40, false);
        let plain = |color: Color| color == Color::Reset;
        assert!(buffer.content().iter().all(|cell| plain(cell.fg) && plain(cell.bg)));
        let colored = drawn(&mut model, 120, 40, true);
        assert!(colored.content().iter().any(|cell| !plain(cell.fg)));
    }
}

#[test]
fn what_is_not_there_is_said() {
    let mut model = Model::new(None);
    assert!(screen(&mut model, 80, 24).contains("there is no pod"));
    let mut model = Model::new(Some(Target::whole("shop".parse().unwrap())));
    model.set_pods(Vec::new());
    assert!(screen(&mut model, 80, 24).contains("`shop` is down"));
    let lost = sample::pod("lost", "unsupervised", &[("c", "running", true)]);
    model.set_pods(vec![lost]);
    let shown = screen(&mut model, 80, 24);
    assert!(shown.contains("lost") && shown.contains("unsupervised"), "{shown}");
    assert!(shown.contains("running?"), "the last that is known: {shown}");
}

#[test]
fn a_log_breaks_long_lines_and_goes_up() {
    let mut model = shop();
    model.obey(Command::Log);
    let wide = "ж".repeat(100);
    model.log.push(LogLine { container: 0, is_error: true, text: wide.clone() });
    let lines = text(&drawn(&mut model, 80, 24, true));
    let joined: String = lines[21..23].iter().map(|line| line.trim()).collect();
    assert_eq!(joined, wide);
    model.obey(Command::Move(Move::Up));
    let lines = text(&drawn(&mut model, 80, 24, true));
    assert!(lines[22].ends_with("line 39 of the log"), "{lines:#?}");
    assert!(lines[1].contains("1 more below"), "{}", lines[1]);
}

#[test]
fn several_containers_are_named_in_front_of_their_lines() {
    let mut model = shop();
    model.log = Log::new(vec!["db".to_owned(), "cache".to_owned()]);
    model.log.push(LogLine { container: 1, is_error: false, text: "warm".to_owned() });
    model.log.push(LogLine { container: 0, is_error: false, text: "open".to_owned() });
    let shown = screen(&mut model, 80, 24);
    assert!(shown.contains("cache | warm\n") && shown.contains("db    | open"), "{shown}");
}
