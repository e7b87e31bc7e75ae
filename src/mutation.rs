//! Safeguards that a test build can switch off, one at a time, to prove that a test notices.
//!
//! Without the feature `mutations` (the rule) [`is_off`] is a constant and nothing of this is in the program. With it, the
//! environment variable `DURAMEN_MUTATION` names the one that is off, in every process that inherits it. `tests/mutations.txt` says
//! which tests must fail then, and `tests/mutations.sh` sees that they do. Not promised: that a server with a safeguard off does
//! anything but break.

/// Declares each safeguard with its name.
macro_rules! safeguards {
    ($($safeguard:ident $name:literal,)*) => {
        /// What keeps a promise, and what it is called.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Safeguard { $($safeguard,)* }

        impl Safeguard {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$safeguard,)*];

            /// As in `DURAMEN_MUTATION`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$safeguard => $name,)* }
            }
        }
    };
}

safeguards! {
    // Replies.
    WriteGate "write-gate",
    ReadGate "read-gate",
    AbsentGate "absent-gate",
    ChangeNote "change-note",
    FloorNote "floor-note",
    EverythingGate "everything-gate",
    ServedGate "served-gate",
    WrittenGate "written-gate",
    EverysecLate "everysec-late",
    OwnLevel "own-level",
    HeldDemand "held-demand",
    PushGate "push-gate",
    // The latch.
    FailureFinal "failure-final",
    LatchWritten "latch-written",
    LatchDurable "latch-durable",
    LatchSync "latch-sync",
    LatchHeld "latch-held",
    LatchReads "latch-reads",
    LatchWaitaof "latch-waitaof",
    LatchExpiryFound "latch-expiry-found",
    LatchExpiryCycle "latch-expiry-cycle",
    AdmitFailed "admit-failed",
    AdmitSpace "admit-space",
    AdmitBuffer "admit-buffer",
    // The log.
    LogSync "log-sync",
    OneSync "one-sync",
    SyncCaptured "sync-captured",
    ShortWrite "short-write",
    SpaceNotFinal "space-not-final",
    RollSync "roll-sync",
    Witness "witness",
    CloseSync "close-sync",
    CloseWitnessSync "close-witness-sync",
    // Segments and manifest.
    SegmentSync "segment-sync",
    SegmentName "segment-name",
    SegmentListed "segment-listed",
    StartNames "start-names",
    ManifestSync "manifest-sync",
    ManifestOrder "manifest-order",
    ManifestName "manifest-name",
    RewriteCopies "rewrite-copies",
    RewriteSync "rewrite-sync",
    RewriteMark "rewrite-mark",
    Lock "lock",
    // Snapshots and what is given up for them.
    SnapshotSync "snapshot-sync",
    SnapshotName "snapshot-name",
    SnapshotFolderName "snapshot-folder-name",
    PublishFirst "publish-first",
    RetireOrder "retire-order",
    PassedOverOrder "passed-over-order",
    RetainedLog "retained-log",
    RetainedFiles "retained-files",
    RoundsKeepNothing "rounds-keep-nothing",
    RoomReserve "room-reserve",
    RoomFits "room-fits",
    NoSpaceReserve "no-space-reserve",
    // New directories.
    CopySync "copy-sync",
    CutSync "cut-sync",
    CopyLogNames "copy-log-names",
    CopySnapshotNames "copy-snapshot-names",
    CopyFolderNames "copy-folder-names",
    CopyManifestLast "copy-manifest-last",
    BackupMark "backup-mark",
    BackupFolderNames "backup-folder-names",
    BackupSync "backup-sync",
    BackupNames "backup-names",
    RepairFolderName "repair-folder-name",
    RepairNames "repair-names",
    SalvageNames "salvage-names",
    SalvageFolderNames "salvage-folder-names",
    AsideNames "aside-names",
    // The seam to the system.
    OsSync "os-sync",
    OsSyncDir "os-sync-dir",
    DirectSync "direct-sync",
    UringSync "uring-sync",
    UringFallbackSync "uring-fallback-sync",
    TargetName "target-name",
    TextSync "text-sync",
    TextName "text-name",
    DataDirName "data-dir-name",
    // The engine.
    ClockJump "clock-jump",
    HiddenKey "hidden-key",
    TransactionWhole "transaction-whole",
    // What hostile clients may take.
    Turns "turns",
    TuckAway "tuck-away",
    IdleTimeout "idle-timeout",
    BulkLenMax "bulk-len-max",
    ExpectedDollar "expected-dollar",
    EmptyGoesOn "empty-goes-on",
    QueryLimit "query-limit",
    HalfClose "half-close",
    Maxclients "maxclients",
    Forgotten "forgotten",
    BlockedBytes "blocked-bytes",
    StrangerOutput "stranger-output",
    HeldReplies "held-replies",
    ClientsMemory "clients-memory",
}

/// Whether this safeguard is switched off.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
pub const fn is_off(_: Safeguard) -> bool {
    false
}

/// Whether this safeguard is switched off.
#[cfg(feature = "mutations")]
pub fn is_off(safeguard: Safeguard) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Safeguard>> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("DURAMEN_MUTATION").ok().filter(|name| !name.is_empty())?;
        let known = Safeguard::ALL.iter().find(|known| known.name() == name);
        // A misspelt name would prove nothing.
        Some(*known.unwrap_or_else(|| panic!("DURAMEN_MUTATION={name}: there is no such safeguard")))
    }) == Some(safeguard)
}

/// `outcome`, unless the safeguard is off: then nothing is done and all seems well.
#[inline(always)]
pub fn unless_off<E>(safeguard: Safeguard, outcome: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    if is_off(safeguard) { Ok(()) } else { outcome() }
}
