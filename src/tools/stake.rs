//! What a damaged directory stands to lose, and which command saves the rest: by the rules that `repair` goes by.

use crate::disk::Disk;
use crate::error::StoreError;
use crate::log::Lsn;

use super::damage::{self, Assessment};
use super::json::Json;
use super::repair::lacks_its_manifest;
use super::salvage::{self, Choice};
use super::salvage_repair::{file_json, file_text};

pub struct Stake {
    pub extent: Assessment,
    /// The snapshot that a repair goes by, where the beginning of the log alone won't do.
    choice: Option<Choice>,
    /// Nothing can be made of the directory until a copy of its manifest is put back.
    lacks_manifest: bool,
}

impl Stake {
    /// `refuse_at` as in [`damage::assess`].
    pub fn assess(disk: &dyn Disk, refuse_at: Option<Lsn>) -> Result<Self, StoreError> {
        let extent = damage::assess(disk, refuse_at, &mut |_| Ok(()))?;
        let choice = match &extent.listing.manifest {
            Some(manifest) => match salvage::needed(disk, manifest, &extent.walked) {
                // What lists the snapshots is damaged: which they are is not to be had.
                Err(StoreError::Corruption(_)) => None,
                other => other?,
            },
            None => None,
        };
        let lacks_manifest = extent.listing.manifest.is_none() && lacks_its_manifest(disk, &extent);
        Ok(Self { extent, choice, lacks_manifest })
    }

    fn damaged_snapshot(&self) -> Option<&Choice> {
        self.choice.as_ref().filter(|choice| choice.is_damaged())
    }

    pub fn text(&self) -> String {
        let extent = &self.extent;
        let Some(choice) = self.damaged_snapshot() else {
            let mut text = extent.text();
            if let Some(choice) =
                self.choice.as_ref().filter(|choice| extent.good_lsn < choice.catalog.through)
            {
                text.push_str(&format!(
                    "  the snapshot through LSN {} is whole: damage to the log before that costs no key\n",
                    choice.catalog.through
                ));
            }
            text.push_str(if self.lacks_manifest {
                "Put back MANIFEST-a or MANIFEST-b from a backup: without it nothing tells which snapshot belongs to the log.\n"
            } else {
                "Restore the damaged file from a backup. Without one, `duramen repair DIR --into COPY` makes a directory of the good \
                 part.\n"
            });
            return text;
        };
        let damaged = choice.files.iter().filter(|file| !file.damages.is_empty());
        let mut text: String = damaged.map(file_text).collect();
        if extent.walked.breaks.is_empty() && extent.lost_records == 0 {
            text.push_str(&format!(
                "  log: LSN {} to {}, {} records, whole\n",
                extent.walked.first_lsn, extent.good_lsn, extent.good_records
            ));
        } else {
            text.push_str(&extent.text());
        }
        text.push_str(&format!(
            "  at stake: {} rows of the snapshot through LSN {}, and what the log behind it does to their keys\n\
             Put the damaged file back from a backup. Without one, `duramen repair DIR --salvage --into COPY` makes a directory of every key \
             that is certain to be as it was, and names the others; without `--salvage` it tells them and writes nothing.\n",
            choice.lost_rows(),
            choice.catalog.through
        ));
        text
    }

    /// Of the snapshot; null unless it is damaged.
    pub fn snapshot_json(&self) -> Json {
        let of = |choice: &Choice| {
            let damaged = choice.files.iter().filter(|file| !file.damages.is_empty());
            Json::Object(vec![
                ("snapshot_lsn", choice.catalog.through.into()),
                ("lost_rows", choice.lost_rows().into()),
                ("files", Json::list(damaged.map(file_json))),
            ])
        };
        self.damaged_snapshot().map(of).into()
    }
}
