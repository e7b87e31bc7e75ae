//! What a backup of a live log is made of: the sealed segments up to a position between two records, and a manifest that lists
//! them and nothing else, as after an orderly end there.
//!
//! A sealed segment is never written again, by any process: the writer goes on in the next, recovery copies what it doubts into a
//! new one, and segments are removed, not used again. One thing may still happen to the file: its unused end is cut off, by a start
//! or an orderly end, at the place that the manifest names. So a second name for it in another directory is as good as a copy,
//! provided that both manifests name that place: [`Log::image`] sees to it that ours does, on the medium.
//!
//! What it does **not** promise: that the files stay while they are linked or copied. Only [`Log::publish`] removes them; who calls
//! that must not do so meanwhile.

use std::io;

use crate::disk::{Disk, Open};
use crate::error::StoreError;

use super::frame::Flags;
use super::manifest::{self, COPIES, Manifest, SegmentEnd, SegmentEntry};
use super::reader::{SegmentReader, Step, Window};
use super::scan::corruption;
use super::{Log, Lsn, Section, open, segment};

/// The log as it was when it reached [`Image::end_lsn`].
#[derive(Debug)]
pub struct Image {
    manifest: Manifest,
    files: Vec<ImageFile>,
    end_lsn: Lsn,
}

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    pub path: String,
    /// Of the file's beginning: nothing behind them counts.
    pub bytes: u64,
    /// It is still written to behind those bytes: it must be copied.
    pub is_active: bool,
}

impl Image {
    /// The end of a record; everything before it is in the image.
    pub fn end_lsn(&self) -> Lsn {
        self.end_lsn
    }

    pub fn files(&self) -> &[ImageFile] {
        &self.files
    }

    /// The lists of upper floors, of the same moment.
    pub fn sections(&self) -> &[Section] {
        &self.manifest.sections
    }

    /// Makes every start on the directory refuse until [`Image::publish`]. On the medium after `sync_dir`, which must come before any
    /// file; its bytes need no sync, for an empty manifest is refused like this one.
    pub fn mark_unfinished(disk: &dyn Disk) -> io::Result<()> {
        disk.open(COPIES[0], Open::Create)?.write_all_at(manifest::UNFINISHED, 0)
    }

    /// Makes the directory a store, when all files are on its medium.
    pub fn publish(mut self, disk: &dyn Disk) -> io::Result<()> {
        manifest::replace(disk, &mut self.manifest)
    }

    /// Takes back what the other two have put there, as far as it goes.
    pub fn withdraw(disk: &dyn Disk) {
        for copy in COPIES {
            for path in [copy.to_owned(), format!("{copy}.tmp")] {
                // What stays makes a start refuse.
                let _ = disk.remove(&path);
            }
        }
        let _ = disk.sync_dir("");
    }
}

impl Log {
    /// The log up to the first place that is at least `through`, the end of a record and the end of a segment. `None`: there is no
    /// such place yet; ask for another [`Log::seal`] and wait for it.
    pub fn image(&self, through: Lsn) -> Result<Option<Image>, StoreError> {
        if self.shared.is_failed() {
            return Err(self.failed());
        }
        let manifest = self.shared.catalog.lock().clone();
        let begun: Vec<SegmentEntry> =
            manifest.segments.iter().filter(|s| s.first_lsn.is_some()).copied().collect();
        let mut chosen = None;
        for (index, entry) in begun.iter().enumerate() {
            match entry.end {
                Some(end) if end.lsn >= through && self.ends_with_a_record(&begun[..=index])? => {
                    chosen = Some((index, end.lsn));
                    break;
                }
                // All before it has been given up, so the record that ended there is whole.
                None if index == 0 && entry.first_lsn >= Some(through) => {
                    chosen = entry.first_lsn.map(|lsn| (index, lsn));
                }
                _ => {}
            }
        }
        let Some((last, end_lsn)) = chosen else { return Ok(None) };
        // A start on the image may cut the unused ends of the files that it shares with us: our manifest must not ask for more.
        self.shared.update_manifest(|_| {}).map_err(StoreError::io("write the manifest"))?;
        Ok(Some(Image::of(manifest, &begun[..=last], end_lsn)))
    }

    /// Whether a record ends where the last of these segments does. That segment is verified on the way.
    fn ends_with_a_record(&self, begun: &[SegmentEntry]) -> Result<bool, StoreError> {
        for entry in begun.iter().rev() {
            let (Some(first_lsn), Some(end)) = (entry.first_lsn, entry.end) else { continue };
            let listed = open::open_segment(&*self.shared.disk, &self.shared.store_id, entry)?;
            let path = segment::path(entry.sequence);
            let mut window = Window::default();
            let mut reader =
                SegmentReader::new(&*listed.file, &mut window, *entry, listed.block, end.offset, first_lsn);
            let mut ends = None;
            let why = loop {
                match reader.step().map_err(StoreError::io(format!("read {path}")))? {
                    Step::Frame { payload: [], .. } => {}
                    Step::Frame { header, .. } => ends = Some(header.flags.contains(Flags::COMMIT)),
                    Step::Unsupported(why) => return Err(corruption(path, reader.offset(), why)),
                    Step::Blank => break "nothing is written here",
                    Step::Bad(why) => break why,
                }
            };
            let found = SegmentEnd { offset: reader.offset(), lsn: reader.lsn() };
            if found != end {
                let reason =
                    format!("{why}, and the segment was good up to offset {} when it ended", end.offset);
                return Err(corruption(path, found.offset, reason));
            }
            if let Some(ends) = ends {
                return Ok(ends);
            }
        }
        // Nothing but segments without records: the log begins between two of them.
        Ok(true)
    }
}

impl Image {
    fn of(mut manifest: Manifest, segments: &[SegmentEntry], end_lsn: Lsn) -> Self {
        let mut files = Vec::with_capacity(segments.len());
        manifest.segments = segments.to_vec();
        for entry in &mut manifest.segments {
            let is_active = entry.end.is_none();
            let end = *entry.end.get_or_insert(SegmentEnd { offset: segment::HEADER_LEN, lsn: end_lsn });
            files.push(ImageFile { path: segment::path(entry.sequence), bytes: end.offset, is_active });
        }
        manifest.synced_through = end_lsn;
        manifest.terms.retain(|start| start.first_lsn <= end_lsn);
        Self { manifest, files, end_lsn }
    }
}
