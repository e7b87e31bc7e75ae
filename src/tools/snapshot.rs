//! The part of each report that is about snapshots. Whoever loads the store says whether the files were read.

use crate::disk::Disk;
use crate::log::manifest::Manifest;

use super::json::Json;

const FOLDER: &str = "snapshot";

/// Snapshot files in the directory, and lists in the manifest that are not the log's.
pub struct Snapshot {
    pub files: Vec<String>,
    /// Tag and length of each list.
    pub sections: Vec<(u32, u64)>,
    /// All that the manifest lists was loaded, every checksum on the way.
    pub verified: bool,
}

impl Snapshot {
    pub fn find(disk: &dyn Disk, manifest: Option<&Manifest>) -> Self {
        let sections = manifest.iter().flat_map(|m| &m.sections);
        Self {
            // No folder: no snapshots.
            files: disk.list(FOLDER).unwrap_or_default(),
            sections: sections.map(|s| (s.tag, s.bytes.len() as u64)).collect(),
            verified: false,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.sections.is_empty()
    }

    /// Paths inside the data directory.
    pub fn paths(&self) -> impl Iterator<Item = String> {
        self.files.iter().map(|name| format!("{FOLDER}/{name}"))
    }

    pub fn json(&self) -> Json {
        let sections = self
            .sections
            .iter()
            .map(|&(tag, bytes)| Json::Object(vec![("tag", u64::from(tag).into()), ("bytes", bytes.into())]));
        Json::Object(vec![
            ("files", Json::list(self.files.iter().map(String::as_str))),
            ("sections", Json::list(sections)),
            ("verified", self.verified.into()),
        ])
    }

    pub fn text(&self) -> String {
        match self.files.len() {
            0 if self.is_empty() => "snapshots: none".to_owned(),
            files => {
                let read = if self.verified { "loaded and verified" } else { "not read by this tool" };
                format!("snapshots: {files} files, {read}")
            }
        }
    }
}
