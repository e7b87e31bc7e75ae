//! Arguments: mostly sensible, sometimes extreme, sometimes nonsense.

use super::support::random::Random;

/// A command and its arguments.
pub type Words = Vec<Vec<u8>>;

/// All keys there are: few, so that types collide.
pub const KEYS: &[&str] = &["a", "b", "c", "d", "e", "{t}1", "{t}2", "k with space"];

const NUMBERS_AT_THE_EDGE: &[&str] = &[
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "2147483648",
    "-2147483649",
];

/// Replaces arguments. No small positive number is among them: as a lifetime it would end during the run.
const NONSENSE: &[&str] =
    &["", "abc", "-1", "0", "1.5", " 1", "1 ", "+1", "01", "-0", "inf", "nan", "NX", "COUNT", "0x10"];

#[derive(Debug)]
pub struct Make {
    pub random: Random,
    /// The connection is inside MULTI, where blocking commands don't block.
    pub in_multi: bool,
    /// The command that was just made must stay as it is.
    pub plain: bool,
}

/// A command line from words of any kind of text.
#[macro_export]
macro_rules! line {
    ($($word:expr),+ $(,)?) => { vec![$(AsRef::<[u8]>::as_ref(&$word).to_vec()),+] };
}

impl Make {
    pub fn seeded(seed: u64) -> Self {
        Self { random: Random::seeded(seed), in_multi: false, plain: false }
    }

    pub fn key(&mut self) -> String {
        (*self.random.pick(KEYS)).to_owned()
    }

    pub fn keys(&mut self, max: u64) -> Vec<String> {
        (0..=self.random.below(max)).map(|_| self.key()).collect()
    }

    pub fn pick(&mut self, from: &[&str]) -> String {
        (*self.random.pick(from)).to_owned()
    }

    pub fn chance(&mut self, one_in: u64) -> bool {
        self.random.one_in(one_in)
    }

    /// Any string value: words, numbers, nothing, bytes, something long.
    pub fn value(&mut self) -> Vec<u8> {
        match self.random.below(12) {
            0 => Vec::new(),
            1..=3 => self.integer().into_bytes(),
            4 => (0..self.random.below(20)).map(|_| self.random.next() as u8).collect(),
            5 => vec![b'x'; self.random.below(200) as usize],
            6 => b"a\x00b\r\nc".to_vec(),
            _ => self.pick(&["alpha", "beta", "gamma", "delta", "1", "2"]).into_bytes(),
        }
    }

    /// A list element or hash field: from a small set.
    pub fn member(&mut self) -> Vec<u8> {
        match self.random.below(10) {
            0 => self.value(),
            n => format!("m{}", n % 6).into_bytes(),
        }
    }

    pub fn integer(&mut self) -> String {
        match self.random.below(10) {
            0 => self.pick(NUMBERS_AT_THE_EDGE),
            1 => self.pick(NONSENSE),
            2 => self.random.within(-1_000_000..1_000_000).to_string(),
            _ => self.random.within(-20..20).to_string(),
        }
    }

    /// Sums of these are exact in binary: arithmetic of different precision agrees.
    pub fn float(&mut self) -> String {
        match self.random.below(8) {
            0 => self.pick(NONSENSE),
            1 => self.random.within(-1000..1000).to_string(),
            2 => self.pick(&["1e3", "-2.5e2", ".5", "5.", "1e", "--1"]),
            _ => format!("{}", self.random.within(-4000..4000) as f64 / 8.0),
        }
    }

    /// A position in something short, from either end.
    pub fn index(&mut self) -> String {
        match self.random.below(12) {
            0 => self.pick(NUMBERS_AT_THE_EDGE),
            1 => self.pick(NONSENSE),
            _ => self.random.within(-8..12).to_string(),
        }
    }

    /// A count: small or odd.
    pub fn count(&mut self) -> String {
        match self.random.below(10) {
            0 => self.pick(NONSENSE),
            1 => "-3".to_owned(),
            _ => self.random.below(6).to_string(),
        }
    }

    /// Seconds that are over or last until long after the run.
    pub fn lifetime_s(&mut self) -> String {
        match self.random.below(10) {
            0 => self.pick(NONSENSE),
            1 => self.pick(NUMBERS_AT_THE_EDGE),
            2 => "-5".to_owned(),
            _ => self.random.within(10_000..20_000).to_string(),
        }
    }

    pub fn lifetime_ms(&mut self) -> String {
        match self.random.below(10) {
            0 => self.pick(NONSENSE),
            1 => self.pick(NUMBERS_AT_THE_EDGE),
            _ => self.random.within(10_000_000..20_000_000).to_string(),
        }
    }

    pub fn deadline_s(&mut self) -> String {
        match self.random.below(10) {
            0 => self.pick(NONSENSE),
            1 => self.pick(NUMBERS_AT_THE_EDGE),
            2 => "1000000000".to_owned(),
            _ => self.random.within(33_000_000_000..33_000_001_000).to_string(),
        }
    }

    pub fn deadline_ms(&mut self) -> String {
        match self.random.below(10) {
            0 => self.pick(NONSENSE),
            1 => self.pick(NUMBERS_AT_THE_EDGE),
            2 => "1000000000000".to_owned(),
            _ => self.random.within(33_000_000_000_000..33_000_000_001_000).to_string(),
        }
    }

    /// `EX seconds` and its relatives, as SET and GETEX take them. Deadlines that are over are left out: redis-server's SET
    /// keeps such a key until it comes across it, and DBSIZE counts it.
    pub fn lifetime_option(&mut self) -> Words {
        let option = match self.random.below(4) {
            0 => line!["EX", self.lifetime_s()],
            1 => line!["px", self.lifetime_ms()],
            2 => line!["EXAT", self.deadline_s()],
            _ => line!["PXAT", self.deadline_ms()],
        };
        if option[1].starts_with(b"10000") { line!["EXAT", "33000000000"] } else { option }
    }

    /// Now and then an argument goes missing, comes twice, or turns into nonsense; the name changes its case.
    pub fn disturbed(&mut self, mut command: Words) -> Words {
        if self.chance(8) {
            command[0].make_ascii_lowercase();
        }
        let at = 1 + self.random.below(command.len().max(2) as u64 - 1) as usize;
        match self.random.below(60) {
            0 if command.len() > 1 => drop(command.remove(at)),
            1 if command.len() > 1 => command.insert(at, command[at].clone()),
            2 if command.len() > 1 => command[at] = self.pick(NONSENSE).into_bytes(),
            3 => command.push(self.pick(NONSENSE).into_bytes()),
            _ => {}
        }
        command
    }
}
