//! Transactions. EXEC is frequent enough that a connection does not stay inside for long.

use super::make::{Make, Words};
use crate::line;

pub fn command(make: &mut Make) -> Words {
    if make.in_multi {
        return match make.random.below(12) {
            0 => line!["DISCARD"],
            1 => line!["MULTI"],
            2 => line!["WATCH", make.key()],
            3 => line!["NOSUCHCOMMAND", make.key()],
            _ => line!["EXEC"],
        };
    }
    match make.random.below(10) {
        0..=4 => line!["MULTI"],
        5 | 6 => line!["WATCH", make.key(), make.key()],
        7 => line!["UNWATCH"],
        8 => line!["EXEC"],
        _ => line!["DISCARD"],
    }
}
