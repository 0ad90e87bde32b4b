//! Listening sockets, made before the cores that accept from them, so that a wrong address is an error at once and
//! port 0 becomes a real port. Accepts nothing itself.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::setup::SetupError;

/// What accepted sockets inherit, and how many wait to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Connections the kernel holds for each listener until it accepts; `net.core.somaxconn` bounds it, silently
    /// (listen(2)).
    pub backlog: u32,
    /// TCP_NOTSENT_LOWAT in bytes: how much that was not sent yet the kernel takes from a send; `None` leaves it to
    /// `net.ipv4.tcp_notsent_lowat`. What is sent and not acknowledged comes on top (tcp(7)).
    pub unsent_bytes: Option<u32>,
    /// SO_SNDBUF in bytes (the kernel doubles it); `None` leaves it to the kernel's own tuning.
    pub send_buffer_bytes: Option<i32>,
    /// SO_RCVBUF in bytes (the kernel doubles it); `None` leaves it to the kernel's own tuning.
    pub receive_buffer_bytes: Option<i32>,
}

impl Default for ListenerSettings {
    fn default() -> Self {
        Self { backlog: 4_096, unsent_bytes: None, send_buffer_bytes: None, receive_buffer_bytes: None }
    }
}

/// A listening TCP socket with TCP_NODELAY, which accepted sockets inherit. Give it to one ring.
#[derive(Debug)]
pub struct Listener {
    descriptor: OwnedFd,
    address: SocketAddr,
}

impl Listener {
    /// `count` sockets that listen on the same address (SO_REUSEPORT, socket(7)): one for each core; the kernel
    /// spreads connections over them by hash. Port 0 becomes one free port for all.
    ///
    /// # Errors
    /// The address is in use by anyone else, of this user or another; is not this host's; or needs a right.
    pub fn bind(
        address: SocketAddr,
        count: usize,
        settings: ListenerSettings,
    ) -> Result<Vec<Self>, SetupError> {
        let mut listeners = Vec::with_capacity(count);
        let mut address = address;
        while listeners.len() < count {
            let listener = if listeners.is_empty() {
                Self::first(address, settings)
            } else {
                Self::next(address, settings)
            };
            let listener = listener.map_err(|error| SetupError::from_address(address, error))?;
            address = listener.address;
            listeners.push(listener);
        }
        for listener in &listeners {
            listener.listen(settings).map_err(|error| SetupError::from_address(address, error))?;
        }
        Ok(listeners)
    }

    /// Gives each new connection of `group`, all sockets of one address in the order in which they were bound, to the one
    /// whose place in `cpus` is the CPU that its packets arrive on; without such a place, by hash as before
    /// (SO_ATTACH_REUSEPORT_CBPF, socket(7)). Pays when a core is pinned to each of these CPUs and the network's queues
    /// are spread over all of them: an echo over loopback took 13.0 µs of CPU instead of 16.1, a connect 46.7 instead
    /// of 44.1 (both ends, Linux 6.18, 2 CPUs). A CPU without a queue gets no connection.
    ///
    /// # Errors
    /// More than 2,000 CPUs, or a kernel that forbids filters.
    pub fn steer(group: &[Self], cpus: &[usize]) -> io::Result<()> {
        let Some(first) = group.first() else { return Ok(()) };
        let mut filter = steering(&cpus[..cpus.len().min(group.len())]);
        let length = u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
        let size = mem::size_of_val(&program) as libc::socklen_t;
        let (level, name) = (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF);
        // SAFETY: `program` is a whole sock_fprog that names `filter`'s instructions; the kernel copies both during the
        // call only.
        check(unsafe { libc::setsockopt(first.as_raw_fd(), level, name, (&raw const program).cast(), size) })
    }

