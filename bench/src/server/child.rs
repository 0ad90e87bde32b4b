//! A process that the load generator starts: it speaks in lines on stdout, listens on stdin, logs to a file, and does not
//! outlive whoever started it.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{self, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::ServerError;
use super::interrupt;

/// Lines of stdout that wait to be taken.
const LINES_MAX: usize = 64;
/// Bytes of the log's end that an error repeats.
const WORDS_BYTES_MAX: usize = 2_000;
const PAUSE: Duration = Duration::from_millis(5);

/// A running process. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Child {
    process: process::Child,
    id: Pid,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    program: PathBuf,
    log: PathBuf,
}

impl Child {
    /// Starts a program, with none of Murmuring's settings in its environment. Its stderr goes to the file `log`.
    ///
    /// The process gets SIGTERM when the calling *thread* ends, so call it on one that lives as long.
    ///
    /// # Errors
    /// There is no such program, or the host refuses.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self, ServerError> {
        let program = PathBuf::from(command.get_program());
        let stderr = File::create(log).map_err(ServerError::of_file(log))?;
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MURMURING_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let spawned = ring::signal::terminate_with_parent(command).spawn();
        let mut process = spawned.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ServerError::NoProgram { path: program.clone() },
            _ => ServerError::NotStarted { path: program.clone(), words: error.to_string() },
        })?;
        let id = Pid::from_child(&process);
        interrupt::add_child(id);
        let (sender, lines) = mpsc::sync_channel(LINES_MAX);
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        thread::spawn(move || read_lines(stdout, &sender));
        Ok(Self { process, id, stdin, lines, program, log: log.to_owned() })
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next line on stdout.
    ///
    /// # Errors
    /// None comes in time, or the process ends.
    pub(crate) fn line(&mut self, patience: Duration) -> Result<String, ServerError> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => Err(ServerError::NotReady { waited: patience }),
            Err(RecvTimeoutError::Disconnected) => {
                Err(ServerError::NotStarted { path: self.program.clone(), words: self.words() })
            }
        }
    }

    /// Writes a line to its stdin.
    ///
    /// # Errors
    /// The process has ended.
    pub(crate) fn tell(&mut self, line: &str) -> Result<(), ServerError> {
        let told = self.stdin.as_mut().map(|stdin| writeln!(stdin, "{line}").and_then(|()| stdin.flush()));
        match told {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(ServerError::Ended { words: self.words() }),
        }
    }

    /// Says whether it still runs.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn check(&mut self) -> Result<(), ServerError> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(ServerError::Ended { words: self.words() }),
        }
    }

    /// SIGTERM; then as long as `patience` for it to end; then SIGKILL.
    ///
    /// # Errors
    /// It had ended before, or had to be killed.
    pub(crate) fn stop(mut self, patience: Duration) -> Result<ExitStatus, ServerError> {
        self.check()?;
        // Ended since, at worst.
        let _ = kill_process(self.id, Signal::TERM);
        let begin = Instant::now();
        while begin.elapsed() < patience {
            match self.process.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => thread::sleep(PAUSE),
                Err(_) => break,
            }
        }
        Err(ServerError::NotStopped { waited: patience, words: self.words() })
    }

    /// The end of what it wrote on stderr.
    fn words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let end = &text[text.len().saturating_sub(WORDS_BYTES_MAX)..];
        let words = String::from_utf8_lossy(end).trim().to_owned();
        if words.is_empty() { "it wrote nothing on stderr".to_owned() } else { words }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Ended already, mostly.
        let _ = self.process.kill();
        let _ = self.process.wait();
        interrupt::remove_child(self.id);
    }
}

fn read_lines(stdout: Option<ChildStdout>, sender: &SyncSender<String>) {
    for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()) {
        let Ok(line) = line else { break };
        if sender.send(line).is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> (Child, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        (Child::start(&mut command, &directory.path().join("log")).unwrap(), directory)
    }

    #[test]
    fn a_process_speaks_in_lines_and_stops_when_told() {
        let (mut child, _directory) = shell("echo ready; read word; echo got $word; sleep 60");
        assert_eq!(child.line(SOON).unwrap(), "ready");
        child.tell("it").unwrap();
        assert_eq!(child.line(SOON).unwrap(), "got it");
        child.check().unwrap();
        assert!(!child.stop(SOON).unwrap().success());
    }

    #[test]
    fn a_process_that_ends_early_says_why() {
        let (mut child, _directory) = shell("echo no luck >&2; exit 3");
        let error = child.line(SOON).unwrap_err();
        assert!(matches!(&error, ServerError::NotStarted { words, .. } if words == "no luck"), "{error}");
        // Its stdout ends a moment before it does.
        let begin = Instant::now();
        while child.check().is_ok() && begin.elapsed() < SOON {
            thread::sleep(PAUSE);
        }
        assert!(matches!(child.stop(SOON), Err(ServerError::Ended { .. })));
    }

    #[test]
    fn a_process_that_does_not_stop_is_killed() {
        let (mut child, _directory) = shell("trap '' TERM; echo ready; while true; do sleep 0.1; done");
        child.line(SOON).unwrap();
        let error = child.stop(Duration::from_millis(200)).unwrap_err();
        assert!(matches!(error, ServerError::NotStopped { .. }), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let result = Child::start(&mut Command::new("/no/such/program"), &directory.path().join("log"));
        assert!(matches!(result, Err(ServerError::NoProgram { .. })));
    }

    #[test]
    fn a_process_does_not_outlive_the_thread_that_started_it() {
        let starter = thread::spawn(|| shell("echo ready; sleep 60"));
        let (mut child, _directory) = starter.join().unwrap();
        let begin = Instant::now();
        while child.check().is_ok() {
            assert!(begin.elapsed() < SOON);
            thread::sleep(PAUSE);
        }
    }
}
