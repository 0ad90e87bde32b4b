//! Where and of what a figure was measured: the machine, its kernel, and the commits of the programs.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde::{Deserialize, Serialize};

/// The machine, as far as it makes figures differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The CPU's name, in its own words.
    pub cpu: String,
    /// CPUs that this process may run on.
    pub cpus: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// RLIMIT_NOFILE, as far as it may be raised: it bounds the sockets of a ring.
    pub descriptors_max: u64,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu: value(&text("/proc/cpuinfo"), "model name").unwrap_or("unknown").to_owned(),
            cpus: thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_bytes(&text("/proc/meminfo")),
            kernel: ring::probe::kernel_release(),
            descriptors_max: ring::limit::Limit::descriptors().hard,
        }
    }
}

/// A program that was measured or measures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// What it calls itself (`--version`).
    pub version: String,
    /// The commit of the work tree it lies in, with `+` when the tree has changes; `None` outside of one.
    pub commit: Option<String>,
}

impl Program {
    /// The program at `path`: asks it and, for the commit, git.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        let version = output(Command::new(path).arg("--version")).unwrap_or_else(|| "unknown".to_owned());
        Self { version, commit: path.parent().and_then(commit) }
    }

    /// The program of a running process.
    #[must_use]
    pub fn of_process(pid: u32) -> Option<Self> {
        fs::read_link(format!("/proc/{pid}/exe")).ok().map(|path| Self::at(&path))
    }

    /// This one.
    #[must_use]
    pub fn this() -> Self {
        let version = format!("murmuring-bench {}", env!("CARGO_PKG_VERSION"));
        let path = std::env::current_exe().ok();
        Self { version, commit: path.as_deref().and_then(Path::parent).and_then(commit) }
    }
}

/// The commit that is checked out around `directory`.
fn commit(directory: &Path) -> Option<String> {
    let git = |arguments: &[&str]| output(Command::new("git").arg("-C").arg(directory).args(arguments));
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let is_changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    Some(if is_changed { commit + "+" } else { commit })
}

/// What a command prints, when it succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn memory_bytes(text: &str) -> u64 {
    let kib = value(text, "MemTotal").and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_cpus_and_memory() {
        let machine = Machine::this();
        assert!(machine.cpus >= 1 && machine.memory_bytes > 1 << 20, "{machine:?}");
        assert!(machine.kernel.starts_with(|sign: char| sign.is_ascii_digit()), "{machine:?}");
    }

    #[test]
    fn a_program_outside_of_a_work_tree_has_no_commit() {
        let program = Program::at(Path::new("/bin/true"));
        assert_eq!(program.commit, None);
        assert_eq!(Program::at(Path::new("/no/such/program")).version, "unknown");
    }
}
