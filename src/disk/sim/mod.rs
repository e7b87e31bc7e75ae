//! A disk in memory that crashes. It keeps what was synced apart from what was only handed to the kernel, for bytes, lengths
//! and names alike, and can say what a machine finds after power loss ([`SimDisk::crash`]) or after SIGKILL
//! ([`SimDisk::kill`]). It fails, fills up, stops and holds syncs on demand. Seeded: the same calls give the same outcome.
//!
//! What it assumes of a real disk, and so does not simulate: a 512-byte sector is written whole or not at all (or, with
//! [`CrashStyle::RandomWithGarbage`], with noise in the place of the bytes that were being written, never of others); synced bytes
//! don't rot (damage them with [`SimDisk::write_raw`]); a rename is atomic.

mod crash;
mod faults;
mod file;
mod names;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::prng::Prng;
use super::{Disk, File, Lock, LogIo, LogMode, Open, Target};
pub use crash::CrashStyle;
pub use faults::{Fault, FaultRule, OpKind};
use faults::{Faults, Permit};
use file::{Inode, SimFile};
use names::{Entry, Names};

/// The unit in which a write may be torn, bytes.
pub const SECTOR_LEN: u64 = 512;
/// Free bytes of a disk without a capacity.
const UNLIMITED: u64 = 1 << 40;

/// A simulated data directory. Clones are handles to the same disk. The methods that are not those of [`Disk`] are about the whole
/// disk, whichever folder of it the handle is for.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
    /// The folder that [`Disk`] sees as the data directory; empty for all of the disk.
    folder: String,
}

struct Shared {
    state: Mutex<State>,
    /// Notified when a sync begins or ends to be held, when syncs are released, and when the disk stops.
    changed: Condvar,
}

struct State {
    prng: Prng,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    names: Names,
    locks: BTreeSet<String>,
    faults: Faults,
    capacity: Option<u64>,
    log_io: LogIo,
    has_direct: bool,
    has_allocate: bool,
    has_links: bool,
    holding_syncs: bool,
    /// Syncs that have begun and wait to be released.
    held_syncs: usize,
    /// Held syncs that may go on.
    passes: usize,
    /// The disk as it was before each mutation, while it is recorded.
    images: Option<Vec<SimDisk>>,
}

impl SimDisk {
    /// An empty disk. `seed` decides what is left to chance while it runs (what a failed sync has written).
    pub fn new(seed: u64) -> Self {
        Self::from_parts(Prng::new(seed), BTreeMap::new(), 1, Names::default(), None)
    }

