//! SORT and SORT_RO. Elements are numbers more often than not; keys named after elements are there for BY and GET.

use super::make::{Make, Words};
use crate::line;

/// Lists that only these commands work on: of sets the order without an order is the server's own, and so are numbers in other keys.
const LISTS: &[&str] = &["sorted:1", "sorted:2", "sorted:3"];
/// Elements, and what patterns make keys of. None is so small or large that it leaves the range of doubles: in redis-server 7.0.15
/// one such element makes later, innocent SORTs fail too.
const ELEMENTS: &[&str] = &["1", "2", "3", "10", "-1", "1.5", " 7", "0x1f", "inf", "", "a", "b", "3"];
const PATTERNS: &[&str] = &[
    "w_*",
    "w_*",
    "h_*->f",
    "h_*->f",
    "h_*->",
    "h_*",
    "nosort",
    "*",
    "x",
    "#",
    "w_*->f",
    "**",
    "h_*->nothing",
];

pub fn command(make: &mut Make) -> Words {
    let element = make.pick(ELEMENTS);
    match make.random.below(16) {
        0..=2 => {
            let mut push = line![make.pick(&["RPUSH", "LPUSH"]), make.pick(LISTS)];
            let numbers = make.chance(2);
            for _ in 0..=make.random.below(6) {
                let from = if numbers { &ELEMENTS[..8] } else { ELEMENTS };
                push.push(make.pick(from).into_bytes());
            }
            push
        }
        3 => line!["SET", format!("w_{element}"), make.pick(ELEMENTS)],
        4 => line!["HSET", format!("h_{element}"), "f", make.pick(ELEMENTS)],
        5 => line!["DEL", make.pick(&["w_", "h_"]) + &element],
        6 => line!["COMMAND", "GETKEYS", "SORT", "x", "BY", "store", "STORE", make.key()],
        7 => line!["LRANGE", make.pick(LISTS), "0", "-1"],
        _ => sort(make),
    }
}

fn sort(make: &mut Make) -> Words {
    let may_store = make.chance(2);
    let name = if may_store { "SORT" } else { "SORT_RO" };
    let is_other = make.chance(3);
    let mut command = if is_other { line![name, make.key(), "ALPHA"] } else { line![name, make.pick(LISTS)] };
    if !is_other && make.chance(2) {
        command.extend(line!["BY", make.pick(PATTERNS)]);
    }
    for _ in 0..make.random.below(3) {
        command.extend(line!["GET", make.pick(PATTERNS)]);
    }
    // Of elements that BY finds equal redis-server with a LIMIT shows any.
    let may_tie = command.iter().any(|word| word == b"BY");
    if make.chance(3) {
        let number =
            |make: &mut Make| make.pick(&["0", "1", "2", "5", "-1", "100", "9223372036854775807", "x"]);
        command.extend(line!["LIMIT", number(make), number(make)]);
    }
    for word in ["DESC", "ASC", "ALPHA"] {
        if make.chance(3) && !(may_tie && word == "ALPHA") {
            command.push(word.into());
        }
    }
    if make.chance(3) {
        let to = if make.chance(2) { make.key() } else { make.pick(LISTS) };
        command.extend(line!["STORE", to]);
    }
    command
}
