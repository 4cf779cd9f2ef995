//! What a key means, by what is shown. Pure. Nothing that ends a container is done by one key: it is asked,
//! and only `y` says yes.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What is shown, as far as keys mean something else in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    List,
    Log,
    Question,
    Filter,
    Help,
}

/// How far to go, in the list or in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    PreviousPod,
    NextPod,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Move(Move),
    Log,
    Restart,
    Stop,
    Shell,
    Tree,
    Filter,
    Type(char),
    Erase,
    Accept,
    /// One step back: out of the log, the question, the help, the filter.
    Back,
    Yes,
    Help,
    Quit,
    Suspend,
    Redraw,
}

/// The command of a key; pasted text is none, whatever is in it.
pub(super) fn command(event: &Event, place: Where) -> Option<Command> {
    let Event::Key(key) = event else { return None };
    if key.kind == KeyEventKind::Release {
        return None;
    }
    everywhere(key).or_else(|| match place {
        Where::List => movement(key).map(Command::Move).or_else(|| in_list(key)),
        Where::Log => movement(key).map(Command::Move).or_else(|| in_log(key)),
        Where::Question => in_question(key),
        Where::Filter => in_filter(key),
        Where::Help => Some(Command::Back),
    })
}

/// What a terminal would do by itself, were it not for us.
fn everywhere(key: &KeyEvent) -> Option<Command> {
    if !key.modifiers.contains(KeyModifiers::CONTROL) {
        return None;
    }
    match key.code {
        KeyCode::Char('c') => Some(Command::Quit),
        KeyCode::Char('z') => Some(Command::Suspend),
        KeyCode::Char('l') => Some(Command::Redraw),
        _ => None,
    }
}

fn movement(key: &KeyEvent) -> Option<Move> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('b' | 'u') => Some(Move::PageUp),
            KeyCode::Char('f' | 'd') => Some(Move::PageDown),
            KeyCode::Char('p') => Some(Move::Up),
            KeyCode::Char('n') => Some(Move::Down),
            _ => None,
        };
    }
    match key.code {
        KeyCode::Up | KeyCode::Char('k') => Some(Move::Up),
        KeyCode::Down | KeyCode::Char('j') => Some(Move::Down),
        KeyCode::PageUp => Some(Move::PageUp),
        KeyCode::PageDown | KeyCode::Char(' ') => Some(Move::PageDown),
        KeyCode::Home | KeyCode::Char('g') => Some(Move::First),
        KeyCode::End | KeyCode::Char('G') => Some(Move::Last),
        KeyCode::Tab => Some(Move::NextPod),
        KeyCode::BackTab => Some(Move::PreviousPod),
        _ => None,
    }
}

/// A letter as it is, and none that is held with Ctrl or Alt.
fn letter(key: &KeyEvent) -> Option<char> {
    match key.code {
        KeyCode::Char(c) if (key.modifiers - KeyModifiers::SHIFT).is_empty() => Some(c),
        _ => None,
    }
}

fn in_list(key: &KeyEvent) -> Option<Command> {
    match (key.code, letter(key)) {
        (KeyCode::Enter | KeyCode::Right, _) | (_, Some('l')) => Some(Command::Log),
        (KeyCode::Esc, _) => Some(Command::Back),
        (_, Some('r')) => Some(Command::Restart),
        (_, Some('s')) => Some(Command::Stop),
        (_, Some('e' | 'x')) => Some(Command::Shell),
        (_, Some('t')) => Some(Command::Tree),
        (_, Some('/')) => Some(Command::Filter),
        (_, Some('?' | 'h')) | (KeyCode::F(1), _) => Some(Command::Help),
        (_, Some('q')) => Some(Command::Quit),
        _ => None,
    }
}

