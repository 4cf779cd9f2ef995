//! Ids of a user namespace: what they are outside, and the two files of /proc that say so (user_namespaces(7)).

use std::fmt::{self, Write};
use std::io;

/// (inside, outside, how many).
type Ranges = Vec<(u32, u32, u32)>;

/// What users and groups inside are outside. Empty: themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maps {
    pub uids: Ranges,
    pub gids: Ranges,
}

/// What the kernel shows in place of an id that is not mapped.
const NOBODY: u32 = 65534;

impl Maps {
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty() && self.gids.is_empty()
    }

    /// What user and group inside are outside; who is nobody there is root of the namespace.
    pub fn owner(&self, uid: u32, gid: u32) -> (u32, u32) {
        let of =
            |ranges: &Ranges, id| outside(ranges, id).or_else(|| outside(ranges, 0)).unwrap_or(id);
        (of(&self.uids, uid), of(&self.gids, gid))
    }

    /// What user and group outside are inside.
    pub fn inside(&self, uid: u32, gid: u32) -> (u32, u32) {
        let of = |ranges: &Ranges, id: u32| {
            let known = ranges.iter().find_map(|(inside, outside, count)| {
                let offset = id.checked_sub(*outside).filter(|offset| offset < count)?;
                inside.checked_add(offset)
            });
            known.unwrap_or(if ranges.is_empty() { id } else { NOBODY })
        };
        (of(&self.uids, uid), of(&self.gids, gid))
    }

    /// Of this process.
    pub fn read(pid: i32) -> io::Result<Self> {
        let read = |file: &str| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/{file}"))?;
            let line = |line: &str| {
                let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
                let mut next = || numbers.next()?.ok();
                Some((next()?, next()?, next()?))
            };
            Ok::<Ranges, io::Error>(text.lines().filter_map(line).collect())
        };
        Ok(Self { uids: read("uid_map")?, gids: read("gid_map")? })
    }

    /// Into a user namespace that has none yet, which this process is in. Not through a descriptor of that process:
    /// the kernel asks who has opened the file.
    pub fn write(&self, pid: i32) -> io::Result<()> {
        for (file, ranges) in [("gid_map", &self.gids), ("uid_map", &self.uids)] {
            let mut text = String::new();
            for (inside, outside, count) in ranges {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{inside} {outside} {count}");
            }
            std::fs::write(format!("/proc/{pid}/{file}"), &text)?;
        }
        Ok(())
    }
}

fn outside(ranges: &Ranges, id: u32) -> Option<u32> {
    ranges.iter().find_map(|(inside, outside, count)| {
        let offset = id.checked_sub(*inside).filter(|offset| offset < count)?;
        outside.checked_add(offset)
    })
}

/// As a file has them: `uids 0:100000:65536`.
impl fmt::Display for Maps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |ranges: &Ranges| {
            let word =
                |(inside, outside, count): &(u32, u32, u32)| format!("{inside}:{outside}:{count}");
            ranges.iter().map(word).collect::<Vec<_>>().join(",")
        };
        write!(f, "uids {}, gids {}", words(&self.uids), words(&self.gids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_out_and_come_back() {
        let maps = Maps { uids: vec![(0, 1000, 10), (33, 5, 1)], gids: vec![(0, 2000, 10)] };
        assert_eq!(maps.owner(0, 9), (1000, 2009));
        assert_eq!(maps.owner(33, 10), (5, 2000), "nobody inside is root of the namespace");
        assert_eq!(maps.inside(5, 2009), (33, 9));
        assert_eq!(maps.inside(999, 0), (NOBODY, NOBODY));
        assert_eq!((Maps::default().owner(7, 8), Maps::default().inside(7, 8)), ((7, 8), (7, 8)));
    }
}