    /// The address it listens on, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first of a group binds alone, so that another process on the address is an error even when that one
    /// shares its port; then it opens the port to its own group.
    fn first(address: SocketAddr, settings: ListenerSettings) -> io::Result<Self> {
        let descriptor = Self::socket(address, settings)?;
        bind(&descriptor, address)?;
        set(&descriptor, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        let address = local_address(&descriptor)?;
        Ok(Self { descriptor, address })
    }

    fn next(address: SocketAddr, settings: ListenerSettings) -> io::Result<Self> {
        let descriptor = Self::socket(address, settings)?;
        set(&descriptor, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        bind(&descriptor, address)?;
        Ok(Self { descriptor, address })
    }

    fn socket(address: SocketAddr, settings: ListenerSettings) -> io::Result<OwnedFd> {
        let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        // SAFETY: socket(2) takes numbers and touches no memory of ours.
        let descriptor = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the check above says that `descriptor` is open, and nobody else has it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        set(&descriptor, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        set(&descriptor, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
        if let Some(bytes) = settings.unsent_bytes {
            let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
            set(&descriptor, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, bytes)?;
        }
        if let Some(bytes) = settings.send_buffer_bytes {
            set(&descriptor, libc::SOL_SOCKET, libc::SO_SNDBUF, bytes)?;
        }
        if let Some(bytes) = settings.receive_buffer_bytes {
            set(&descriptor, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes)?;
        }
        Ok(descriptor)
    }

    fn listen(&self, settings: ListenerSettings) -> io::Result<()> {
        let backlog = i32::try_from(settings.backlog).unwrap_or(i32::MAX);
        // SAFETY: listen(2) takes numbers and touches no memory of ours.
        check(unsafe { libc::listen(self.descriptor.as_raw_fd(), backlog) })
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

/// A program (bpf(4), in the kernel's Documentation/networking/filter.rst) that answers with the place of the CPU it runs
/// on among `cpus`, or with a place that no group has.
fn steering(cpus: &[usize]) -> Vec<libc::sock_filter> {
    let instruction = |code: u32, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let cpu = (libc::SKF_AD_OFF + libc::SKF_AD_CPU) as u32;
    let mut program = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, cpu)];
    for (place, cpu) in (0..).zip(cpus) {
        let cpu = u32::try_from(*cpu).unwrap_or(u32::MAX);
        program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, cpu));
        program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, place));
    }
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, u32::MAX));
    program
}

fn set(descriptor: &OwnedFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let length = mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: the option's value is the four bytes of `value`, read during the call only.
    check(unsafe { libc::setsockopt(descriptor.as_raw_fd(), level, name, (&raw const value).cast(), length) })
}

fn bind(descriptor: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let (storage, length) = to_kernel(address);
    // SAFETY: `to_kernel` filled the first `length` bytes of `storage`, which are read during the call only.
    check(unsafe { libc::bind(descriptor.as_raw_fd(), (&raw const storage).cast(), length) })
}

fn local_address(descriptor: &OwnedFd) -> io::Result<SocketAddr> {
    let mut storage = empty();
    let mut length = mem::size_of_val(&storage) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `storage`, and `length`, during the call only.
    check(unsafe { libc::getsockname(descriptor.as_raw_fd(), (&raw mut storage).cast(), &raw mut length) })?;
    from_kernel(&storage).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// No address: family AF_UNSPEC.
pub(crate) fn empty() -> libc::sockaddr_storage {
    // SAFETY: a `sockaddr_storage` is integers only, for which all zeroes is a value.
    unsafe { mem::zeroed() }
}

/// The address in the kernel's form, and how many bytes of it count.
pub(crate) fn to_kernel(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    let mut storage = empty();
    let length = match address {
        SocketAddr::V4(address) => {
            let kernel = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: a `sockaddr_storage` is made to be large and aligned enough for every address (socket.h).
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(kernel) };
            mem::size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(address) => {
            let kernel = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            // SAFETY: as above.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(kernel) };
            mem::size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, length as libc::socklen_t)
}

/// The address of its kernel's form; an IPv4 one that came over an IPv6 socket is IPv4. `None` for other families.
pub(crate) fn from_kernel(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which address this is; the storage is large and aligned enough for it, and
            // every bit pattern of it is a value.
            let kernel = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(kernel.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(kernel.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let kernel = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let ip = std::net::Ipv6Addr::from(kernel.sin6_addr.s6_addr);
            let port = u16::from_be(kernel.sin6_port);
            Some(match ip.to_canonical() {
                IpAddr::V4(ip) => SocketAddrV4::new(ip, port).into(),
                IpAddr::V6(ip) => {
                    SocketAddrV6::new(ip, port, kernel.sin6_flowinfo, kernel.sin6_scope_id).into()
                }
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{from_kernel, to_kernel};

    #[test]
    fn addresses_survive_the_way_through_the_kernels_form() {
        for text in ["127.0.0.1:8800", "255.1.2.3:65535", "[::1]:1", "[fe80::1%3]:9", "[2001:db8::2]:0"] {
            let address = text.parse().unwrap();
            assert_eq!(from_kernel(&to_kernel(address).0), Some(address));
        }
    }

    #[test]
    fn an_ipv4_peer_of_an_ipv6_listener_is_ipv4() {
        let address = "[::ffff:10.1.2.3]:80".parse().unwrap();
        assert_eq!(from_kernel(&to_kernel(address).0), Some("10.1.2.3:80".parse().unwrap()));
    }

    #[test]
    fn an_address_of_no_family_is_none() {
        assert_eq!(from_kernel(&super::empty()), None);
    }
}