fn in_log(key: &KeyEvent) -> Option<Command> {
    match (key.code, letter(key)) {
        (KeyCode::Esc | KeyCode::Left | KeyCode::Backspace, _) | (_, Some('q')) => {
            Some(Command::Back)
        }
        (_, Some('f')) => Some(Command::Move(Move::Last)),
        (_, Some('r')) => Some(Command::Restart),
        (_, Some('s')) => Some(Command::Stop),
        (_, Some('e' | 'x')) => Some(Command::Shell),
        (_, Some('?' | 'h')) | (KeyCode::F(1), _) => Some(Command::Help),
        _ => None,
    }
}

/// Whatever is not yes is no, also what was meant for something else.
fn in_question(key: &KeyEvent) -> Option<Command> {
    Some(if letter(key) == Some('y') { Command::Yes } else { Command::Back })
}

fn in_filter(key: &KeyEvent) -> Option<Command> {
    match key.code {
        KeyCode::Esc => Some(Command::Back),
        KeyCode::Enter => Some(Command::Accept),
        KeyCode::Backspace => Some(Command::Erase),
        KeyCode::Up => Some(Command::Move(Move::Up)),
        KeyCode::Down => Some(Command::Move(Move::Down)),
        _ => letter(key).map(Command::Type),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: [Where; 5] =
        [Where::List, Where::Log, Where::Question, Where::Filter, Where::Help];

    fn key(code: KeyCode, modifiers: KeyModifiers) -> Event {
        Event::Key(KeyEvent::new(code, modifiers))
    }

    fn typed(c: char, place: Where) -> Option<Command> {
        command(&key(KeyCode::Char(c), KeyModifiers::NONE), place)
    }

    #[test]
    fn one_key_asks_and_only_y_says_yes() {
        assert_eq!(typed('s', Where::List), Some(Command::Stop));
        assert_eq!(typed('r', Where::List), Some(Command::Restart));
        for c in ' '..='~' {
            let answer = if c == 'y' { Command::Yes } else { Command::Back };
            assert_eq!(typed(c, Where::Question), Some(answer), "{c:?}");
            let others = PLACES.iter().filter(|place| **place != Where::Question);
            assert!(others.into_iter().all(|place| typed(c, *place) != Some(Command::Yes)));
        }
        for code in [KeyCode::Enter, KeyCode::Esc, KeyCode::Up] {
            let event = key(code, KeyModifiers::NONE);
            assert_eq!(command(&event, Where::Question), Some(Command::Back));
        }
        let with_alt = key(KeyCode::Char('y'), KeyModifiers::ALT);
        assert_eq!(command(&with_alt, Where::Question), Some(Command::Back));
    }

    #[test]
    fn pasted_text_is_no_command() {
        for place in PLACES {
            assert_eq!(command(&Event::Paste("sy".to_owned()), place), None);
        }
    }

    #[test]
    fn ctrl_c_leads_out_of_everything() {
        for place in PLACES {
            let ctrl_c = key(KeyCode::Char('c'), KeyModifiers::CONTROL);
            assert_eq!(command(&ctrl_c, place), Some(Command::Quit));
        }
        assert_eq!(typed('q', Where::List), Some(Command::Quit));
        assert_eq!(typed('q', Where::Log), Some(Command::Back));
        assert_eq!(typed('q', Where::Filter), Some(Command::Type('q')));
        assert_eq!(typed('q', Where::Help), Some(Command::Back));
    }

    #[test]
    fn arrows_and_letters_move() {
        for (code, to) in [
            (KeyCode::Up, Move::Up),
            (KeyCode::Char('k'), Move::Up),
            (KeyCode::Char('j'), Move::Down),
            (KeyCode::Char('G'), Move::Last),
            (KeyCode::Tab, Move::NextPod),
        ] {
            let event = key(code, KeyModifiers::NONE);
            assert_eq!(command(&event, Where::List), Some(Command::Move(to)));
            assert_eq!(command(&event, Where::Log), Some(Command::Move(to)));
        }
    }
}
