//! The promise: a client that nobody here wrote understands our frames, and we understand its.

mod support;

use std::io::{self, Read, Write};

use protocol::error::CloseCode;
use protocol::websocket::{Message, Opcode, Reader, write, write_close, write_with};
use support::Chance;
use tungstenite::protocol::{Role, WebSocket};

/// A wire in memory: what is written goes one way, what is read comes the other.
#[derive(Default)]
struct Wire {
    to_client: io::Cursor<Vec<u8>>,
    to_server: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.to_client.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            length => Ok(length),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to_server.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn client() -> WebSocket<Wire> {
    WebSocket::from_raw_socket(Wire::default(), Role::Client, None)
}

/// Answers what the client wrote as an echo endpoint does.
fn echo(client: &mut WebSocket<Wire>, reader: &mut Reader, pieces: usize) {
    let wire = client.get_mut();
    let mut assembly = Vec::new();
    for piece in core::mem::take(&mut wire.to_server).chunks_mut(pieces) {
        let mut input = piece;
        let out = wire.to_client.get_mut();
        while let Some(message) = reader.read(&mut input, &mut assembly, 1 << 24).expect("a client in order")
        {
            match message {
                Message::Text(text) => write_with(Opcode::Text, out, |out| out.extend_from_slice(text)),
                Message::Binary(bytes) => write(Opcode::Binary, bytes, out),
                Message::Ping(bytes) => write(Opcode::Pong, bytes, out),
                Message::Pong(_) => {}
                Message::Close { code, reason } => {
                    write_close(code.unwrap_or(CloseCode::NORMAL), reason, out)
                }
            }
        }
    }
}

#[test]
fn messages_of_every_size_come_back_as_they_were() {
    let mut client = client();
    let mut reader = Reader::new();
    let mut chance = Chance(7);
    for (length, pieces) in [0, 1, 125, 126, 127, 4_096, 65_535, 65_536, 300_000]
        .into_iter()
        .zip([1, 2, 3, 7, 9, 100, 4_096, 999, 65_536])
    {
        let text = tungstenite::Message::text(chance.text(length));
        let bytes = tungstenite::Message::binary(chance.bytes(length));
        for message in [text, bytes] {
            client.send(message.clone()).unwrap();
            echo(&mut client, &mut reader, pieces);
            assert_eq!(client.read().unwrap(), message, "{length} in pieces of {pieces}");
        }
    }
}

#[test]
fn pings_are_answered_and_the_close_handshake_ends_in_order() {
    let mut client = client();
    let mut reader = Reader::new();
    client.send(tungstenite::Message::Ping("are you there".into())).unwrap();
    echo(&mut client, &mut reader, 5);
    assert_eq!(client.read().unwrap(), tungstenite::Message::Pong("are you there".into()));

    let close = tungstenite::protocol::CloseFrame { code: 4000.into(), reason: "done".into() };
    client.close(Some(close.clone())).unwrap();
    echo(&mut client, &mut reader, 3);
    assert_eq!(client.read().unwrap(), tungstenite::Message::Close(Some(close)));
    assert!(matches!(client.read(), Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::Io(_))));
}
