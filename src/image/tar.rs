//! Tar, as a reader of headers: what each entry is, and its content as a stream. ustar, GNU's long names and
//! sparse files, PAX with extended attributes. Nothing is unpacked here; every length is bounded before
//! memory is given for it, and a header that can be read in two ways is refused.

use rustix::fs::Timespec;
use std::io::{self, Read};
use tar::{EntryType, GnuExtSparseHeader, Header};

const BLOCK: usize = 512;
/// Names, attributes and maps that come before an entry: PATH_MAX and XATTR_SIZE_MAX fit many times.
const EXTENSION_MAX: u64 = 1 << 20;
/// Pieces of a sparse file.
const SEGMENTS_MAX: usize = 65_536;

/// Why an archive cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    #[error("the archive ends in the middle of an entry")]
    Cut,
    #[error("what should be the header of an entry is none: {0}")]
    Header(&'static str),
    #[error("the name or the attributes of an entry are longer than {} KiB", EXTENSION_MAX >> 10)]
    Extension,
}

/// One entry; its content is read from the archive next.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub kind: EntryType,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub modified: Timespec,
    pub device: (u32, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes in the archive.
    pub size: u64,
    pub sparse: Option<Sparse>,
}

/// A file with holes.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    pub real: u64,
    /// (offset, length), rising; together as long as what is in the archive.
    pub segments: Vec<(u64, u64)>,
}

/// What stands before an entry and is about it.
#[derive(Debug, Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified: Option<Timespec>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse_name: Option<Vec<u8>>,
    sparse_version: (u64, u64),
    sparse_real: Option<u64>,
    sparse_map: Option<Vec<u64>>,
}

/// An archive that is read from its beginning to its end.
pub(super) struct Reader<R> {
    from: R,
    /// Of the entry that was given out last: content that nobody has read, and the rest of its last block.
    left: u64,
    padding: u64,
    /// Where in the archive the reader is.
    at: u64,
}

/// Passes over bytes that nobody wants.
pub(super) trait Skip: Read {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let passed = io::copy(&mut Read::take(&mut *self, bytes), &mut io::sink())?;
        if passed < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

impl<R: Skip + ?Sized> Skip for &mut R {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        (**self).skip(bytes)
    }
}

impl<R: Read> Read for Reader<R> {
    /// The content of the entry.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.from.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        self.at += read as u64;
        Ok(read)
    }
}