    fn from_parts(
        prng: Prng,
        inodes: BTreeMap<u64, Inode>,
        next_inode: u64,
        names: Names,
        capacity: Option<u64>,
    ) -> Self {
        let state = State {
            prng,
            inodes,
            next_inode,
            names,
            locks: BTreeSet::new(),
            faults: Faults::default(),
            capacity,
            log_io: LogIo::Auto,
            has_direct: true,
            has_allocate: true,
            has_links: true,
            holding_syncs: false,
            held_syncs: 0,
            passes: 0,
            images: None,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        Self { shared, folder: String::new() }
    }

    /// A handle that has a folder of this disk as its data directory.
    pub fn within(&self, folder: &str) -> Self {
        Self { shared: self.shared.clone(), folder: self.at(folder) }
    }

    /// A path on the whole disk.
    fn at(&self, path: &str) -> String {
        match (self.folder.as_str(), path) {
            ("", path) => path.to_owned(),
            (folder, "") => folder.to_owned(),
            (folder, path) => format!("{folder}/{path}"),
        }
    }

    /// The disk after power loss at this moment: an independent disk without locks, faults and holds, its counters at zero. What
    /// was synced is there; of the rest, what `style` and `seed` choose.
    pub fn crash(&self, seed: u64, style: CrashStyle) -> Self {
        let state = self.state();
        let mut prng = Prng::new(seed);
        let names = state.names.after_crash(style, &mut prng);
        let kept = names.inodes();
        let inodes = state.inodes.iter().filter(|(id, _)| kept.contains(id));
        let inodes = inodes.map(|(&id, inode)| (id, inode.after_crash(style, &mut prng))).collect();
        Self::from_parts(prng, inodes, state.next_inode, names, state.capacity).like(&state)
    }

    /// The disk after SIGKILL at this moment: an independent disk without locks, faults and holds, its counters at zero. Everything
    /// that was handed to the kernel is there, and what was not synced still is not: a later `crash` may lose it.
    pub fn kill(&self) -> Self {
        Self::image(&self.state())
    }

    fn image(state: &State) -> Self {
        let inodes = state.inodes.iter().map(|(&id, inode)| (id, inode.without_handles())).collect();
        let disk = Self::from_parts(
            state.prng.clone(),
            inodes,
            state.next_inode,
            state.names.clone(),
            state.capacity,
        )
        .like(state);
        disk.state().collect_garbage();
        disk
    }

    /// From now on keeps the disk as it is before every mutation: what [`SimDisk::kill`] would give there.
    pub fn record(&self) {
        self.state().images = Some(Vec::new());
    }

    /// The images since [`SimDisk::record`], which ends.
    pub fn recorded(&self) -> Vec<Self> {
        self.state().images.take().unwrap_or_default()
    }

    /// Makes the nth operation of a kind from now on fail, once; 1 is the next one.
    pub fn fail_nth(&self, kind: OpKind, nth: u64, fault: Fault) {
        self.inject(FaultRule::new(kind, nth, fault));
    }

    /// Makes the nth operation of a kind from now on fail, and all after it until [`SimDisk::heal`].
    pub fn fail_from(&self, kind: OpKind, nth: u64, fault: Fault) {
        self.inject(FaultRule::new(kind, nth, fault).sticky());
    }

    pub fn inject(&self, rule: FaultRule) {
        self.state().faults.add(rule);
    }

    /// Takes all faults away. A disk that has stopped ([`SimDisk::crash_after`]) stays so.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// After `mutations` more operations that change something (see [`OpKind::is_mutation`]) every operation fails, reads too, with
    /// "simulated crash" and without effect. Then take [`SimDisk::crash`] or [`SimDisk::kill`].
    pub fn crash_after(&self, mutations: u64) {
        self.state().faults.crash_after(mutations);
    }

    /// Whether an operation has been refused because of `crash_after`.
    pub fn has_crashed(&self) -> bool {
        self.state().faults.has_crashed()
    }

    /// Operations of a kind that were asked for since the start, failed ones included.
    pub fn count(&self, kind: OpKind) -> u64 {
        self.state().faults.count(kind)
    }

    /// Operations that change something, of all kinds: the range of `crash_after`.
    pub fn mutations(&self) -> u64 {
        self.state().faults.mutations()
    }

    /// The size of the medium; `None` for no limit. Files count with their length, names are free.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Of what kind log segments are to be ([`LogIo::Auto`] at first).
    pub fn set_log_io(&self, log_io: LogIo) {
        self.state().log_io = log_io;
    }

    /// Whether files can be opened for direct I/O, and room can be reserved: both at first.
    pub fn set_abilities(&self, direct: bool, allocate: bool) {
        let mut state = self.state();
        state.has_direct = direct;
        state.has_allocate = allocate;
    }

    /// Whether files can have second names, as at first.
    pub fn set_links(&self, links: bool) {
        self.state().has_links = links;
    }

    /// With the settings of another disk.
    fn like(self, other: &State) -> Self {
        {
            let mut state = self.state();
            state.log_io = other.log_io;
            state.has_direct = other.has_direct;
            state.has_allocate = other.has_allocate;
            state.has_links = other.has_links;
        }
        self
    }

    /// From now on every `File::sync` waits for its release before it has any effect; the writes it covers are those that had
    /// returned when it was called.
    pub fn hold_syncs(&self) {
        let mut state = self.state();
        state.holding_syncs = true;
        state.passes = 0;
    }

    /// Lets the held syncs go on, and holds no more.
    pub fn release_syncs(&self) {
        self.state().holding_syncs = false;
        self.shared.changed.notify_all();
    }

    /// Lets one sync go on: one that is held, or else the next one.
    pub fn release_one_sync(&self) {
        self.state().passes += 1;
        self.shared.changed.notify_all();
    }

    /// Syncs that wait at this moment.
    pub fn held_syncs(&self) -> usize {
        self.state().held_syncs
    }

    /// Blocks until at least `syncs` are held.
    pub fn wait_until_held(&self, syncs: usize) {
        let mut state = self.state();
        while state.held_syncs < syncs {
            self.shared.changed.wait(&mut state);
        }
    }

    /// Paths of all files, as a program sees them now, sorted.
    pub fn files(&self) -> Vec<String> {
        self.state().names.files()
    }

    /// Folds over all files, as a program sees them now, in the order of their paths. Counts as no operation, meets no fault.
    pub fn fold_files<T>(&self, start: T, mut each: impl FnMut(T, &str, &[u8]) -> T) -> T {
        let state = self.state();
        state.names.files().iter().fold(start, |folded, path| {
            let inode = state.names.file(path).expect("it was just listed");
            each(folded, path, state.inodes[&inode].content())
        })
    }

    /// The bytes of a file, as a program sees them now. Counts as no operation, meets no fault.
    pub fn read_raw(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.state();
        Some(state.inodes[&state.names.file(path).ok()?].content().to_vec())
    }

    /// Makes `bytes` the content of a file, on the medium and in the cache; the file and its folder are made if they are
    /// missing. Unsynced writes to it are forgotten. Counts as no operation, meets no fault.
    ///
    /// # Panics
    /// If `path` is not a path inside the data directory, or is a folder.
    pub fn write_raw(&self, path: &str, bytes: &[u8]) {
        let mut state = self.state();
        let inode = match state.names.file(path) {
            Ok(inode) => inode,
            Err(_) => {
                let inode = state.new_inode();
                state.names.place_durably(path, inode).expect("a path inside the data directory");
                inode
            }
        };
        state.inode(inode).replace(bytes);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    /// Begins an operation: counts it, and fails it if it is its turn.
    fn begin(&self, kind: OpKind, path: &str) -> io::Result<MutexGuard<'_, State>> {
        match self.begin_with_permit(kind, path)? {
            (state, Permit::Go) => Ok(state),
            (_, Permit::Fail(fault)) => Err(fault.error()),
        }
    }

    /// As `begin`, for operations that a fault does not merely refuse.
    fn begin_with_permit(&self, kind: OpKind, path: &str) -> io::Result<(MutexGuard<'_, State>, Permit)> {
        let mut state = self.state();
        let permit = state.faults.begin(kind, path).inspect_err(|_| {
            // The disk has stopped, perhaps just now: held syncs must notice.
            self.shared.changed.notify_all();
        })?;
        if kind.is_mutation() && state.images.is_some() {
            let image = Self::image(&state);
            state.images.iter_mut().for_each(|images| images.push(image.clone()));
        }
        Ok((state, permit))
    }
}

impl State {
    fn inode(&mut self, id: u64) -> &mut Inode {
        self.inodes.get_mut(&id).expect("inodes with a name or a handle are kept")
    }

