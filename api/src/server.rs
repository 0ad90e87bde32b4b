//! The server's life: a thread, a listener, connections, and an orderly end.

use std::io;
use std::net::{SocketAddr, TcpListener as BlockingListener};
use std::pin::pin;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::calls::Calls;
use crate::canary::Canary;
use crate::connection::Connection;
use crate::context::Context;
use crate::identity::Authenticate;
use crate::metrics::Registry;
use crate::port::Port;
use crate::routes;
use crate::settings::Settings;

/// Longest head of a request, in bytes; the HTTP library's smallest is 8 KiB.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// After a failed accept (no descriptor left, most likely) the next one waits so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Starts the API.
pub struct Server;

/// A running server. Dropping it stops the server without waiting for it.
pub struct Handle {
    local_addr: SocketAddr,
    context: Arc<Context>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Listens, and serves on a thread of its own.
    ///
    /// # Errors
    /// When the address can't be listened on, or the system gives no thread.
    pub fn start(
        settings: Settings,
        port: Port,
        authenticate: Authenticate,
        metrics: Arc<Registry>,
    ) -> io::Result<Handle> {
        let listener = BlockingListener::bind(settings.listen)?;
        listener.set_nonblocking(true)?;
        let local_addr = listener.local_addr()?;
        let calls = Calls::new(port.push, settings.calls_max, settings.call_timeout);
        let canary = Canary::new(port.table, port.name);
        let context = Arc::new(Context::new(settings, calls, canary, port.give_order, authenticate, metrics));
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::clone(&context);
        let inbox = port.inbox;
        let thread = Builder::new().name("api".into()).spawn(move || {
            serve(&runtime, &shared, listener, inbox, stopped);
        })?;
        Ok(Handle { local_addr, context, stop, thread })
    }
}

impl Handle {
    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The router shards take envelopes from now on: for a server that began closed.
    pub fn open(&self) {
        self.context.open();
    }

    /// `/readyz` says no from now on; everything else goes on.
    pub fn drain(&self) {
        self.context.start_draining();
    }

    /// Takes no new connection, lets requests under way end within `shutdown_timeout`, and returns.
    pub fn shutdown(self) {
        self.drain();
        self.stop.send_replace(true);
        // A panic of the API's thread was reported where it happened.
        let _ = self.thread.join();
    }
}

fn serve(
    runtime: &Runtime,
    context: &Arc<Context>,
    listener: BlockingListener,
    inbox: tokio::sync::mpsc::Receiver<protocol::envelope::ToGateway>,
    stopped: watch::Receiver<bool>,
) {
    runtime.block_on(async {
        let dispatcher = Arc::clone(context);
        tokio::spawn(async move {
            let published = |key: &_, seq| dispatcher.canary.delivered(key, seq);
            dispatcher.calls.dispatch(inbox, published).await;
        });
        let flying = Arc::clone(context);
        tokio::spawn(async move { Canary::fly(&flying).await });
        match TcpListener::from_std(listener) {
            Ok(listener) => accept(context, listener, stopped).await,
            Err(error) => panic!("a listening socket is no use to its runtime: {error}"),
        }
    });
}

async fn accept(context: &Arc<Context>, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
    let router = routes::router(Arc::clone(context));
    let connections_max = context.settings.connections_max;
    let places = Arc::new(Semaphore::new(connections_max));
    loop {
        let accepted = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            accepted = accept_one(&listener, &places) => accepted,
        };
        let Some((stream, place)) = accepted else { continue };
        let (router, stopped) = (router.clone(), stopped.clone());
        let patience = context.settings.client_timeout;
        tokio::spawn(async move {
            serve_connection(stream, router, patience, stopped).await;
            drop(place);
        });
    }
    drop(listener);
    let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
    let _ = timeout(context.settings.shutdown_timeout, places.acquire_many(all)).await; // Late ones are cut.
}

async fn accept_one(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(_) => {
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    patience: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true); // Only slower without.
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(patience).max_header_size(HEAD_BYTES_MAX);
    let io = TokioIo::new(Connection::new(stream, patience));
    let mut connection = pin!(builder.serve_connection(io, TowerToHyperService::new(router)));
    tokio::select! {
        _ = connection.as_mut() => return, // A fault of the connection is the peer's, and its end.
        _ = stopped.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
