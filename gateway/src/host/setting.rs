//! The settings of a host that bound connections: each with its value for a number of them, what it is, why so much, and
//! where that is written or how it was measured. The one table that `murmuring plan`, `murmuring check` and the files
//! in `tuning/` go by.

use super::process;

/// What a host is asked to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Connections of the whole node.
    pub connections: u64,
    /// Shards they are spread over.
    pub shards: u64,
    /// `listen.backlog`.
    pub backlog: u64,
    /// Listeners of each shard.
    pub listeners: u64,
}

/// What follows when the host has less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Connections are refused or cut below the number asked for.
    Refuses,
    /// It works until a storm or a burst comes.
    Hurts,
}

/// One setting of sysctl(8). More than the value is as good, so a host's own larger one stays.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name.
    pub key: &'static str,
    /// What follows when the host has less.
    pub weight: Weight,
    /// The least that is good, in the setting's own unit; some have several numbers.
    pub value: fn(&Scale) -> Vec<u64>,
    /// What it is and why so much, a line each.
    pub about: &'static [&'static str],
    /// The page that says so, or how it was measured.
    pub source: &'static str,
}

/// Files of the rest of the host.
const FILES_OF_OTHERS: u64 = 65_536;
/// What Linux sets `fs.nr_open` to by itself.
const DESCRIPTORS_MAX_USUAL: u64 = 1 << 20;
/// Threads of the rest of the host.
const THREADS_OF_OTHERS: u64 = 4_096;
/// Mappings of the process without shards, and a shard's: 78 and 7 were counted; the rest is for memory that grows.
const MAPPINGS_OWN: u64 = 32_768;
const MAPPINGS_A_SHARD: u64 = 16;
/// What fits in a CPU's queue between the network and the protocols: a storm's packets arrive in such bursts.
const PACKETS_QUEUED: u64 = 16_384;

