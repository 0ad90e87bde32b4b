//! The disk's floor: appends to a file, each made durable before the next (fdatasync(2)).

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::report::Latency;
use crate::server::ServerError;

/// What a durable append takes.
#[derive(Debug)]
pub struct SyncFloor {
    /// One write and one sync.
    pub latency: Latency,
    /// Syncs a second.
    pub per_second: f64,
}

/// Appends `bytes` at a time to a new file in `directory`, for as long as `time`, and removes it.
///
/// # Errors
/// The disk refuses.
pub fn sync(directory: &Path, bytes: usize, time: Duration) -> Result<SyncFloor, ServerError> {
    let path = directory.join(format!("murmuring-bench-{}", std::process::id()));
    let result = File::create(&path).and_then(|file| append(file, bytes, time));
    let removed = std::fs::remove_file(&path);
    let floor = result.map_err(ServerError::of_file(&path))?;
    removed.map_err(ServerError::of_file(&path))?;
    Ok(floor)
}

fn append(mut file: File, bytes: usize, time: Duration) -> std::io::Result<SyncFloor> {
    let record = vec![7; bytes];
    let (mut latency, begin) = (Latency::new(), Instant::now());
    while begin.elapsed() < time {
        let one = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        latency.record(one.elapsed());
    }
    let per_second = latency.count() as f64 / begin.elapsed().as_secs_f64();
    Ok(SyncFloor { latency, per_second })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_are_counted_and_the_file_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let floor = sync(directory.path(), 100, Duration::from_millis(50)).unwrap();
        assert!(floor.latency.count() > 0 && floor.per_second > 0.0);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
