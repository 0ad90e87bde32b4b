//! The write-ahead log: every commit group is here, synced, before it is anywhere else. Segments are files that are
//! named by their first group; one is removed when the tree's tables hold all of its groups.
//!
//! The log is read strictly. The only bytes that may be missing are those of the last group, never acknowledged, at the
//! end of the last segment: the torn end of a write that a crash interrupted.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::OpenError;
use super::format::{StoreId, sync_directory};
use super::frame::{self, Change, Frames, HEADER_BYTES};

/// The log of an open store.
#[derive(Debug)]
pub(super) struct Log {
    directory: PathBuf,
    id: StoreId,
    /// Segments before the active one, and their last groups.
    sealed: VecDeque<(PathBuf, u64)>,
    active: File,
    active_path: PathBuf,
    active_bytes: u64,
    /// The group that is written next.
    next: u64,
    buffer: Vec<u8>,
}

/// A segment that was found, in order.
struct Segment {
    path: PathBuf,
    first: u64,
}

fn segment_path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.log"))
}

/// Makes an empty segment, durably.
fn create_segment(directory: &Path, id: StoreId, first: u64) -> Result<File, OpenError> {
    let path = segment_path(directory, first);
    let file = OpenOptions::new().create_new(true).write(true).open(&path);
    let mut file = file.map_err(OpenError::system(&path))?;
    file.write_all(&frame::header(id, first))
        .and_then(|()| file.sync_all())
        .map_err(OpenError::system(&path))?;
    sync_directory(directory)?;
    Ok(file)
}

