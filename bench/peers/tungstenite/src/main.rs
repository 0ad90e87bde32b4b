//! A broadcast server on tokio-tungstenite: a client's first frame names its room, every further one goes to the whole
//! room. `peer-tungstenite PORT`.
//!
//! As its examples have it: a task reads a client, a channel and a second task write to it. Kinder than they are: the
//! channels have a bound, what waits in one leaves in one flush, frames are shared and not copied, Nagle's algorithm is
//! off, and the read buffer is 4 KiB in place of 128.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt as _, StreamExt as _};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

/// Frames that wait for a slow reader at most; past it they are dropped.
const CHANNEL_FRAMES: usize = 256;
const READ_BUFFER_BYTES: usize = 4_096;
const BACKLOG: i32 = 4_096;

/// The members of a room, by their number.
type Room = Arc<Mutex<HashMap<u64, Sender<Message>>>>;
type Rooms = Arc<Mutex<HashMap<String, Room>>>;

#[tokio::main]
async fn main() {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("usage: peer-tungstenite PORT");
    let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).expect("the port is free");
    let rooms = Rooms::default();
    let mut number = 0;
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        number += 1;
        tokio::spawn(serve(stream, number, Arc::clone(&rooms)));
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// One client, to its end.
async fn serve(stream: TcpStream, number: u64, rooms: Rooms) {
    let _ = stream.set_nodelay(true);
    let configuration = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let Ok(socket) = accept_async_with_config(stream, Some(configuration)).await else { return };
    let (sink, mut frames) = socket.split();
    let Some(Ok(Message::Text(name))) = frames.next().await else { return };
    let room = Arc::clone(rooms.lock().expect("nobody panics").entry(name.to_string()).or_default());
    let (sender, receiver) = mpsc::channel(CHANNEL_FRAMES);
    room.lock().expect("nobody panics").insert(number, sender);
    tokio::spawn(write(sink, receiver));
    while let Some(Ok(frame)) = frames.next().await {
        if frame.is_text() || frame.is_binary() {
            for member in room.lock().expect("nobody panics").values() {
                let _ = member.try_send(frame.clone());
            }
        }
    }
    room.lock().expect("nobody panics").remove(&number);
}

/// What a client gets; what waits leaves together.
async fn write(
    mut sink: futures_util::stream::SplitSink<WebSocketStream<TcpStream>, Message>,
    mut receiver: Receiver<Message>,
) {
    let mut waiting = Vec::with_capacity(16);
    while receiver.recv_many(&mut waiting, 16).await > 0 {
        for frame in waiting.drain(..) {
            if sink.feed(frame).await.is_err() {
                return;
            }
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
}