/// Every setting, those that refuse connections first.
pub static SETTINGS: &[Setting] = &[
    Setting {
        key: "fs.file-max",
        weight: Weight::Refuses,
        value: |scale| vec![scale.connections + scale.connections / 8 + FILES_OF_OTHERS],
        about: &[
            "Open files of the whole host. A socket is one, also in a ring (which takes no descriptor of the process).",
            "A client on the same machine, such as a load test, is one more each: plan for both ends then.",
            "Past it accepts fail for everyone without CAP_SYS_ADMIN; murmuring_accepts_exhausted_total counts them.",
        ],
        source: "Documentation/admin-guide/sysctl/fs.rst, file-max",
    },
    Setting {
        key: "fs.nr_open",
        weight: Weight::Refuses,
        value: |scale| {
            vec![
                process::slots(scale.connections, scale.shards, scale.listeners)
                    .clamp(DESCRIPTORS_MAX_USUAL, process::BANK_SLOTS_MAX),
            ]
        },
        about: &[
            "The highest RLIMIT_NOFILE that anyone may set, which bounds the sockets of each io_uring.",
            "The kernel's own default is enough: an io_uring registers no more than 1,048,576.",
        ],
        source: "Documentation/admin-guide/sysctl/fs.rst, nr_open; io_uring_register(2)",
    },
    Setting {
        key: "net.netfilter.nf_conntrack_max",
        weight: Weight::Refuses,
        value: |scale| vec![scale.connections + scale.connections / 4],
        about: &[
            "Connections that the firewall follows, where it does. Past it packets of new ones are dropped, and the log",
            "says `nf_conntrack: table full`. Better than a large table is none: a notrack rule for the client port, such",
            "as `nft add rule inet raw prerouting tcp dport 8800 notrack` and the same for `output tcp sport 8800`.",
        ],
        source: "Documentation/networking/nf_conntrack-sysctl.rst, nf_conntrack_max; nft(8), notrack",
    },
    Setting {
        key: "net.core.somaxconn",
        weight: Weight::Hurts,
        value: |scale| vec![scale.backlog],
        about: &[
            "Bound of listen(2)'s backlog: connections that wait until a shard accepts them. The kernel cuts a larger",
            "`listen.backlog` to it without a word. Past it connects are dropped, and their clients try again a second",
            "later, then three: `nstat -az TcpExtListenOverflows` counts. Measured on Linux 6.18, 9,000 connects at once,",
            "accepted at 1,500 a second: 128 places dropped 22,814 packets, and 8,415 clients waited a second or more; 4,096",
            "dropped 6,852 and 3,792 waited; 65,535 dropped none, and the slowest connected in 0.02 s. Costs nothing unused.",
        ],
        source: "Documentation/networking/ip-sysctl.rst, somaxconn; listen(2)",
    },
    Setting {
        key: "net.ipv4.tcp_max_syn_backlog",
        weight: Weight::Hurts,
        value: |scale| vec![scale.backlog],
        about: &[
            "Connections of each listener that are half open. With tcp_syncookies = 1 (keep it) the kernel goes by the",
            "backlog instead and answers what is past it with cookies, which lose TCP options; without cookies it drops.",
        ],
        source: "Documentation/networking/ip-sysctl.rst, tcp_max_syn_backlog, tcp_syncookies",
    },
    Setting {
        key: "net.core.netdev_max_backlog",
        weight: Weight::Hurts,
        value: |_| vec![PACKETS_QUEUED],
        about: &[
            "Packets that wait for a CPU, where they come over loopback, a virtual device or RPS. Past it they are dropped:",
            "the second column of /proc/net/softnet_stat counts them. Real network cards with a queue a CPU need no more.",
        ],
        source: "Documentation/admin-guide/sysctl/net.rst, netdev_max_backlog",
    },
    Setting {
        key: "net.ipv4.tcp_mem",
        weight: Weight::Hurts,
        value: |scale| vec![scale.connections / 2, scale.connections * 3 / 4, scale.connections],
        about: &[
            "Pages of all TCP buffers: below the first all is well, past the second sockets save, past the third the",
            "kernel drops (`TCP: out of memory`). Idle sockets hold none, one with any bytes under way holds a page:",
            "measured on Linux 6.18 with 5,000 sockets, 3,816 bytes each with 64 bytes unread, 0 once they were read. So a",
            "message to everyone at once takes as many pages as there are connections. Not memory that is set aside.",
        ],
        source: "tcp(7), tcp_mem; /proc/net/sockstat",
    },
    Setting {
        key: "net.ipv4.tcp_max_tw_buckets",
        weight: Weight::Hurts,
        value: |scale| vec![scale.connections],
        about: &[
            "Closed connections that are remembered for a minute, so that their late packets reach nobody else. Who closes",
            "first holds it: the server does in a drain. Past it they are forgotten early, with a line in the kernel's log.",
        ],
        source: "Documentation/networking/ip-sysctl.rst, tcp_max_tw_buckets",
    },
    Setting {
        key: "net.ipv4.tcp_max_orphans",
        weight: Weight::Hurts,
        value: |scale| vec![scale.connections],
        about: &[
            "Sockets that the server has closed and whose last bytes are under way: in a drain, everyone's. Past it they",
            "are reset, and the client never reads its close frame with the time to come back.",
        ],
        source: "Documentation/networking/ip-sysctl.rst, tcp_max_orphans",
    },
    Setting {
        key: "kernel.threads-max",
        weight: Weight::Refuses,
        value: |scale| vec![threads(scale)],
        about: &["Threads of the whole host; each shard is one, and its ring may have one worker."],
        source: "Documentation/admin-guide/sysctl/kernel.rst, threads-max",
    },
    Setting {
        key: "kernel.pid_max",
        weight: Weight::Refuses,
        value: |scale| vec![threads(scale)],
        about: &["Each thread has a number of its own below it."],
        source: "Documentation/admin-guide/sysctl/kernel.rst, pid_max",
    },
    Setting {
        key: "vm.max_map_count",
        weight: Weight::Refuses,
        value: |scale| vec![MAPPINGS_OWN + MAPPINGS_A_SHARD * scale.shards],
        about: &[
            "Mappings of one process. Counted after the start: 78 with one shard, 1,141 with 160; the kernel's default of",
            "65,530 leaves room for the memory of sessions and for the store's tables.",
        ],
        source: "Documentation/admin-guide/sysctl/vm.rst, max_map_count; /proc/PID/maps",
    },
];

/// Both a shard and its ring's worker count.
fn threads(scale: &Scale) -> u64 {
    process::threads(scale.shards) + scale.shards + THREADS_OF_OTHERS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(connections: u64) -> Scale {
        Scale { connections, shards: 57, backlog: 65_535, listeners: 1 }
    }

    #[test]
    fn more_connections_never_need_less() {
        for setting in SETTINGS {
            let (small, large) = ((setting.value)(&scale(1_000)), (setting.value)(&scale(1_000_000)));
            assert!(small.iter().zip(&large).all(|(small, large)| small <= large), "{}", setting.key);
        }
    }

    #[test]
    fn a_setting_says_what_it_is_and_where_that_is_written() {
        for (place, setting) in SETTINGS.iter().enumerate() {
            assert!(!setting.about.is_empty() && !setting.source.is_empty(), "{}", setting.key);
            assert!(SETTINGS[..place].iter().all(|other| other.key != setting.key), "{}", setting.key);
        }
    }
}
