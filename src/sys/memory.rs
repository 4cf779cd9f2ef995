//! Giving memory back to the kernel: that of a start which is over.
#![allow(unsafe_code)]

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::param::page_size;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The system's allocator, but for what is allocated in [`gather`]. A start allocates what stays in between what
/// does not, and each page of the heap with a little of it would stay, too; of a pod of 200 containers that is
/// most of the heap.
struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// The addresses that [`gather`] fills, from the first on. Never given back: what lives there lives long.
static SHELF: OnceLock<Range<usize>> = OnceLock::new();
static NEXT: AtomicUsize = AtomicUsize::new(0);
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// Address space, of which only what is written to costs memory: far more than 10,000 containers need.
const ROOM: usize = 64 << 20;

/// Whatever `make` allocates lies side by side, and is not used again when it is freed: for what stays, and no
/// more than once of a kind.
pub fn gather<T>(make: impl FnOnce() -> T) -> T {
    SHELF.get_or_init(|| {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: new pages, at an address of the kernel's choice.
        let begin = unsafe { mmap_anonymous(std::ptr::null_mut(), ROOM, access, flags) };
        // Without room all is allocated as ever.
        let begin = begin.map_or(0, |begin| begin as usize);
        NEXT.store(begin, Ordering::Relaxed);
        begin..if begin == 0 { 0 } else { begin + ROOM }
    });
    IS_OPEN.store(true, Ordering::Relaxed);
    let made = make();
    IS_OPEN.store(false, Ordering::Relaxed);
    made
}

/// A place on the shelf, or none.
fn place(layout: Layout) -> Option<*mut u8> {
    if !IS_OPEN.load(Ordering::Relaxed) {
        return None;
    }
    let shelf = SHELF.get()?;
    let mut taken = 0;
    let take = |next: usize| {
        taken = next.checked_next_multiple_of(layout.align())?;
        taken.checked_add(layout.size()).filter(|end| *end <= shelf.end)
    };
    NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
    Some(taken as *mut u8)
}

fn is_on_shelf(at: *mut u8) -> bool {
    SHELF.get().is_some_and(|shelf| shelf.contains(&(at as usize)))
}

// SAFETY: every place on the shelf is handed out once, as large and as aligned as was asked for; all else is the
// system's, and goes back to it.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's word on the layout.
        place(layout).unwrap_or_else(|| unsafe { System.alloc(layout) })
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if !is_on_shelf(at) {
            // SAFETY: the caller's word on both, and it is the system's.
            unsafe { System.dealloc(at, layout) }
        }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !is_on_shelf(at) {
            // SAFETY: the caller's word on all, and it is the system's.
            return unsafe { System.realloc(at, layout, size) };
        }
        // SAFETY: the caller has it that `size` is a right one for this alignment (GlobalAlloc::realloc).
        let layout_after = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: as for `alloc`; and both are valid for the smaller of their sizes, and apart.
        unsafe {
            let new = self.alloc(layout_after);
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(at, new, layout.size().min(size));
            }
            new
        }
    }
}

/// Lets go of free heap, of stack that is not in use, and of the pages of the program and its libraries, which
/// come back from the page cache when they are needed. What a process has for itself is then what it has written.
pub fn let_go() {
    forget_stack();
    #[cfg(target_env = "gnu")]
    // SAFETY: takes and returns a number; nobody else allocates, for no process here has a second thread.
    unsafe {
        libc::malloc_trim(0);
    }
    // SAFETY: the callback has the right signature and does not use its third argument.
    unsafe { libc::dl_iterate_phdr(Some(forget_pages), std::ptr::null_mut()) };
}

/// The stack below us: it was deep once.
fn forget_stack() {
    const DEEPEST: usize = 1 << 20;
    // That of another thread lies next to somebody else's.
    if rustix::thread::gettid() != rustix::process::getpid() {
        return;
    }
    let page = page_size();
    let here = &page as *const usize as usize;
    // Below the address there are frames of ours and what signals and the ABI may use.
    let end = (here & !(page - 1)).saturating_sub(4 * page);
    // SAFETY: nothing is below the first thread's stack for as far as its limit allows (mmap_base in the kernel, at
    // least 128 MiB), and nobody reads what lies below the frames in use.
    unsafe { libc::madvise((end - DEEPEST) as *mut c_void, DEEPEST, libc::MADV_DONTNEED) };
}

/// Of one loaded object (dl_iterate_phdr(3)): the segments that are never written.
unsafe extern "C" fn forget_pages(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> libc::c_int {
    // SAFETY: the dynamic linker hands out a valid object, whose headers are as many as it says.
    let (base, headers) = unsafe {
        let object = &*object;
        let headers = std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into());
        (object.dlpi_addr as usize, headers)
    };
    let page = page_size();
    let segments = headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    for header in segments.filter(|header| header.p_flags & libc::PF_W == 0) {
        let begin = (base + header.p_vaddr as usize) & !(page - 1);
        let end = base + (header.p_vaddr + header.p_memsz) as usize;
        // SAFETY: a private mapping of a file that was never written reads the same after it was dropped
        // (madvise(2)); what is no such mapping, as the vdso, is refused.
        unsafe { libc::madvise(begin as *mut c_void, end - begin, libc::MADV_DONTNEED) };
    }
    0
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_gathered_lies_side_by_side_and_can_be_used_like_anything_else() {
        let (mut words, fresh) = super::gather(|| {
            let words: Vec<String> = (0..100).map(|n| format!("word {n}")).collect();
            (words, vec![0_u64; 10])
        });
        let places: Vec<usize> = words.iter().map(|word| word.as_ptr() as usize).collect();
        let spread = places.iter().max().unwrap() - places.iter().min().unwrap();
        // Other tests may run beside this one.
        assert!(spread < 1 << 20, "{spread}");
        assert!(places.iter().all(|at| super::is_on_shelf(*at as *mut u8)));
        assert!(fresh.as_ptr().is_aligned() && fresh.iter().all(|n| *n == 0));
        words[7].push_str(" and more than there was room for");
        assert!(!super::is_on_shelf(words[7].as_mut_ptr()));
        words.swap_remove(3);
        assert_eq!(words[7], "word 7 and more than there was room for");
        assert_eq!(words[8], "word 8");
    }

    #[test]
    fn what_is_let_go_comes_back() {
        let resident = || {
            let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
            let line = rollup.lines().find(|line| line.starts_with("Rss:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        let before = resident();
        super::let_go();
        let after = resident();
        assert!(after < before, "{before} KiB, then {after} KiB");
    }
}
