//! The paths of a message and of a connection, each in a loop of its own: under the clock (criterion), and by count of
//! instructions (`bench/instructions`), which a busy machine does not change.
//!
//! `cargo bench -p bench --bench micro -- FILTER` measures; `micro --count PART` is what
//! the count runs under callgrind.

mod append;
mod count;
mod decode;
mod encode;
mod fanout;
mod gateway;
mod mailbox;
mod path;
mod reference;
mod sample;
mod session;
mod store;
mod token;
mod upgrade;
mod websocket;

use criterion::{Criterion, Throughput};

use crate::path::Path;

/// Like the server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Everything that is counted.
fn paths() -> Vec<Path> {
    [
        websocket::paths(),
        decode::paths(),
        encode::paths(),
        upgrade::paths(),
        token::paths(),
        mailbox::paths(),
        session::paths(),
        fanout::paths(),
        append::paths(),
        store::paths(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--count") {
        return count::run(&paths(), arguments.next().as_deref());
    }
    let mut criterion = Criterion::default().configure_from_args();
    for path in paths().into_iter().chain(fanout::larger()).chain(reference::paths()) {
        let mut group = criterion.benchmark_group(path.area());
        group.throughput(Throughput::Elements(path.items()));
        group.bench_function(path.rest(), |bencher| bencher.iter(path.prepare()));
    }
    mailbox::between_threads(&mut criterion);
    criterion.final_summary();
}
