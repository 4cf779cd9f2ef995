//! Users and groups of a container's root, from the text of its /etc/passwd and /etc/group. Both texts
//! are the root's and so hostile: no name service, no ids that the kernel reads as "no change", no
//! control characters in what becomes an environment.

/// Ids from here on are never taken from a file: -1 means "leave as it is" to setresuid(2).
const ID_END: u32 = 1 << 31;
/// More of a file than this is not read.
const TEXT_MAX: usize = 1 << 20;

/// An entry of /etc/passwd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account<'a> {
    /// Empty for an id without an entry.
    pub(super) name: &'a str,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Absolute, or none.
    pub(super) home: Option<&'a str>,
}

/// The first entry with this name, as glibc's `files` has it.
pub(super) fn user_by_name<'a>(passwd: &'a str, name: &str) -> Option<Account<'a>> {
    entries(passwd).filter(|fields| fields[0] == name).find_map(account)
}

/// Where that user is at home by such a text, or none.
pub fn home(passwd: &str, uid: u32) -> Option<&str> {
    user_by_id(passwd, uid)?.home
}

pub(super) fn user_by_id(passwd: &str, uid: u32) -> Option<Account<'_>> {
    entries(passwd).filter_map(account).find(|account| account.uid == uid)
}

pub(super) fn group_by_name(group: &str, name: &str) -> Option<u32> {
    entries(group).filter(|fields| fields[0] == name).find_map(|fields| id(fields[2]))
}

/// The groups that have this user as a member.
pub(super) fn groups_of<'a>(group: &'a str, user: &'a str) -> impl Iterator<Item = u32> + 'a {
    let is_member = move |fields: &Vec<&str>| {
        let members = fields.get(3).into_iter().flat_map(|members| members.split(','));
        !user.is_empty() && members.into_iter().any(|member| member == user)
    };
    entries(group).filter(is_member).filter_map(|fields| id(fields[2]))
}

/// The lines of such a file, split; `+` and `-` lines are NIS's.
fn entries(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let end = (0..=text.len().min(TEXT_MAX)).rev().find(|&end| text.is_char_boundary(end));
    text[..end.unwrap_or(0)]
        .lines()
        .filter(|line| !line.starts_with(['+', '-', '#']))
        .map(|line| line.split(':').collect::<Vec<_>>())
        .filter(|fields| fields.len() >= 3 && !fields[0].is_empty())
}

fn account(fields: Vec<&str>) -> Option<Account<'_>> {
    let home = fields.get(5).copied();
    Some(Account {
        name: fields[0],
        uid: id(fields[2])?,
        gid: id(fields.get(3)?)?,
        home: home.filter(|home| home.starts_with('/') && !home.contains(char::is_control)),
    })
}

fn id(word: &str) -> Option<u32> {
    if !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    word.parse().ok().filter(|&id| id < ID_END)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        +nis:x:1:1::/:\n\
        web:x:33:34:a:/srv/web:/bin/sh\n\
        web:x:99:99:second:/other:/bin/sh\n\
        all:x:4294967295:0::/:\n\
        neg:x:-1:0::/:\n\
        plus:x:+5:0::/:\n\
        short:x\n\
        esc:x:50:50::/a\u{1b}[2J:/bin/sh\n\
        1000:x:7:7::/seven:\n";

    #[test]
    fn the_first_entry_of_a_name_counts() {
        let web = user_by_name(PASSWD, "web").unwrap();
        assert_eq!(web, Account { name: "web", uid: 33, gid: 34, home: Some("/srv/web") });
        assert_eq!(user_by_id(PASSWD, 99).unwrap().home, Some("/other"));
    }

    #[test]
    fn what_is_malformed_is_not_there() {
        for name in ["all", "neg", "plus", "short", "nis", "+nis", "", "missing"] {
            assert_eq!(user_by_name(PASSWD, name), None, "{name:?}");
        }
        assert_eq!(user_by_name(PASSWD, "esc").unwrap().home, None);
        assert_eq!(user_by_id(PASSWD, 1000), None, "an id is never a name");
    }

    #[test]
    fn groups_are_read_the_same_way() {
        let text = "root:x:0:\nstaff:x:50:a,b\nstaff:x:51:\nbad:x:4294967295:\n";
        assert_eq!(group_by_name(text, "staff"), Some(50));
        assert_eq!(group_by_name(text, "bad"), None);
        let members =
            "one:x:1:web,b\ntwo:x:2:webb\n+three:x:3:web\nfour:x:-1:web\nfive:x:5:b,web\nsix:x:6\n";
        assert_eq!(groups_of(members, "web").collect::<Vec<_>>(), [1, 5]);
        assert_eq!(groups_of("none:x:1:\n", "").count(), 0);
    }

    #[test]
    fn a_huge_file_is_cut_and_not_in_the_middle_of_a_character() {
        let text = "ä".repeat(TEXT_MAX) + "\nlate:x:1:1::/:\n";
        assert_eq!(user_by_name(&text, "late"), None);
    }
}
