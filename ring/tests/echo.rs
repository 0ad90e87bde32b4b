//! Promise: what a client sends over real TCP comes to the shard, and what the shard sends comes to the client.

mod shard;

use std::io::{Read, Write};
use std::net::Shutdown;

use shard::{Echo, connect, serve};

#[test]
fn a_client_gets_its_bytes_back_and_its_end_answered() {
    let mut server = serve(Echo::default());
    let mut client = connect(server.address);
    client.write_all(b"hello").unwrap();
    server.run(|echo| echo.received == 5 && echo.sent == 5);
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");

    client.shutdown(Shutdown::Write).unwrap();
    server.run(|echo| echo.closed == 1);
    assert_eq!(client.read(&mut answer).unwrap(), 0);
}
