//! What a directive is, and the macros that make of one table ([`super::table`]) the names, the defaults, the accessors
//! and `docs/configuration.md`.

use super::value::Kind;

/// When a directive may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// In the file, on the command line and by CONFIG SET.
    Mutable,
    /// In the file and on the command line.
    Immutable,
    /// By CONFIG SET too if `enable-protected-configs` allows it.
    Protected,
}

/// Whether a directive does anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Live,
    /// Accepted, checked and shown, so that files written for Redis load; nothing reads it.
    Inert,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Directive {
    pub section: &'static str,
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    /// As it would be written in a file.
    pub default: &'static str,
    pub access: Access,
    pub effect: Effect,
    /// One sentence.
    pub doc: &'static str,
}

impl Directive {
    /// Whether `name` is this directive's name or one of its aliases, in any case.
    pub fn is_called(&self, name: &str) -> bool {
        std::iter::once(&self.name).chain(self.aliases).any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Directives that only a file or the command line can hold: they are lists, not values.
pub const FILE_ONLY: [(&str, &str); 4] = [
    ("include", "Reads further files at this place; the pattern may hold `*`, `?` and `[...]`."),
    ("rename-command", "Gives a command another name; an empty name removes it."),
    (
        "user",
        "`user default on >password ~* &* +@all` is taken as `requirepass`, with `nopass` as none; every other ACL user is refused.",
    ),
    ("loadmodule", "Refused: this server has no modules."),
];

/// Makes an enum of the values of a directive. The first name is index 0.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($variant),+ }

        impl $name {
            /// The names of the values, in the order of the variants.
            pub const NAMES: &'static [&'static str] = &[$($text),+];
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn from_number(index: i64) -> Self {
                Self::ALL[(index as usize).min(Self::ALL.len() - 1)]
            }

            /// The value as redis.conf writes it.
            pub fn name(self) -> &'static str {
                Self::NAMES[self as usize]
            }
        }
    };
}

/// Turns the kind of a table line into a [`Kind`].
macro_rules! kind {
    (bool) => { Kind::Bool };
    (int($min:expr, $max:expr)) => { Kind::Int { min: $min, max: $max } };
    (size($min:expr, $max:expr)) => { Kind::Size { min: $min, max: $max } };
    (size_or_percent) => { Kind::SizeOrPercent };
    (log_retain) => { Kind::LogRetain };
    (octal) => { Kind::Octal };
    (choice($choice:ident)) => { Kind::Choice($choice::NAMES) };
    (one_of($($name:literal),+)) => { Kind::Choice(&[$($name),+]) };
    (text($rule:expr)) => { Kind::Text($rule) };
    (words($rule:expr)) => { Kind::Words($rule) };
    (save) => { Kind::Save };
    (buffer_limits) => { Kind::BufferLimits };
    (notify) => { Kind::Notify };
    (shutdown) => { Kind::Shutdown };
}

/// Makes the accessor of a table line. All but those of texts and word lists are one relaxed atomic load.
macro_rules! accessor {
    ($id:ident, $doc:literal, bool) => { accessor!(@ $id, $doc, bool, |number| number != 0); };
    ($id:ident, $doc:literal, int($($range:tt)*)) => { accessor!(@ $id, $doc, i64, |number| number); };
    ($id:ident, $doc:literal, size($($range:tt)*)) => { accessor!(@ $id, $doc, u64, |number| number as u64); };
    ($id:ident, $doc:literal, size_or_percent) => {
        accessor!(@ $id, $doc, MemoryLimit, MemoryLimit::from_number);
    };
    ($id:ident, $doc:literal, log_retain) => { accessor!(@ $id, $doc, LogRetain, LogRetain::from_number); };
    ($id:ident, $doc:literal, octal) => { accessor!(@ $id, $doc, u32, |number| number as u32); };
    ($id:ident, $doc:literal, choice($choice:ident)) => { accessor!(@ $id, $doc, $choice, $choice::from_number); };
    ($id:ident, $doc:literal, one_of($($name:literal),+)) => {
        accessor!(@ $id, $doc, &'static str, |number| choice_name(&[$($name),+], number));
    };
    ($id:ident, $doc:literal, notify) => {
        accessor!(@ $id, $doc, Notify, |number| Notify::from_bits_truncate(number as u32));
    };
    ($id:ident, $doc:literal, shutdown) => {
        accessor!(@ $id, $doc, ShutdownFlags, |number| ShutdownFlags::from_bits_truncate(number as u32));
    };
    ($id:ident, $doc:literal, text($($rule:tt)*)) => {
        #[doc = $doc]
        pub fn $id(&self) -> String { self.text(Name::$id) }
    };
    ($id:ident, $doc:literal, words($($rule:tt)*)) => {
        #[doc = $doc]
        pub fn $id(&self) -> Vec<String> {
            self.text(Name::$id).split_ascii_whitespace().map(str::to_string).collect()
        }
    };
    // Written by hand beside the struct: their types are their own.
    ($id:ident, $doc:literal, save) => {};
    ($id:ident, $doc:literal, buffer_limits) => {};
    (@ $id:ident, $doc:literal, $type:ty, $from:expr) => {
        #[doc = $doc]
        #[inline]
        pub fn $id(&self) -> $type {
            let from: fn(i64) -> $type = $from;
            from(self.number(Name::$id))
        }
    };
}

/// The table: `id "name" [aliases] kind = "default" access effect "doc";` in sections.
macro_rules! directives {
    ($($section:literal {
        $($id:ident $name:literal [$($alias:literal),*] $kind:ident $(($($args:tt)*))? = $default:literal
          $access:ident $effect:ident $doc:literal;)*
    })*) => {
        /// The directives, spelled as in a file but for the dashes: the index of their values.
        #[allow(non_camel_case_types)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Name { $($($id,)*)* }

        impl Name {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$($(Self::$id,)*)*];
        }

        /// The table, in the order of [`Name`].
        pub const DIRECTIVES: &[Directive] = &[$($(Directive {
            section: $section,
            name: $name,
            aliases: &[$($alias),*],
            kind: kind!($kind $(($($args)*))?),
            default: $default,
            access: Access::$access,
            effect: Effect::$effect,
            doc: $doc,
        },)*)*];

        impl Config {
            $($(accessor!($id, $doc, $kind $(($($args)*))?);)*)*
        }
    };
}

pub(super) use {accessor, choice, directives, kind};