impl<R: Skip> Reader<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, left: 0, padding: 0, at: 0 }
    }

    /// Where the content of the last entry begins.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// The next entry, or None at the end of the archive.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extended = Extended::default();
        loop {
            self.skip_rest()?;
            let Some(block) = self.header_block()? else { return Ok(None) };
            let header = Header::from_byte_slice(&block);
            let size =
                header.entry_size().map_err(|_| TarError::Header("its size is no number"))?;
            match header.entry_type() {
                EntryType::GNULongName => {
                    self.begin(size);
                    extended.name = Some(until_nul(self.extension(size)?));
                }
                EntryType::GNULongLink => {
                    self.begin(size);
                    extended.link = Some(until_nul(self.extension(size)?));
                }
                EntryType::XHeader => {
                    self.begin(size);
                    let records = self.extension(size)?;
                    pax(&records, &mut extended)?;
                }
                // As docker and podman have it: a comment of who wrote the archive.
                EntryType::XGlobalHeader => self.begin(size),
                _ => return self.entry(header, size, extended).map(Some),
            }
        }
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn skip_rest(&mut self) -> Result<(), TarError> {
        let (content, padding) = (self.left, self.padding);
        (self.left, self.padding) = (0, 0);
        let rest = content.checked_add(padding).ok_or(TarError::Header("its size"))?;
        if content > 0 {
            self.from.skip(content).map_err(read_error)?;
        }
        // The last entry of an archive may lack it: so `umoci insert` writes them, and docker and podman read them.
        match self.from.skip(padding).map_err(read_error) {
            Ok(()) | Err(TarError::Cut) => {}
            Err(error) => return Err(error),
        }
        self.at += rest;
        Ok(())
    }

    /// None: the end, which is a block of zeros or the end of the stream.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.from.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(TarError::Cut),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read_error(error)),
            }
        }
        self.at += BLOCK as u64;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum = |byte: fn(u8) -> i64| -> i64 {
            let outside = block[..148].iter().chain(&block[156..]).map(|b| byte(*b)).sum::<i64>();
            outside + 8 * i64::from(b' ')
        };
        let header = Header::from_byte_slice(&block);
        let stored = header.cksum().map_err(|_| TarError::Header("its checksum is no number"))?;
        let stored = i64::from(stored);
        // Old tars added the bytes as signed numbers.
        let (unsigned, signed) = (sum(i64::from), sum(|b| i64::from(b.cast_signed())));
        if stored != unsigned && stored != signed {
            return Err(TarError::Header("its checksum is wrong"));
        }
        Ok(Some(block))
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > EXTENSION_MAX {
            return Err(TarError::Extension);
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(read_error)?;
        Ok(bytes)
    }

    fn entry(
        &mut self,
        header: &Header,
        size: u64,
        mut extended: Extended,
    ) -> Result<Entry, TarError> {
        let number = |value: io::Result<u64>, why| value.map_err(|_| TarError::Header(why));
        let id = |pax: Option<u64>, own: io::Result<u64>| {
            let id = pax.map_or_else(|| number(own, "an owner is no number"), Ok)?;
            // -1 means "leave as it is" to chown(2).
            u32::try_from(id)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or(TarError::Header("an owner is no number of 32 bits"))
        };
        let mut kind = header.entry_type();
        let size = extended.size.unwrap_or(size);
        self.begin(size);
        // What has no content has none, whatever its size says (POSIX: a hard link's is its target's).
        if !matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse) {
            let has_content = !matches!(
                kind,
                EntryType::Link
                    | EntryType::Symlink
                    | EntryType::Directory
                    | EntryType::Char
                    | EntryType::Block
                    | EntryType::Fifo
            );
            if !has_content && size > 0 {
                return Err(TarError::Header("a thing without content has a size"));
            }
        }
        let sparse = self.sparse(header, &mut extended)?;
        let name = extended.sparse_name.or(extended.name);
        let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
        // A directory of tars that are older than the type for it.
        if kind == EntryType::Regular && name.ends_with(b"/") {
            kind = EntryType::Directory;
        }
        let link = match extended.link {
            Some(link) => link,
            None => header.link_name_bytes().unwrap_or_default().into_owned(),
        };
        let seconds = header.mtime().ok().and_then(|time| i64::try_from(time).ok()).unwrap_or(0);
        let is_device = matches!(kind, EntryType::Char | EntryType::Block);
        let device = |part: io::Result<Option<u32>>| match part {
            Ok(number) if is_device => Ok(number.unwrap_or(0)),
            Err(_) if is_device => Err(TarError::Header("the number of a device is none")),
            _ => Ok(0),
        };
        let mode = header.mode().map_err(|_| TarError::Header("its mode is no number"))?;
        Ok(Entry {
            name,
            link,
            kind,
            mode: mode & 0o7777,
            uid: id(extended.uid, header.uid())?,
            gid: id(extended.gid, header.gid())?,
            modified: extended.modified.unwrap_or(Timespec { tv_sec: seconds, tv_nsec: 0 }),
            device: (device(header.device_major())?, device(header.device_minor())?),
            xattrs: extended.xattrs,
            size: self.left,
            sparse,
        })
    }

    /// The map of a sparse file: in the header (GNU), before it or before its content (PAX).
    fn sparse(
        &mut self,
        header: &Header,
        extended: &mut Extended,
    ) -> Result<Option<Sparse>, TarError> {
        let wrong = || TarError::Header("the map of a sparse file makes no sense");
        let mut numbers = Vec::new();
        let real = if header.entry_type() == EntryType::GNUSparse {
            let gnu = header.as_gnu().ok_or_else(wrong)?;
            let content = (self.left, self.padding);
            let pair = |one: &tar::GnuSparseHeader| -> Result<Option<[u64; 2]>, TarError> {
                if one.is_empty() {
                    return Ok(None);
                }
                let both = one.offset().and_then(|at| one.length().map(|length| [at, length]));
                both.map(Some).map_err(|_| wrong())
            };
            for one in &gnu.sparse {
                numbers.extend(pair(one)?.into_iter().flatten());
            }
            let mut more = gnu.is_extended();
            while more {
                let mut block = GnuExtSparseHeader::new();
                self.from.read_exact(block.as_mut_bytes()).map_err(read_error)?;
                self.at += BLOCK as u64;
                for one in block.sparse() {
                    numbers.extend(pair(one)?.into_iter().flatten());
                }
                if numbers.len() > 2 * SEGMENTS_MAX {
                    return Err(wrong());
                }
                more = block.is_extended();
            }
            (self.left, self.padding) = content;
            gnu.real_size().map_err(|_| wrong())?
        } else if let Some(real) = extended.sparse_real {
            numbers = match extended.sparse_map.take() {
                Some(map) => map,
                None if extended.sparse_version == (1, 0) => self.map_before_content()?,
                None => return Err(wrong()),
            };
            real
        } else {
            return Ok(None);
        };
        let segments: Vec<(u64, u64)> =
            numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let mut end = 0;
        let mut total = 0_u64;
        for (at, length) in &segments {
            let reaches = at.checked_add(*length).ok_or_else(wrong)?;
            if *at < end || reaches > real {
                return Err(wrong());
            }
            (end, total) = (reaches, total + length);
        }
        if numbers.len() % 2 != 0 || segments.len() > SEGMENTS_MAX || total != self.left {
            return Err(wrong());
        }
        Ok(Some(Sparse { real, segments }))
    }

    /// PAX 1.0: decimal numbers, one a line, in whole blocks: how many pieces, then each one's place and length.
    fn map_before_content(&mut self) -> Result<Vec<u64>, TarError> {
        let wrong = || TarError::Header("the map of a sparse file makes no sense");
        let mut numbers: Vec<u64> = Vec::new();
        let mut line = Vec::new();
        loop {
            let mut block = [0; BLOCK];
            self.read_exact(&mut block).map_err(read_error)?;
            for byte in block {
                if byte != b'\n' {
                    line.push(byte);
                    if line.len() > 20 {
                        return Err(wrong());
                    }
                    continue;
                }
                numbers.push(decimal(&std::mem::take(&mut line)).ok_or_else(wrong)?);
                let pieces = numbers[0];
                if pieces > SEGMENTS_MAX as u64 {
                    return Err(wrong());
                }
                if numbers.len() as u64 == 1 + 2 * pieces {
                    numbers.remove(0);
                    return Ok(numbers);
                }
            }
        }
    }
}

