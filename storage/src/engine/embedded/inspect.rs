//! The check of the tree's files before the tree is opened, because opening believes more than it proves: it removes
//! files that its list does not name, and reads a table's blocks only when they are asked for.
//!
//! ```text
//! tree/current        number of the list 8 │ xxh3-128 of the list's file 16 │ 0
//! tree/v<number>      the list: tables by level, each with the xxh3-128 of its file   (an sfa archive)
//! tree/tables/<id>    a table
//! ```

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::error::OpenError;

/// A table of the list.
struct Listed {
    path: PathBuf,
    checksum: u128,
}

/// Proves that the tree's list is whole, and that its tables are: the newest ones, up to `bytes_max` bytes in all.
pub(super) fn check(tree: &Path, bytes_max: u64) -> Result<(), OpenError> {
    let list = check_list(tree)?;
    let mut tables = read_list(tree, &list)
        .map_err(|error| OpenError::damaged(&list, format!("the list of tables does not parse: {error}")))?;
    // Ids ascend with time: what is newest has been checked least often.
    tables.sort_by_key(|table| std::cmp::Reverse(table.path.clone()));
    let mut bytes = 0;
    for table in tables {
        let length = match fs::metadata(&table.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(OpenError::lost(&table.path, "this table is missing"));
            }
            Err(error) => return Err(OpenError::system(&table.path)(error)),
        };
        bytes += length;
        if bytes <= bytes_max && hash(&table.path).map_err(OpenError::system(&table.path))? != table.checksum
        {
            return Err(OpenError::damaged(&table.path, "its checksum does not agree"));
        }
    }
    Ok(())
}

/// The file of the current list, proven whole.
fn check_list(tree: &Path) -> Result<PathBuf, OpenError> {
    let current = tree.join("current");
    let bytes = match fs::read(&current) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::lost(&current, "the name of the tree's list of tables is missing"));
        }
        Err(error) => return Err(OpenError::system(&current)(error)),
    };
    let parsed = parse_current(&bytes);
    let (number, checksum) =
        parsed.ok_or_else(|| OpenError::damaged(&current, "it does not name a list of tables"))?;
    let list = tree.join(format!("v{number}"));
    let bytes = match fs::read(&list) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::lost(&list, "the tree's list of tables is missing"));
        }
        Err(error) => return Err(OpenError::system(&list)(error)),
    };
    if xxh3_128(&bytes) != checksum {
        return Err(OpenError::damaged(&list, "the checksum of the tree's list of tables does not agree"));
    }
    Ok(list)
}

fn parse_current(bytes: &[u8]) -> Option<(u64, u128)> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    let (checksum, rest) = rest.split_first_chunk::<16>()?;
    (*rest == [0]).then_some((u64::from_le_bytes(*number), u128::from_le_bytes(*checksum)))
}

fn read_list(tree: &Path, list: &Path) -> io::Result<Vec<Listed>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let archive = sfa::Reader::new(list).map_err(|_| invalid())?;
    let section = archive.toc().section(b"tables").ok_or_else(invalid)?;
    let mut reader = section.buf_reader(list).map_err(|_| invalid())?;
    let mut tables = Vec::new();
    for _level in 0..u8::from_le_bytes(take(&mut reader)?) {
        for _run in 0..u8::from_le_bytes(take(&mut reader)?) {
            for _table in 0..u32::from_le_bytes(take(&mut reader)?) {
                let id = u64::from_le_bytes(take(&mut reader)?);
                let [_checksum_kind] = take(&mut reader)?;
                let checksum = u128::from_le_bytes(take(&mut reader)?);
                let _seqno: [u8; 8] = take(&mut reader)?;
                tables.push(Listed { path: tree.join("tables").join(id.to_string()), checksum });
            }
        }
    }
    Ok(tables)
}

fn take<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn hash(path: &Path) -> io::Result<u128> {
    let mut file = File::open(path)?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.digest128()),
            length => hash.update(&buffer[..length]),
        }
    }
}
