//! Names of a simulated disk: the durable ones, and the creations, renames and removals that no `sync_dir` has covered.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::super::prng::Prng;
use super::super::split;
use super::CrashStyle;

/// What a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// A file, by its inode.
    File(u64),
    Dir,
}

/// Paths and what they lead to. The data directory itself has no entry.
type Tree = BTreeMap<String, Entry>;

/// One atomic step: each path gets an entry, or loses it.
type Step = Vec<(String, Option<Entry>)>;

#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    durable: Tree,
    current: Tree,
    /// Oldest first.
    pending: Vec<Step>,
}

fn error<T>(kind: io::ErrorKind) -> io::Result<T> {
    Err(kind.into())
}

fn apply(step: &Step, tree: &mut Tree) {
    for (path, entry) in step {
        match entry {
            Some(entry) => drop(tree.insert(path.clone(), *entry)),
            None => drop(tree.remove(path)),
        }
    }
}

fn dir_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl Names {
    /// The inode of a file.
    pub(super) fn file(&self, path: &str) -> io::Result<u64> {
        self.check_dir(split(path)?.0)?;
        match self.current.get(path) {
            Some(Entry::File(inode)) => Ok(*inode),
            Some(Entry::Dir) => error(io::ErrorKind::IsADirectory),
            None => error(io::ErrorKind::NotFound),
        }
    }

    pub(super) fn is_dir(&self, path: &str) -> bool {
        self.current.get(path) == Some(&Entry::Dir)
    }

    /// An error unless the folder of `path` exists and has no such name.
    pub(super) fn check_free(&self, path: &str) -> io::Result<()> {
        self.check_dir(split(path)?.0)?;
        if self.current.contains_key(path) { error(io::ErrorKind::AlreadyExists) } else { Ok(()) }
    }

    fn check_dir(&self, dir: &str) -> io::Result<()> {
        match self.current.get(dir) {
            _ if dir.is_empty() => Ok(()),
            Some(Entry::Dir) => Ok(()),
            Some(Entry::File(_)) => error(io::ErrorKind::NotADirectory),
            None => error(io::ErrorKind::NotFound),
        }
    }

    pub(super) fn create(&mut self, path: &str, entry: Entry) -> io::Result<()> {
        self.check_free(path)?;
        self.step(vec![(path.to_owned(), Some(entry))]);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        self.file(path)?;
        self.step(vec![(path.to_owned(), None)]);
        Ok(())
    }

    /// Only files are renamed.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.file(from)?;
        self.check_dir(split(to)?.0)?;
        if self.is_dir(to) {
            return error(io::ErrorKind::IsADirectory);
        }
        if from != to {
            self.step(vec![(from.to_owned(), None), (to.to_owned(), Some(Entry::File(inode)))]);
        }
        Ok(())
    }

    /// Gives a file a second name.
    pub(super) fn link(&mut self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.file(from)?;
        self.create(to, Entry::File(inode))
    }

    /// Whether a folder holds anything but folders.
    pub(super) fn has_files_below(&self, dir: &str) -> bool {
        let within = |path: &str| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
        self.current.iter().any(|(path, entry)| *entry != Entry::Dir && within(path))
    }

    fn step(&mut self, step: Step) {
        apply(&step, &mut self.current);
        self.pending.push(step);
    }

    pub(super) fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        if !dir.is_empty() {
            split(dir)?;
        }
        self.check_dir(dir)?;
        let files = self.current.iter().filter(|(path, entry)| **entry != Entry::Dir && dir_of(path) == dir);
        Ok(files.map(|(path, _)| path[dir.len()..].trim_start_matches('/').to_owned()).collect())
    }

    /// Makes the pending steps that touch a folder durable, with those that they build on.
    pub(super) fn sync(&mut self, dir: &str) -> io::Result<()> {
        if !dir.is_empty() {
            split(dir)?;
        }
        self.check_dir(dir)?;
        let touches = |step: &Step| step.iter().any(|(path, _)| dir_of(path) == dir);
        let chosen = self.closure(self.pending.iter().map(touches).collect());
        let steps = std::mem::take(&mut self.pending);
        for (step, chosen) in steps.into_iter().zip(chosen) {
            if chosen {
                apply(&step, &mut self.durable);
            } else {
                self.pending.push(step);
            }
        }
        Ok(())
    }

    /// Adds to a choice of pending steps the earlier ones that touch a path of a chosen one: no file system brings a rename without
    /// the removal, creation or rename of the same name before it.
    fn closure(&self, mut chosen: Vec<bool>) -> Vec<bool> {
        let mut needed = BTreeSet::new();
        for (step, chosen) in self.pending.iter().zip(&mut chosen).rev() {
            *chosen |= step.iter().any(|(path, _)| needed.contains(path.as_str()));
            if *chosen {
                needed.extend(step.iter().map(|(path, _)| path.as_str()));
            }
        }
        chosen
    }

    /// The names after power loss. Of the pending steps a journal keeps a prefix; other file systems any that don't build on a lost
    /// one. What is in a lost folder is lost.
    pub(super) fn after_crash(&self, style: CrashStyle, prng: &mut Prng) -> Self {
        let steps = self.pending.len() as u64;
        let chosen = match style {
            CrashStyle::LoseAll | CrashStyle::LoseNames => vec![false; self.pending.len()],
            CrashStyle::KeepAll | CrashStyle::LoseBytes | CrashStyle::Torn | CrashStyle::Garbage => {
                vec![true; self.pending.len()]
            }
            CrashStyle::Random | CrashStyle::RandomWithGarbage if prng.chance(1, 2) => {
                let prefix = prng.below(steps + 1);
                (0..steps).map(|i| i < prefix).collect()
            }
            CrashStyle::Random | CrashStyle::RandomWithGarbage => {
                self.closure((0..steps).map(|_| prng.chance(1, 2)).collect())
            }
        };
        let mut tree = self.durable.clone();
        let kept = self.pending.iter().zip(chosen).filter(|(_, chosen)| *chosen);
        kept.for_each(|(step, _)| apply(step, &mut tree));
        let dirs: BTreeSet<_> =
            tree.iter().filter(|(_, entry)| **entry == Entry::Dir).map(|(path, _)| path.clone()).collect();
        let reachable = |path: &str| {
            let mut dir = dir_of(path);
            while !dir.is_empty() && dirs.contains(dir) {
                dir = dir_of(dir);
            }
            dir.is_empty()
        };
        tree.retain(|path, _| reachable(path));
        Self { durable: tree.clone(), current: tree, pending: Vec::new() }
    }

    /// Every inode that has a name, or could have one after a crash.
    pub(super) fn inodes(&self) -> BTreeSet<u64> {
        let pending = self.pending.iter().flatten().filter_map(|(_, entry)| entry.as_ref());
        let entries = self.durable.values().chain(self.current.values()).chain(pending);
        entries.filter_map(|entry| if let Entry::File(inode) = entry { Some(*inode) } else { None }).collect()
    }

    pub(super) fn files(&self) -> Vec<String> {
        let files = self.current.iter().filter(|(_, entry)| **entry != Entry::Dir);
        files.map(|(path, _)| path.clone()).collect()
    }

    /// Gives a file a durable name, in folders that are made durably as needed.
    pub(super) fn place_durably(&mut self, path: &str, inode: u64) -> io::Result<()> {
        split(path)?;
        for (at, _) in path.match_indices('/') {
            self.durable.insert(path[..at].to_owned(), Entry::Dir);
            self.current.insert(path[..at].to_owned(), Entry::Dir);
        }
        self.durable.insert(path.to_owned(), Entry::File(inode));
        self.current.insert(path.to_owned(), Entry::File(inode));
        Ok(())
    }
}