pub(super) fn read_error(error: io::Error) -> TarError {
    if error.kind() == io::ErrorKind::UnexpectedEof { TarError::Cut } else { TarError::Read(error) }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn decimal(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// `LENGTH KEY=VALUE\n`, the length counting the whole record.
fn pax(mut bytes: &[u8], extended: &mut Extended) -> Result<(), TarError> {
    let wrong = || TarError::Header("its PAX records make no sense");
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
        let length = decimal(&bytes[..space]).ok_or_else(wrong)?;
        let length = usize::try_from(length).map_err(|_| wrong())?;
        if length > bytes.len() || length <= space + 1 || bytes[length - 1] != b'\n' {
            return Err(wrong());
        }
        let record = &bytes[space + 1..length - 1];
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
        extended.take(&record[..equals], &record[equals + 1..]).ok_or_else(wrong)?;
        bytes = &bytes[length..];
    }
    Ok(())
}

impl Extended {
    /// None: the value is not what the key asks for.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"path" => self.name = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(decimal(value)?),
            b"gid" => self.gid = Some(decimal(value)?),
            b"mtime" => self.modified = Some(time(value)?),
            b"GNU.sparse.name" => self.sparse_name = Some(value.to_vec()),
            b"GNU.sparse.major" => self.sparse_version.0 = decimal(value)?,
            b"GNU.sparse.minor" => self.sparse_version.1 = decimal(value)?,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse_real = Some(decimal(value)?),
            b"GNU.sparse.map" => {
                let numbers = value.split(|byte| *byte == b',').map(decimal);
                self.sparse_map = Some(numbers.collect::<Option<_>>()?);
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.sparse_map.get_or_insert_default().push(decimal(value)?);
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.retain(|(known, _)| known != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Some(())
    }
}

/// Seconds with decimals, before 1970 too.
fn time(value: &[u8]) -> Option<Timespec> {
    let text = std::str::from_utf8(value).ok()?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let seconds = i64::try_from(decimal(whole.as_bytes())?).ok()?;
    let mut nanos = 0;
    for place in 0..9 {
        let digit = part.as_bytes().get(place).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        nanos = nanos * 10 + i64::from(digit - b'0');
    }
    let (tv_sec, tv_nsec) = match (negative, nanos) {
        (false, _) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanos),
    };
    Some(Timespec { tv_sec, tv_nsec })
}
