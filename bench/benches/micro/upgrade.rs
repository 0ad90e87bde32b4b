//! The HTTP request that becomes a WebSocket: its head parsed and checked, the accept key, the answer.

use std::hint::black_box;

use protocol::upgrade::parse;

use crate::path::Path;
use crate::sample;

pub(crate) fn paths() -> Vec<Path> {
    vec![Path::new("upgrade/browser", || upgrading("Sec-WebSocket-Protocol: murmuring.v1.json\r\n"))]
}

fn upgrading(headers: &str) -> impl FnMut() {
    let head = sample::upgrade_head(headers);
    let mut out = Vec::new();
    move || {
        out.clear();
        let request = parse(black_box(head.as_bytes())).expect("a good head").expect("a whole head");
        request.upgrade().expect("a handshake").write(&mut out);
        black_box(&mut out);
    }
}
