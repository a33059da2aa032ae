//! ZIP archives written in parts, within bounded memory.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

/// Cause of a failed write.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A name is too long or used twice.
    #[error("an entry cannot be written")]
    Entry(#[from] zip::result::ZipError),
    /// The compressor failed.
    #[error("an entry cannot be compressed")]
    Compress(#[from] io::Error),
}

/// ZIP archive in memory, whose full parts are taken out as it is written.
pub struct Archive {
    zip: Box<ZipWriter<StreamWriter<Shared>>>,
    written: Shared,
    part_size: usize,
    options: SimpleFileOptions,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive")
            .field("part_size", &self.part_size)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<BytesMut>>);

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut BytesMut) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|all| all.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Archive {
    /// Empty archive, whose entries have this time (UTC).
    #[must_use]
    pub fn new(part_size: usize, time: DateTime<Utc>) -> Self {
        let written = Shared::default();
        Self {
            zip: Box::new(ZipWriter::new_stream(written.clone())),
            written,
            part_size: part_size.max(1),
            options: SimpleFileOptions::default()
                .large_file(true)
                .last_modified_time(zip_time(time)),
        }
    }

    /// Begins an entry, compressed or as it is.
    pub fn begin(&mut self, name: &str, is_compressed: bool) -> Result<(), ArchiveError> {
        let method = if is_compressed {
            CompressionMethod::Deflated
        } else {
            CompressionMethod::Stored
        };
        let options = self.options.compression_method(method);
        Ok(self.zip.start_file(name, options)?)
    }

    /// Adds bytes to the entry.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        Ok(self.zip.write_all(bytes)?)
    }

    /// The next full part, if there is one. Call it until there is none after each write.
    pub fn take_part(&mut self) -> Option<Bytes> {
        let size = self.part_size;
        self.written
            .with(|all| (all.len() >= size).then(|| all.split_to(size).freeze()))
    }

    /// Ends the archive; returns the parts that are left, of which the last may be smaller.
    pub fn finish(self) -> Result<Vec<Bytes>, ArchiveError> {
        self.zip.finish()?;
        let mut all = self.written.with(BytesMut::split).freeze();
        let mut parts = Vec::new();
        while !all.is_empty() {
            let size = self.part_size.min(all.len());
            parts.push(all.split_to(size));
        }
        Ok(parts)
    }
}

/// A ZIP entry has times from 1980 to 2107; others are its earliest time.
fn zip_time(time: DateTime<Utc>) -> zip::DateTime {
    let part = |number: u32| u8::try_from(number).unwrap_or_default();
    let year = u16::try_from(time.year()).unwrap_or_default();
    zip::DateTime::from_date_and_time(
        year,
        part(time.month()),
        part(time.day()),
        part(time.hour()),
        part(time.minute()),
        part(time.second()),
    )
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _};

    use zip::ZipArchive;

    use super::*;

    #[test]
    fn an_archive_is_read_back_from_its_parts() {
        let mut archive = Archive::new(1_000, DateTime::<Utc>::UNIX_EPOCH);
        let mut all = Vec::new();
        let mut parts = 0;
        for (name, is_compressed) in [("a.json", true), ("b/c.bin", false)] {
            archive.begin(name, is_compressed).expect("it is a name");
            for at in 0..1_000_u32 {
                archive.write(&at.to_le_bytes()).expect("it is written");
                while let Some(part) = archive.take_part() {
                    assert_eq!(part.len(), 1_000);
                    all.extend_from_slice(&part);
                    parts += 1;
                }
            }
        }
        for part in archive.finish().expect("it ends") {
            assert!(part.len() <= 1_000);
            all.extend_from_slice(&part);
        }
        assert!(parts > 3, "{parts} parts");
        let mut read = ZipArchive::new(Cursor::new(all)).expect("it is a ZIP");
        for name in ["a.json", "b/c.bin"] {
            let mut bytes = Vec::new();
            let mut entry = read.by_name(name).expect("it is an entry");
            entry
                .read_to_end(&mut bytes)
                .expect("its checksum is right");
            assert_eq!(bytes.len(), 4_000);
            assert_eq!(bytes[3_996..], 999_u32.to_le_bytes());
        }
    }

    #[test]
    fn a_name_is_an_entry_once() {
        let mut archive = Archive::new(1_000, DateTime::<Utc>::UNIX_EPOCH);
        archive.begin("a", true).expect("it is a name");
        assert!(archive.begin("a", true).is_err());
    }
}
