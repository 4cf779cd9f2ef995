//! Giving memory back to the kernel: that of a start which is over.
#![allow(unsafe_code)]

use std::ffi::c_void;

use rustix::param::page_size;

/// Lets go of free heap, and of the pages of the program and its libraries, which come back from the page
/// cache when they are needed. What a process has for itself is then what it has written.
pub fn let_go() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes and returns a number; nobody else allocates, for no process here has a second thread.
    unsafe {
        libc::malloc_trim(0);
    }
    // SAFETY: the callback has the right signature and does not use its third argument.
    unsafe { libc::dl_iterate_phdr(Some(forget_pages), std::ptr::null_mut()) };
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
