//! What this host has, read from /proc. What can't be read is `None`, never an error: hosts and containers differ.

use std::fs;
use std::path::{Path, PathBuf};

use super::setting::Setting;

/// CAP_IPC_LOCK (linux/capability.h): whoever has it locks memory without a limit.
const CAP_IPC_LOCK: u32 = 14;

/// Where to read; another root than `/` is for tests.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// The host whose /proc lies under `root`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The numbers of a setting of sysctl(8).
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<Vec<u64>> {
        let text = self.text(&format!("proc/sys/{}", key.replace('.', "/")))?;
        let numbers: Option<Vec<u64>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
        numbers.filter(|numbers| !numbers.is_empty())
    }

    /// All memory, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> Option<u64> {
        let text = self.text("proc/meminfo")?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1_024)
    }

    /// Whether this process may lock any amount of memory.
    #[must_use]
    pub fn locks_freely(&self) -> Option<bool> {
        let text = self.text("proc/self/status")?;
        let line = text.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        let capabilities = u64::from_str_radix(line.trim(), 16).ok()?;
        Some(capabilities >> CAP_IPC_LOCK & 1 == 1)
    }

    /// Places in the kernel's table of connections: it is made at boot.
    #[must_use]
    pub fn connection_table(&self) -> Option<u64> {
        self.setting("net.ipv4.tcp_ehash_entries")?.first().copied()
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }
}

/// What a setting should be on a host that has `now`: each number raised where it is too low. `None` when it is enough.
#[must_use]
pub fn raised(now: &[u64], wanted: &[u64]) -> Option<Vec<u64>> {
    let of = |place: usize, wanted: u64| now.get(place).map_or(wanted, |now| wanted.max(*now));
    let raised: Vec<u64> = wanted.iter().enumerate().map(|(place, wanted)| of(place, *wanted)).collect();
    (now.get(..wanted.len()) != Some(&raised)).then_some(raised)
}

/// The command that sets a setting.
#[must_use]
pub fn command(setting: &Setting, value: &[u64]) -> String {
    let words = words(value);
    let quote = if value.len() > 1 { "'" } else { "" };
    format!("sysctl -w {quote}{}={words}{quote}", setting.key)
}

/// Numbers as sysctl(8) writes them.
#[must_use]
pub fn words(value: &[u64]) -> String {
    value.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_raised_and_never_lowered() {
        assert_eq!(raised(&[5], &[4]), None);
        assert_eq!(raised(&[3], &[4]), Some(vec![4]));
        assert_eq!(raised(&[1, 9, 3], &[2, 2, 4]), Some(vec![2, 9, 4]));
        assert_eq!(raised(&[2, 9, 4], &[2, 2, 4]), None);
    }

    #[test]
    fn what_is_not_there_or_not_a_number_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let host = Host::at(directory.path());
        assert_eq!(
            (host.setting("fs.file-max"), host.memory_bytes(), host.locks_freely()),
            (None, None, None)
        );
        let path = directory.path().join("proc/sys/fs");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("file-max"), "7\n").unwrap();
        fs::write(path.join("nr_open"), "many\n").unwrap();
        assert_eq!((host.setting("fs.file-max"), host.setting("fs.nr_open")), (Some(vec![7]), None));
        fs::write(directory.path().join("proc/meminfo"), "MemTotal:  2 kB\nMemFree: 1 kB\n").unwrap();
        assert_eq!(host.memory_bytes(), Some(2_048));
    }
}
