//! The high-water mark beside the data: the last commit group that was acknowledged. A log that ends before it has lost
//! acknowledged data.
//!
//! ```text
//! two slots of 4,096 bytes, written in turn:   magic 8 │ store id 8 │ group 8 │ xxh3-64 of these 8
//! ```
//!
//! The mark is written after the log's sync, so it is never ahead of durable data. The write reaches the page cache
//! before anybody is answered, so a killed process loses none of it; it is synced now and then, so a machine that loses
//! power may find a mark that is some groups behind, which is only a weaker guard.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::error::{OpenError, Problem};
use super::format::StoreId;

const MAGIC: &[u8; 8] = b"MURMARK1";
const SLOT_BYTES: usize = 4_096;
const RECORD_BYTES: usize = 32;
/// Groups from one sync of the mark to the next.
const GROUPS_UNSYNCED_MAX: u32 = 64;

/// The mark of an open store.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    id: StoreId,
    unsynced: u32,
}

fn record(id: StoreId, group: u64) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(MAGIC);
    record[8..16].copy_from_slice(&id.0.to_le_bytes());
    record[16..24].copy_from_slice(&group.to_le_bytes());
    let check = xxh3_64(&record[..24]);
    record[24..].copy_from_slice(&check.to_le_bytes());
    record
}

fn parse(slot: &[u8], id: StoreId) -> Option<u64> {
    let found: &[u8; RECORD_BYTES] = slot.first_chunk()?;
    let group = u64::from_le_bytes(*found[16..].first_chunk()?);
    (record(id, group) == *found).then_some(group)
}

/// Where the mark of a directory is.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join("mark")
}

/// Reads the mark. One slot may be torn by a crash; both are damage.
pub(super) fn read(directory: &Path, id: StoreId) -> Result<u64, OpenError> {
    let path = path(directory);
    let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let what = "the mark of what was acknowledged is missing beside a store".to_owned();
            OpenError::new(&path, Problem::Lost(what))
        }
        _ => OpenError::system(&path)(error),
    })?;
    let slots = bytes.chunks(SLOT_BYTES).take(2);
    let newest = slots.filter_map(|slot| parse(slot, id)).max();
    newest.ok_or_else(|| OpenError::damaged(&path, "neither slot agrees with its checksum"))
}

impl Mark {
    /// Makes both slots say `group`, durably.
    pub(super) fn create(directory: &Path, id: StoreId, group: u64) -> Result<Self, OpenError> {
        let path = path(directory);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(OpenError::system(&path))?;
        let mut mark = Self { file, id, unsynced: 0 };
        for slot in [1, 0] {
            mark.write_slot(slot, group).map_err(OpenError::system(&path))?;
            mark.sync().map_err(OpenError::system(&path))?;
        }
        Ok(mark)
    }

    fn write_slot(&self, slot: u64, group: u64) -> io::Result<()> {
        self.file.write_all_at(&record(self.id, group), slot * SLOT_BYTES as u64)
    }

    /// Groups up to this one are durable.
    pub(super) fn raise(&mut self, group: u64) -> io::Result<()> {
        self.write_slot(group % 2, group)?;
        self.unsynced += 1;
        if self.unsynced >= GROUPS_UNSYNCED_MAX { self.sync() } else { Ok(()) }
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.unsynced = 0;
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_slot_counts_and_without_one_there_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let id = StoreId(7);
        assert!(matches!(read(directory.path(), id).unwrap_err().problem, Problem::Lost(_)));
        let mut mark = Mark::create(directory.path(), id, 5).unwrap();
        assert_eq!(read(directory.path(), id).unwrap(), 5);
        mark.raise(6).unwrap();
        mark.raise(7).unwrap();
        assert_eq!(read(directory.path(), id).unwrap(), 7);
        assert!(read(directory.path(), StoreId(8)).is_err(), "another store's mark");
        mark.file.write_all_at(b"x", SLOT_BYTES as u64 + 20).unwrap();
        assert_eq!(read(directory.path(), id).unwrap(), 6);
        mark.file.write_all_at(b"x", 20).unwrap();
        assert!(matches!(read(directory.path(), id).unwrap_err().problem, Problem::Damaged(_)));
    }
}
