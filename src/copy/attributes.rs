//! Extended attributes that travel with a file: what users noted (`user.*`), and the capabilities that a program gives
//! (`security.capability`), which are rights as a setuid bit is. Others are of the machine and its policies.

use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

const CAPABILITY: &CStr = c"security.capability";
/// How tar has them, in records of PAX.
const RECORD: &str = "SCHILY.xattr.";
/// As much as the kernel takes for all names, and for a value (xattr(7)).
const MOST: usize = 64 << 10;
/// And as much as is taken of all values of one file.
const ALL_MOST: usize = 1 << 20;

/// Names and values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Attributes(Vec<(CString, Vec<u8>)>);

fn travels(name: &CStr) -> bool {
    let bytes = name.to_bytes();
    // overlayfs takes those for its own.
    name == CAPABILITY || (bytes.starts_with(b"user.") && !bytes.starts_with(b"user.overlay."))
}

impl Attributes {
    /// Those of an opened file or directory; none where its file system has none.
    pub(super) fn of(fd: BorrowedFd<'_>) -> Result<Self, Errno> {
        let mut names = [0; MOST];
        let length = match rustix::fs::flistxattr(fd, &mut names[..]) {
            Err(Errno::OPNOTSUPP) => return Ok(Self::default()),
            listed => listed?,
        };
        let names = names[..length].split_inclusive(|byte| *byte == 0);
        let names = names.filter_map(|name| CStr::from_bytes_with_nul(name).ok());
        let (mut found, mut bytes) = (Vec::new(), 0);
        for name in names.filter(|name| travels(name)) {
            let mut value = vec![0; MOST];
            match rustix::fs::fgetxattr(fd, name, &mut value[..]) {
                Ok(length) => value.truncate(length),
                // Gone since it was listed.
                Err(Errno::NODATA) => continue,
                Err(errno) => return Err(errno),
            }
            bytes += value.len();
            if bytes > ALL_MOST {
                return Err(Errno::TOOBIG);
            }
            found.push((name.to_owned(), value));
        }
        Ok(Self(found))
    }

    /// Gives them to a file; rights only where they are to be kept. A file system that has none does without.
    pub(super) fn give(&self, fd: BorrowedFd<'_>, rights: bool) -> Result<(), Errno> {
        let wanted = self.0.iter().filter(|(name, _)| rights || name.as_c_str() != CAPABILITY);
        for (name, value) in wanted {
            match rustix::fs::fsetxattr(fd, name.as_c_str(), value, XattrFlags::empty()) {
                Err(Errno::OPNOTSUPP) => {}
                set => set?,
            }
        }
        Ok(())
    }

    /// As records of an archive.
    pub(super) fn records(&self) -> Vec<(String, &[u8])> {
        let named = self.0.iter().filter_map(|(name, value)| {
            Some((format!("{RECORD}{}", name.to_str().ok()?), value.as_slice()))
        });
        named.collect()
    }

    /// From a record of an archive; others are passed over.
    pub(super) fn take_record(&mut self, key: &str, value: &[u8]) {
        let name = key.strip_prefix(RECORD).and_then(|name| CString::new(name).ok());
        if let Some(name) = name.filter(|name| travels(name)) {
            self.0.push((name, value.to_vec()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_machines_does_not_travel() {
        let mut taken = Attributes::default();
        for name in ["user.note", "security.capability"] {
            taken.take_record(&format!("SCHILY.xattr.{name}"), b"x");
        }
        for name in
            ["security.selinux", "trusted.overlay.opaque", "user.overlay.opaque", "system.x"]
        {
            taken.take_record(&format!("SCHILY.xattr.{name}"), b"x");
        }
        taken.take_record("path", b"x");
        let names: Vec<String> = taken.records().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["SCHILY.xattr.user.note", "SCHILY.xattr.security.capability"]);
    }
}