fn list(directory: &Path) -> Result<Vec<Segment>, OpenError> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory).map_err(OpenError::system(directory))? {
        let path = entry.map_err(OpenError::system(directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let first = name.strip_suffix(".log").and_then(|first| first.parse().ok());
        match first {
            Some(first) if segment_path(directory, first) == path => segments.push(Segment { path, first }),
            _ => return Err(OpenError::damaged(&path, "this file does not belong into the log")),
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

/// What the log must hold at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// The tree's tables hold all groups up to this one.
    pub(super) in_tree: u64,
    /// Groups up to this one were acknowledged.
    pub(super) acknowledged: u64,
}

impl Log {
    /// Makes the log of a new store.
    pub(super) fn create(directory: &Path, id: StoreId) -> Result<(), OpenError> {
        fs::create_dir_all(directory).map_err(OpenError::system(directory))?;
        create_segment(directory, id, 1).map(drop)
    }

    /// Opens the log and hands every group that the tree's tables may lack to `replay`, in order, with the number of
    /// the group. Changes nothing before all is checked.
    pub(super) fn open(
        directory: &Path,
        id: StoreId,
        expected: Expected,
        mut replay: impl FnMut(u64, Vec<Change>) -> Result<(), OpenError>,
    ) -> Result<Self, OpenError> {
        let mut segments = list(directory)?;
        Self::drop_unborn(directory, id, &mut segments, expected)?;
        let Some(first) = segments.first().map(|segment| segment.first) else {
            return Err(OpenError::lost(directory, "the log has no segment"));
        };
        if first > expected.in_tree + 1 {
            let what = format!("it begins with group {first}, but the tree ends with {}", expected.in_tree);
            return Err(OpenError::lost(directory, what));
        }
        let end = Self::check(directory, id, &segments, expected)?;
        for segment in &segments {
            Self::replay(segment, id, expected.in_tree, &mut replay)?;
        }
        Self::continue_at(directory, id, segments, end)
    }

    /// Removes a last segment that a crash left without its header. It never held a group.
    fn drop_unborn(
        directory: &Path,
        id: StoreId,
        segments: &mut Vec<Segment>,
        expected: Expected,
    ) -> Result<(), OpenError> {
        let Some(last) = segments.last() else { return Ok(()) };
        let bytes = fs::read(&last.path).map_err(OpenError::system(&last.path))?;
        let unborn = bytes.len() <= HEADER_BYTES && Frames::new(&bytes, id, last.first).is_none();
        let acknowledged = expected.acknowledged.max(expected.in_tree);
        if unborn && acknowledged < last.first && (segments.len() > 1 || last.first == acknowledged + 1) {
            fs::remove_file(&last.path).map_err(OpenError::system(&last.path))?;
            let last = segments.pop().expect("looked at just now");
            if segments.is_empty() {
                create_segment(directory, id, last.first)?;
                segments.push(last);
            }
        }
        Ok(())
    }

    /// Reads all segments and says where the log ends: the next group, and the length of the last segment.
    fn check(
        directory: &Path,
        id: StoreId,
        segments: &[Segment],
        expected: Expected,
    ) -> Result<End, OpenError> {
        let mut next = segments[0].first;
        let mut length = 0;
        for (index, segment) in segments.iter().enumerate() {
            if segment.first != next {
                let what = format!("group {next} is in no segment of the log");
                return Err(OpenError::lost(directory, what));
            }
            let bytes = fs::read(&segment.path).map_err(OpenError::system(&segment.path))?;
            let Some(mut frames) = Frames::new(&bytes, id, segment.first) else {
                return Err(OpenError::damaged(&segment.path, "its header is not what was written"));
            };
            while frames.next().is_some() {}
            if !frames.at_end() {
                let last = index + 1 == segments.len();
                Self::check_torn(&segment.path, &frames, last, expected)?;
            }
            (next, length) = (frames.group, frames.offset as u64);
        }
        let acknowledged = expected.acknowledged.max(expected.in_tree);
        if next <= acknowledged {
            let what =
                format!("the log ends with group {}, but group {acknowledged} was acknowledged", next - 1);
            return Err(OpenError::lost(directory, what));
        }
        Ok(End { next, length })
    }

    /// A frame is broken: is that the torn end of a group that nobody was told of?
    fn check_torn(path: &Path, frames: &Frames<'_>, last: bool, expected: Expected) -> Result<(), OpenError> {
        let group = frames.group;
        let at = frames.offset;
        if group <= expected.acknowledged.max(expected.in_tree) || !last {
            let what = format!("group {group} at byte {at} does not agree with its checksum");
            return Err(OpenError::damaged(path, what));
        }
        match frames.whole_behind() {
            None => Ok(()),
            Some(later) => {
                let what =
                    format!("group {group} at byte {at} is broken, but group {later} behind it is whole");
                Err(OpenError::damaged(path, what))
            }
        }
    }

    fn replay(
        segment: &Segment,
        id: StoreId,
        in_tree: u64,
        replay: &mut impl FnMut(u64, Vec<Change>) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let bytes = fs::read(&segment.path).map_err(OpenError::system(&segment.path))?;
        let mut frames = Frames::new(&bytes, id, segment.first).expect("checked before");
        while let Some(payload) = frames.next() {
            let group = frames.group - 1;
            if group > in_tree {
                let changes = frame::changes(payload);
                let changes = changes.ok_or_else(|| {
                    OpenError::damaged(&segment.path, format!("group {group} is whole but makes no sense"))
                })?;
                replay(group, changes)?;
            }
        }
        Ok(())
    }

    fn continue_at(
        directory: &Path,
        id: StoreId,
        mut segments: Vec<Segment>,
        end: End,
    ) -> Result<Self, OpenError> {
        let last = segments.pop().expect("a log has a segment");
        let next_firsts = segments.iter().skip(1).map(|segment| segment.first).chain([last.first]);
        let lasts: Vec<u64> = next_firsts.map(|first| first - 1).collect();
        let sealed = segments.into_iter().map(|segment| segment.path).zip(lasts).collect();
        let mut active =
            OpenOptions::new().write(true).open(&last.path).map_err(OpenError::system(&last.path))?;
        active
            .set_len(end.length)
            .and_then(|()| active.sync_all())
            .and_then(|()| active.seek(SeekFrom::End(0)))
            .map_err(OpenError::system(&last.path))?;
        Ok(Self {
            directory: directory.to_owned(),
            id,
            sealed,
            active,
            active_path: last.path,
            active_bytes: end.length,
            next: end.next,
            buffer: Vec::new(),
        })
    }

    /// Writes a group and syncs it. Its number.
    ///
    /// # Errors
    /// When it may not be durable. The log is not to be used any more.
    pub(super) fn append<'a>(
        &mut self,
        changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> io::Result<u64> {
        self.buffer.clear();
        frame::encode(&mut self.buffer, self.next, changes);
        self.active.write_all(&self.buffer)?;
        self.active.sync_data()?;
        self.active_bytes += self.buffer.len() as u64;
        self.next += 1;
        Ok(self.next - 1)
    }

    /// Bytes of the segment that is being written.
    pub(super) fn active_bytes(&self) -> u64 {
        self.active_bytes
    }

    /// The segment that is being written.
    pub(super) fn active_path(&self) -> &Path {
        &self.active_path
    }

    /// The last group that was written.
    pub(super) fn last(&self) -> u64 {
        self.next - 1
    }

    /// Ends the segment and begins another.
    pub(super) fn rotate(&mut self) -> Result<(), OpenError> {
        let active = create_segment(&self.directory, self.id, self.next)?;
        let path = segment_path(&self.directory, self.next);
        self.active = active;
        let sealed = std::mem::replace(&mut self.active_path, path);
        self.sealed.push_back((sealed, self.next - 1));
        self.active_bytes = HEADER_BYTES as u64;
        Ok(())
    }

    /// Gives up segments that hold only groups up to `in_tree`, to be removed oldest first: what stays is dense at any time.
    pub(super) fn trim(&mut self, in_tree: u64) -> Vec<PathBuf> {
        let count = self.sealed.iter().take_while(|(_, last)| *last <= in_tree).count();
        self.sealed.drain(..count).map(|(path, _)| path).collect()
    }
}

/// Where a log ends.
#[derive(Clone, Copy, Debug)]
struct End {
    next: u64,
    /// Bytes of the last segment that hold whole groups.
    length: u64,
}
