//! A FoundationDB cluster of one server for a test process, where `fdbserver` is found; it ends with the process.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Where a cluster's programs are looked for besides PATH.
const PLACE: &str = "/opt/fdb/bin";
/// How long a new cluster may take until it is configured.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program of this name, where there is one.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from(PLACE), PathBuf::from("/usr/sbin")]);
    places.map(|place| place.join(name)).find(|program| program.is_file())
}

/// Says past the test harness, which keeps what a test that passes says, that something was not run.
pub fn say_skipped(what: &str, why: &str) {
    let _ = writeln!(io::stderr().lock(), "\n*** SKIPPED on FoundationDB: {what}: {why} ***\n");
}

/// A cluster of one server, which ends with this process at the latest.
pub struct Cluster {
    server: PathBuf,
    directory: PathBuf,
    port: u16,
    running: Option<Running>,
}

/// A server's process, and the shell that ends it when this process has gone.
struct Running {
    shell: Child,
    pid: String,
}

impl Cluster {
    /// A new cluster that serves; `None`, and a loud word, where there is no `fdbserver`.
    pub fn start(what: &str) -> Option<Self> {
        let (Some(server), Some(cli)) = (program("fdbserver"), program("fdbcli")) else {
            say_skipped(what, "no fdbserver in PATH or /opt/fdb/bin");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("murmuring-fdb-").tempdir().unwrap().keep();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        fs::write(directory.join("fdb.cluster"), format!("test:test@127.0.0.1:{port}\n")).unwrap();
        let mut cluster = Self { server, directory, port, running: None };
        cluster.run();
        cluster.configure(&cli);
        Some(cluster)
    }

    pub fn file(&self) -> PathBuf {
        self.directory.join("fdb.cluster")
    }

    /// Starts the server, on what an earlier one has left.
    pub fn run(&mut self) {
        assert!(self.running.is_none());
        let address = format!("127.0.0.1:{}", self.port);
        // The shell tells the server's process id, and ends it when its own input ends: whatever way we go.
        let mut shell = Command::new("sh")
            .args(["-c", "\"$@\" <&- >/dev/null 2>&1 & echo $!; read -r _; kill -9 $!", "sh"])
            .arg(&self.server)
            .args(["-p", &address, "-C"])
            .arg(self.file())
            .arg("-d")
            .arg(self.directory.join("data"))
            .arg("-L")
            .arg(&self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pid = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        self.running = Some(Running { shell, pid: pid.trim().to_owned() });
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut running = self.running.take().unwrap();
        assert!(Command::new("kill").args(["-9", &running.pid]).status().unwrap().success());
        drop(running.shell.stdin.take());
        running.shell.wait().unwrap();
    }

    fn configure(&self, cli: &Path) {
        let begin = Instant::now();
        loop {
            let mut command = Command::new(cli);
            command.arg("-C").arg(self.file()).args([
                "--timeout",
                "10",
                "--exec",
                "configure new single ssd",
            ]);
            let said = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
            if said.contains("Database created") || said.contains("already exists") {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "the cluster can't be configured: {said}");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.kill();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The cluster file of a cluster that all tests of this process share.
pub fn shared() -> Option<&'static Path> {
    static CLUSTER: OnceLock<Option<(Cluster, PathBuf)>> = OnceLock::new();
    let shared = CLUSTER.get_or_init(|| {
        let cluster = Cluster::start("every promise of this file")?;
        let file = cluster.file();
        Some((cluster, file))
    });
    shared.as_ref().map(|(_, file)| file.as_path())
}