    fn new_inode(&mut self) -> u64 {
        let id = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(id, Inode::default());
        id
    }

    /// Forgets files that no name, not even one that a crash could bring back, and no handle leads to.
    fn collect_garbage(&mut self) {
        let named = self.names.inodes();
        self.inodes.retain(|id, inode| named.contains(id) || inode.is_open());
    }

    fn used_bytes(&self) -> u64 {
        self.inodes.values().map(|inode| inode.content().len() as u64).sum()
    }

    fn free_bytes(&self) -> u64 {
        self.capacity.unwrap_or(UNLIMITED).saturating_sub(self.used_bytes())
    }

    /// Room for files to grow: unlike `free_bytes`, costs nothing without a capacity.
    fn room(&self) -> u64 {
        if self.capacity.is_some() { self.free_bytes() } else { u64::MAX }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn File>> {
        let kind = if how == Open::Create { OpKind::Create } else { OpKind::Open };
        let path = &*self.at(path);
        let mut state = self.begin(kind, path)?;
        if how == Open::Direct && !state.has_direct {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let block = if how == Open::Direct { SECTOR_LEN as u32 } else { 1 };
        let inode = if how == Open::Create {
            state.names.check_free(path)?;
            let inode = state.new_inode();
            state.names.create(path, Entry::File(inode))?;
            inode
        } else {
            state.names.file(path)?
        };
        state.inode(inode).add_handle();
        Ok(Arc::new(SimFile::new(self.clone(), path, inode, how != Open::Read, block)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.at(from), self.at(to));
        match self.begin_with_permit(OpKind::Rename, &from)? {
            (mut state, Permit::Go) => state.names.rename(&from, &to),
            (_, Permit::Fail(Fault::LeftOut)) => Ok(()),
            (_, Permit::Fail(fault)) => Err(fault.error()),
        }
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.at(path);
        self.begin(OpKind::Remove, &path)?.names.remove(&path)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let dir = self.at(dir);
        self.begin(OpKind::List, &dir)?.names.list(&dir)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        let dir = &*self.at(dir);
        let mut state = self.begin(OpKind::CreateDir, dir)?;
        if state.names.is_dir(dir) { Ok(()) } else { state.names.create(dir, Entry::Dir) }
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let dir = &*self.at(dir);
        let (mut state, permit) = self.begin_with_permit(OpKind::SyncDir, dir)?;
        match permit {
            Permit::Go => {}
            Permit::Fail(Fault::LeftOut) => return Ok(()),
            Permit::Fail(fault) => return Err(fault.error()),
        }
        state.names.sync(dir)?;
        state.collect_garbage();
        Ok(())
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Lock>> {
        let path = &*self.at(path);
        let mut state = self.begin(OpKind::Lock, path)?;
        if state.names.file(path).is_err() {
            state.names.check_free(path)?;
            let inode = state.new_inode();
            state.names.create(path, Entry::File(inode))?;
        }
        if !state.locks.insert(path.to_owned()) {
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                format!("{path} is locked by another process"),
            ));
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.state();
        state.faults.check_stopped()?;
        Ok(state.free_bytes())
    }

    fn log_mode(&self, sync_each: bool) -> LogMode {
        self.state().log_io.mode(sync_each, true)
    }

    fn log_io(&self) -> &'static str {
        "simulated"
    }

    /// The root of the file system is the whole disk.
    fn target(&self, dir: &str) -> io::Result<Box<dyn Target>> {
        let dir = dir.trim_start_matches('/');
        let whole = Self { folder: String::new(), ..self.clone() };
        for (end, _) in dir.match_indices('/').chain([(dir.len(), "")]) {
            whole.create_dir(&dir[..end])?;
            whole.sync_dir(dir[..end].rsplit_once('/').map_or("", |(above, _)| above))?;
        }
        Ok(Box::new(SimTarget { source: self.clone(), disk: whole.within(dir) }))
    }
}

/// Another folder of the same simulated disk.
struct SimTarget {
    source: SimDisk,
    disk: SimDisk,
}

impl Target for SimTarget {
    fn disk(&self) -> &dyn Disk {
        &self.disk
    }

    fn is_empty(&self) -> io::Result<bool> {
        let state = self.disk.begin(OpKind::List, &self.disk.folder)?;
        Ok(!state.names.has_files_below(&self.disk.folder))
    }

    fn link(&self, path: &str) -> io::Result<()> {
        let (from, to) = (self.source.at(path), self.disk.at(path));
        let mut state = self.disk.begin(OpKind::Link, &to)?;
        if !state.has_links {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        state.names.link(&from, &to)
    }
}

struct SimLock {
    disk: SimDisk,
    path: String,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.path);
    }
}
