//! What the kernel of this host holds and has done: memory of sockets, rings and threads, and how busy its CPUs were.
//! The numbers are the whole host's: nothing else should come and go while a difference is taken.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::ServerError;
use super::process::{field_kib, read};

/// Beginnings of the names of slab caches that sockets, their files and what is armed on them come from. The others are
/// those of file systems and processes, which come and go by themselves.
const SOCKET_CACHES: [&str; 14] = [
    "TCP",
    "request_sock_TCP",
    "tw_sock_TCP",
    "tcp_bind",
    "sock_inode_cache",
    "filp",
    "dentry",
    "lsm_",
    "eventpoll",
    "ep_head",
    "io_kiocb",
    "skbuff",
    "kmalloc-",
    "msg_msg-",
];
/// Of those, caches for memory that the kernel gives back when it needs it.
const RECLAIMABLE: &str = "kmalloc-rcl";

/// Bytes of a page of the kernel, in which it counts slabs and the memory of TCP.
fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// Memory and CPU time of the host at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    /// What a program could still get, in bytes.
    pub available_bytes: u64,
    /// Objects of the kernel: sockets, files, what is armed on them.
    pub slab_bytes: u64,
    /// Stacks of threads in the kernel.
    pub stack_bytes: u64,
    /// Page tables of all processes.
    pub page_table_bytes: u64,
    /// Memory that each CPU has its own of.
    pub percpu_bytes: u64,
    /// TCP sockets in use.
    pub tcp_sockets: u64,
    /// Bytes in buffers of TCP sockets.
    pub tcp_buffer_bytes: u64,
    /// Bytes of each slab cache, whole pages; empty for who may not read /proc/slabinfo.
    pub caches: BTreeMap<String, u64>,
    /// CPU time that was used, on all CPUs together.
    pub busy: Duration,
    /// CPU time that nobody wanted.
    pub idle: Duration,
    /// CPU time that the machine below took away.
    pub stolen: Duration,
}

/// What grew between two moments; less than nothing is possible.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KernelGrowth {
    /// What a program could get less, in bytes.
    pub taken_bytes: i64,
    /// All slab caches.
    pub slab_bytes: i64,
    /// The slab caches that sockets take from; 0 for who may not read /proc/slabinfo.
    pub socket_bytes: i64,
    /// Stacks, page tables and memory of each CPU.
    pub other_bytes: i64,
    /// Bytes in buffers of TCP sockets.
    pub tcp_buffer_bytes: i64,
    /// TCP sockets.
    pub tcp_sockets: i64,
    /// Caches that changed, the one that grew most first.
    pub caches: Vec<(String, i64)>,
    /// Share of the CPU time that was used, 0 to 1.
    pub busy_share: f64,
    /// Share of the CPU time that the machine below took away.
    pub stolen_share: f64,
}

impl KernelGrowth {
    /// Kernel bytes of sockets: their slab caches where these can be read, else all slabs.
    #[must_use]
    pub fn of_sockets_bytes(&self) -> i64 {
        if self.caches.is_empty() { self.slab_bytes } else { self.socket_bytes }
    }
}

impl Kernel {
    /// Now.
    ///
    /// # Errors
    /// `/proc` is not mounted or lacks something.
    pub fn read() -> Result<Self, ServerError> {
        let path = Path::new("/proc/meminfo");
        let memory = read(path)?;
        let bytes = |name| match field_kib(&memory, name) {
            Some(kib) => Ok(kib * 1_024),
            None => Err(ServerError::Unexpected { path: path.into(), what: name }),
        };
        let (tcp_sockets, tcp_pages) = tcp(&read(Path::new("/proc/net/sockstat"))?);
        let (busy, idle, stolen) = cpus(&read(Path::new("/proc/stat"))?);
        Ok(Self {
            available_bytes: bytes("MemAvailable")?,
            slab_bytes: bytes("Slab")?,
            stack_bytes: bytes("KernelStack")?,
            page_table_bytes: bytes("PageTables")?,
            percpu_bytes: bytes("Percpu")?,
            tcp_sockets,
            tcp_buffer_bytes: tcp_pages * page_bytes(),
            caches: read(Path::new("/proc/slabinfo")).map(|text| caches(&text)).unwrap_or_default(),
            busy,
            idle,
            stolen,
        })
    }

