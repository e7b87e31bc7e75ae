//! Which crash: the coordinates of one case, printed when it fails and taken back to run it alone.
//!
//! ```text
//! workload:operation:class:seed            crash before that operation of the life (counted from 0), then recovery
//! workload:operation:class:seed:operation:class:seed   and crash again, before that operation of the recovery
//! ```

use std::fmt;
use std::str::FromStr;

use duramen::disk::SimDisk;
use duramen::disk::sim::CrashStyle;

/// What becomes of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The process dies, the machine does not.
    Kill,
    Power(CrashStyle),
}

pub const CLASSES: [(&str, Class); 9] = [
    ("kill", Class::Kill),
    ("lose-all", Class::Power(CrashStyle::LoseAll)),
    ("keep-all", Class::Power(CrashStyle::KeepAll)),
    ("lose-names", Class::Power(CrashStyle::LoseNames)),
    ("lose-bytes", Class::Power(CrashStyle::LoseBytes)),
    ("torn", Class::Power(CrashStyle::Torn)),
    ("garbage", Class::Power(CrashStyle::Garbage)),
    ("random", Class::Power(CrashStyle::Random)),
    ("random-garbage", Class::Power(CrashStyle::RandomWithGarbage)),
];

impl Class {
    fn name(self) -> &'static str {
        CLASSES.iter().find(|(_, class)| *class == self).expect("all classes have names").0
    }

    /// Whether the seed makes a difference.
    pub const fn is_random(self) -> bool {
        matches!(self, Self::Power(style) if style.is_random())
    }
}

/// A crash at one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    pub operation: usize,
    pub class: Class,
    pub seed: u64,
}

impl Crash {
    pub fn of(self, image: &SimDisk) -> SimDisk {
        match self.class {
            Class::Kill => image.kill(),
            Class::Power(style) => image.crash(self.seed ^ (self.operation as u64) << 32, style),
        }
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.operation, self.class.name(), self.seed)
    }
}

/// A case that is to run alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub workload: String,
    pub first: Crash,
    pub again: Option<Crash>,
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let crash = |parts: &[&str]| -> Result<Crash, String> {
            let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number"));
            let class = CLASSES.iter().find(|(name, _)| *name == parts[1]);
            let class = class.ok_or_else(|| format!("{:?} is no class of loss", parts[1]))?.1;
            Ok(Crash { operation: number(parts[0])? as usize, class, seed: number(parts[2])? })
        };
        match parts[..] {
            [workload, ref first @ ..] if first.len() == 3 => {
                Ok(Self { workload: workload.to_owned(), first: crash(first)?, again: None })
            }
            [workload, ref both @ ..] if both.len() == 6 => Ok(Self {
                workload: workload.to_owned(),
                first: crash(&both[..3])?,
                again: Some(crash(&both[3..])?),
            }),
            _ => Err(format!("{text:?} is not workload:operation:class:seed, once or twice over")),
        }
    }
}
