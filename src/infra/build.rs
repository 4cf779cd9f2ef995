//! Builds the small programs that podspec carries inside itself, for the target that podspec is built for.
//! They have neither std nor libc, so the compiler at hand is all that this needs.
#![expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts by the environment")]

use std::path::PathBuf;
use std::process::Command;

/// Infra, and the first process of a container that asks for a reaper.
const PROGRAMS: [&str; 2] = ["infra", "init"];

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}

/// Takes the unwinder, which only the backtrace of a panic needs, into the program: to load it as a library
/// is an eighth of what an exec of podspec costs. Whole, for it stands before the objects that ask for it.
/// A compiler that has no such archive is let alone; the library is then loaded.
fn link_unwinder() {
    const ARCHIVE: &str = "libgcc_eh.a";
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let asked = Command::new(compiler).arg(format!("-print-file-name={ARCHIVE}")).output();
    let Ok(answer) = asked else { return };
    let path = PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim());
    // Without such a file it says the bare name again.
    let Some(directory) = path.parent().filter(|_| path.is_absolute()) else { return };
    println!("cargo::rustc-link-search=native={}", directory.display());
    println!("cargo::rustc-link-lib=static:+whole-archive,+verbatim={ARCHIVE}");
}

fn main() {
    println!("cargo::rerun-if-changed=src/infra");
    // Half of what the dynamic linker does at each start is to read relocations: packed, they are a
    // thirtieth. glibc knows them since 2.36, which every distribution with Linux 6.1 has.
    if variable("CARGO_CFG_TARGET_ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        link_unwinder();
    }
    PROGRAMS.into_iter().for_each(build);
}

fn build(program: &str) {
    let out = PathBuf::from(variable("OUT_DIR")).join(program);
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition=2024", "--crate-name", program, "--crate-type=bin"]);
    rustc.args(["--target", &variable("TARGET")]);
    for option in [
        "panic=abort",
        "opt-level=s",
        "strip=symbols",
        "relocation-model=static",
        "target-feature=+crt-static",
        "link-arg=-nostdlib",
        "link-arg=-nostartfiles",
        "link-arg=-static",
        "link-arg=-Wl,--build-id=none,-z,noseparate-code,-z,noexecstack",
    ] {
        rustc.args(["-C", option]);
    }
    // For musl rustc brings start files of its own, which would be linked all the same.
    if variable("CARGO_CFG_TARGET_ENV") == "musl" {
        rustc.args(["-C", "link-self-contained=no"]);
    }
    if let Ok(linker) = std::env::var("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    let status = rustc.arg("-o").arg(&out).arg(format!("src/infra/{program}.rs")).status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "cannot build {program}: {status:?} from {rustc:?}"
    );
}