    /// What grew since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> KernelGrowth {
        let other = |kernel: &Self| kernel.stack_bytes + kernel.page_table_bytes + kernel.percpu_bytes;
        let caches = self.caches_since(before);
        let (busy, idle, stolen) = (
            self.busy.saturating_sub(before.busy).as_secs_f64(),
            self.idle.saturating_sub(before.idle).as_secs_f64(),
            self.stolen.saturating_sub(before.stolen).as_secs_f64(),
        );
        let all = (busy + idle + stolen).max(f64::MIN_POSITIVE);
        KernelGrowth {
            taken_bytes: growth(before.available_bytes, self.available_bytes).saturating_neg(),
            slab_bytes: growth(before.slab_bytes, self.slab_bytes),
            socket_bytes: caches.iter().filter(|(name, _)| is_of_sockets(name)).map(|(_, bytes)| bytes).sum(),
            other_bytes: growth(other(before), other(self)),
            tcp_buffer_bytes: growth(before.tcp_buffer_bytes, self.tcp_buffer_bytes),
            tcp_sockets: growth(before.tcp_sockets, self.tcp_sockets),
            caches,
            busy_share: busy / all,
            stolen_share: stolen / all,
        }
    }

    fn caches_since(&self, before: &Self) -> Vec<(String, i64)> {
        let earlier = |name: &str| before.caches.get(name).copied().unwrap_or(0);
        let caches = self.caches.iter().map(|(name, bytes)| (name.clone(), growth(earlier(name), *bytes)));
        let mut caches: Vec<_> = caches.filter(|(_, bytes)| *bytes != 0).collect();
        caches.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        caches
    }
}

fn growth(before: u64, after: u64) -> i64 {
    after.cast_signed().wrapping_sub(before.cast_signed())
}

fn is_of_sockets(cache: &str) -> bool {
    !cache.starts_with(RECLAIMABLE) && SOCKET_CACHES.iter().any(|name| cache.starts_with(name))
}

/// Sockets and pages of the line of TCP.
fn tcp(text: &str) -> (u64, u64) {
    let words = text.lines().find_map(|line| line.strip_prefix("TCP: "));
    let words: Vec<&str> = words.unwrap_or_default().split_whitespace().collect();
    let value = |name| {
        words.iter().position(|word| *word == name).and_then(|place| words.get(place + 1)?.parse().ok())
    };
    (value("inuse").unwrap_or(0), value("mem").unwrap_or(0))
}

/// Busy, idle and stolen time of all CPUs; waiting for a disk is idle.
fn cpus(text: &str) -> (Duration, Duration, Duration) {
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    let sum = |fields: &[usize]| {
        let ticks: u64 = fields.iter().filter_map(|field| ticks.get(*field)).sum();
        Duration::from_nanos(ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second())
    };
    (sum(&[0, 1, 2, 5, 6]), sum(&[3, 4]), sum(&[7]))
}

/// Bytes of each cache: its slabs, times the pages of one.
fn caches(text: &str) -> BTreeMap<String, u64> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(cache).collect()
}

/// `name active objects size per_slab pages_per_slab : tunables … : slabdata active_slabs slabs shared`
fn cache(line: &str) -> Option<(String, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let pages: u64 = words.get(5)?.parse().ok()?;
    let slabs: u64 = words.get(14)?.parse().ok()?;
    Some(((*words.first()?).to_owned(), slabs * pages * page_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_its_slabs_times_their_pages() {
        let text = "slabinfo - version: 2.1\n# name <active_objs>\n\
            TCP 13 26 2368 13 8 : tunables 0 0 0 : slabdata 2 3 0\n";
        assert_eq!(caches(text), BTreeMap::from([("TCP".to_owned(), 3 * 8 * page_bytes())]));
    }

    #[test]
    fn the_socket_caches_are_told_from_those_of_file_systems() {
        assert!(is_of_sockets("TCPv6") && is_of_sockets("kmalloc-cg-64") && is_of_sockets("lsm_inode_cache"));
        assert!(!is_of_sockets("ext4_inode_cache") && !is_of_sockets("kmalloc-rcl-64"));
    }

    #[test]
    fn growth_is_signed_and_sorted() {
        let kernel = |tcp: u64, filp: u64, available: u64| Kernel {
            caches: [("TCP".to_owned(), tcp), ("filp".to_owned(), filp), ("ext4".to_owned(), 7)].into(),
            available_bytes: available,
            busy: Duration::from_secs(tcp),
            idle: Duration::from_secs(filp),
            ..Kernel::default()
        };
        let growth = kernel(13, 1, 900).since(&kernel(10, 2, 1_000));
        assert_eq!(growth.caches, [("TCP".to_owned(), 3), ("filp".to_owned(), -1)]);
        assert_eq!((growth.socket_bytes, growth.of_sockets_bytes(), growth.taken_bytes), (2, 2, 100));
        assert_eq!(growth.busy_share, 1.0);
    }

    #[test]
    fn sockets_and_pages_are_read() {
        let text = "sockets: used 16\nTCP: inuse 5 orphan 0 tw 2 alloc 6 mem 33\nUDP: inuse 0 mem 0\n";
        assert_eq!(tcp(text), (5, 33));
        assert_eq!(tcp(""), (0, 0));
    }

    #[test]
    fn this_host_has_a_kernel() {
        let kernel = Kernel::read().unwrap();
        assert!(kernel.available_bytes > 0 && kernel.slab_bytes > 0 && !kernel.busy.is_zero(), "{kernel:?}");
    }
}
