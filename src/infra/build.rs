//! Builds the infra program, which podspec carries inside itself, for the target that podspec is built for.
//! The program has neither std nor libc, so the compiler at hand is all that this needs.
#![expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts by the environment")]

use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "src/infra/infra.rs";

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=src/infra/build.rs");
    // Half of what the dynamic linker does at each start is to read relocations: packed, they are a
    // thirtieth. glibc knows them since 2.36, which every distribution with Linux 6.1 has.
    if variable("CARGO_CFG_TARGET_ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    let out = PathBuf::from(variable("OUT_DIR")).join("infra");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition=2024", "--crate-name=infra", "--crate-type=bin"]);
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
    if let Ok(linker) = std::env::var("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    let status = rustc.arg("-o").arg(&out).arg(SOURCE).status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "cannot build the infra program: {status:?} from {rustc:?}"
    );
}
