//! All commands by name.

use hashbrown::HashMap;

use super::Command;

/// Longest name that is looked up.
const NAME_LEN_MAX: usize = 48;

#[derive(Debug)]
pub struct Registry {
    by_name: HashMap<&'static [u8], (&'static Command, usize), foldhash::fast::FixedState>,
    commands: Vec<&'static Command>,
    /// Every command and subcommand; the place in here is a command's number in statistics.
    all: Vec<&'static Command>,
}

impl Registry {
    pub fn new(groups: &[&'static [Command]]) -> Self {
        let mut commands: Vec<&'static Command> = groups.iter().copied().flatten().collect();
        commands.sort_by_key(|command| command.name);
        let mut all = Vec::new();
        let mut by_name = HashMap::default();
        for &command in &commands {
            let clash = by_name.insert(command.name.as_bytes(), (command, all.len()));
            assert!(clash.is_none(), "command {} is declared twice", command.name);
            all.push(command);
            all.extend(command.subcommands);
        }
        Self { by_name, commands, all }
    }

    /// Gives a command another name, or none (`rename-command`). For the start: the new name is never given back.
    pub fn rename(&mut self, old: &str, new: &str) -> Result<(), &'static str> {
        let (old, new) = (old.to_ascii_lowercase(), new.to_ascii_lowercase());
        let command = self.by_name.remove(old.as_bytes()).ok_or("No such command in rename-command")?;
        if new.is_empty() {
            return Ok(());
        }
        if new.len() > NAME_LEN_MAX {
            return Err("The new name in rename-command is too long");
        }
        if self.by_name.contains_key(new.as_bytes()) {
            return Err("Target command name already exists");
        }
        self.by_name.insert(Box::leak(new.into_boxed_str()).as_bytes(), command);
        Ok(())
    }

    /// A command by its name in any case, with its number.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<(&'static Command, usize)> {
        let mut lower = [0u8; NAME_LEN_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.by_name.get(&*lower).copied()
    }

    /// A subcommand of a container, with its number.
    pub fn subcommand(
        &self,
        parent: (&'static Command, usize),
        name: &[u8],
    ) -> Option<(&'static Command, usize)> {
        let at = parent.0.subcommands.iter().position(|c| c.name.as_bytes().eq_ignore_ascii_case(name))?;
        Some((&parent.0.subcommands[at], parent.1 + 1 + at))
    }

    /// Top-level commands, by name.
    pub fn commands(&self) -> &[&'static Command] {
        &self.commands
    }

    /// Commands and subcommands in the order of their numbers.
    pub fn all(&self) -> &[&'static Command] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn commands_are_renamed_and_removed() {
        let mut registry = crate::registry();
        let number = |r: &super::Registry, name: &[u8]| r.get(name).map(|(_, number)| number);
        let get = number(&registry, b"get");
        registry.rename("GET", "Fetch").unwrap();
        assert_eq!((number(&registry, b"get"), number(&registry, b"FETCH")), (None, get));
        registry.rename("flushall", "").unwrap();
        assert_eq!(number(&registry, b"flushall"), None);
        assert_eq!(registry.rename("flushall", "x"), Err("No such command in rename-command"));
        assert_eq!(registry.rename("set", "fetch"), Err("Target command name already exists"));
    }
}
