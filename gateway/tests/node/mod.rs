//! A real server for tests: the binary on free ports with a directory of its own, and clients that share no code with it.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use gateway::auth::{TokenRequest, sign_hs256};
use protocol::id::{Tenant, UserId};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

/// What every token of the tests is signed with.
pub(crate) const SECRET: &str = "a secret of the tests, thirty-two bytes long";
/// How long anything may take before it counts as never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The binary with arguments, and nothing of ours in the environment.
pub(crate) fn murmuring(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_murmuring"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MURMURING_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    murmuring(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A token for a user of the default tenant, good for an hour.
pub(crate) fn token(user: &str, admin: bool) -> String {
    token_of(SECRET, user, admin)
}

pub(crate) fn token_of(secret: &str, user: &str, admin: bool) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let request = TokenRequest {
        user: UserId::parse(user).unwrap(),
        tenant: Tenant::default_tenant(),
        admin,
        expires_s: now.as_secs() + 3_600,
        audience: None,
        issuer: None,
    };
    sign_hs256(secret.as_bytes(), &request)
}

/// A running server; killed when it goes out of scope.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    pub(crate) client: SocketAddr,
    pub(crate) api: SocketAddr,
}

impl Server {
    /// Starts `serve` on free ports with the data directory and further arguments, and waits until it is ready.
    pub(crate) fn start(data: &Path, arguments: &[&str]) -> Self {
        Self::start_with(data, arguments, &[("MURMURING_AUTH_HS256_SECRET", SECRET)])
    }

    pub(crate) fn start_with(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command =
            murmuring(&["serve", "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--data"]);
        command.arg(data).args(arguments).envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = |name: &str| {
            let word = line.split_whitespace().find_map(|word| word.strip_prefix(name));
            word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no {name} in {line:?}"))
        };
        let (client, api) = (address("client="), address("api="));
        assert_eq!(line, format!("ready client={client} api={api}\n"));
        Self { child, stdout, client, api }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the process; what it printed on stdout behind the ready line must be nothing.
    pub(crate) fn wait(mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut rest = String::new();
                self.stdout.read_to_string(&mut rest).unwrap();
                assert_eq!(rest, "", "stdout has the ready line only");
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// One call to the HTTP API.
    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let (status, text) = self.fetch(method, path, token, body);
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub(crate) fn fetch(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> (u16, String) {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let agent: ureq::Agent = config.build().into();
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.api));
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.header("Content-Type", "application/json").body(body).unwrap();
        let mut answer = agent.run(request).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    /// Creates a group.
    pub(crate) fn create(&self, conversation: &str, members: &[&str]) {
        let body = json!({ "conversation": conversation, "kind": "group", "members": members });
        let (status, answer) =
            self.call("POST", "/v1/conversations", Some(&token("admin", true)), Some(&body));
        assert!(status == 200 || status == 201, "{status} {answer}");
    }

    /// Every event of a conversation, by the HTTP API.
    pub(crate) fn log(&self, conversation: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let path = format!("/v1/conversations/{conversation}/messages?after={}&limit=200", events.len());
            let (status, page) = self.call("GET", &path, Some(&token("admin", true)), None);
            assert_eq!(status, 200, "{page}");
            events.extend(page["events"].as_array().unwrap().iter().cloned());
            if page["more"] != true {
                return events;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, mostly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that has said `hello`.
pub(crate) struct Client {
    pub(crate) socket: WebSocket<TcpStream>,
    pub(crate) welcome: Value,
}

impl Client {
    pub(crate) fn connect(server: &Server, user: &str, device: &str) -> Self {
        let mut socket = upgrade(server.client, &token(user, false)).unwrap();
        socket.send(Message::text(json!({ "op": "hello", "device": device }).to_string())).unwrap();
        let mut client = Self { socket, welcome: Value::Null };
        client.welcome = client.expect("welcome");
        client
    }

    pub(crate) fn send(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).unwrap();
    }

    /// The next frame of the server; the close code as `{"close": …}` when it closes.
    pub(crate) fn receive(&mut self) -> Result<Value, Box<tungstenite::Error>> {
        loop {
            match self.socket.read()? {
                Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
                Message::Close(frame) => {
                    let code = frame.map_or(1005, |frame| u16::from(frame.code));
                    return Ok(json!({ "close": code }));
                }
                _ => {}
            }
        }
    }

    /// The next frame with this `op`; others are skipped.
    pub(crate) fn expect(&mut self, op: &str) -> Value {
        loop {
            let frame = self.receive().unwrap();
            assert!(frame.get("close").is_none(), "closed while waiting for {op}: {frame}");
            if frame["op"] == op {
                return frame;
            }
        }
    }

    pub(crate) fn message(&mut self, conversation: &str, id: &str, body: &str) {
        self.send(&json!({ "op": "send", "id": id, "conversation": conversation, "body": body }));
    }
}

/// A WebSocket with a token in the `Authorization` header.
pub(crate) fn upgrade(
    address: SocketAddr,
    token: &str,
) -> Result<WebSocket<TcpStream>, Box<tungstenite::Error>> {
    let stream = TcpStream::connect(address).map_err(|error| Box::new(error.into()))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("ws://{address}/v1/connect").into_client_request()?;
    request.headers_mut().insert("Authorization", format!("Bearer {token}").parse().unwrap());
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(error)) => Err(Box::new(error)),
        Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("no answer to an upgrade"),
    }
}
