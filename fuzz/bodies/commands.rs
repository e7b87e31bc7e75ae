//! Command sequences with hostile arguments through a whole server without sockets.
//!
//! Every reply is RESP, INFO is still served at the end, and what the log brings back after SIGKILL is the state that was live.
//! The server draws its hash seed from the system: which key RANDOMKEY names is not part of the input.

use std::io::ErrorKind;
use std::sync::{Arc, LazyLock};

use duramen::clock::SimClock;
use duramen::command::Command;
use duramen::disk::sim::SimDisk;
use duramen::engine::rig::Rig;
use duramen::log::{LogOptions, Policy};

use super::choices::Choices;
use super::resp_reply::read_all;

const SESSIONS: usize = 3;
/// More would let repeated doubling (APPEND of a list of itself) decide how long a run takes.
const COMMANDS_MAX: usize = 40;
const KEYS: &[&[u8]] = &[b"a", b"b", b"{a}2", b"", b"\xff\x00", b"list", b"hash", b"set", b"zset", b"stream"];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "7",
    "10",
    "100",
    "1000",
    "-100",
    "4294967295",
    "4294967296",
    "2147483647",
    "-2147483649",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "1700000005000",
    "1700000002",
    "536870911",
    "536870912",
    "8388608",
    "1.5",
    "-0",
    "1e400",
    "nan",
    "inf",
    "0.1",
    "+1",
    " 1",
    "0x10",
    "1e-400",
    "u8",
    "i64",
    "u64",
    "#3",
];
const WORDS: &[&str] = &[
    "*",
    "",
    "string",
    "GET",
    "SET",
    "a*",
    "[",
    "LEFT",
    "RIGHT",
    "FIELDS",
    "XX",
    "NX",
    "HELP",
    "COUNT",
    "MIN",
    "MAX",
    "[a",
    "(1",
    "-",
    "+",
    "WITHSCORES",
    "BYSCORE",
    "g",
    "c",
    ">",
    "$",
    "0-1",
    "5-*",
    "(5-3",
    "STREAMS",
    "GROUP",
];
/// What chance seldom puts together: values of each type, transactions, RESP3.
const COMMON: &[&str] = &[
    "MULTI",
    "EXEC",
    "HELLO 3",
    "RPUSH list x y 7 z",
    "HSET hash f v g 1",
    "HPEXPIRE hash 100 FIELDS 1 f",
    "SADD set 1 2 7 x",
    "ZADD zset 1 x 2.5 y inf z 0 a",
    "SET a 12 PX 100",
    "PFADD a x y z",
    "SETRANGE a 16 ~",
    "PFDEBUG TODENSE a",
    "GEOADD b 1 1 x 2 2 y 1 1 z",
    "GEOSEARCH b FROMLONLAT 1 1 BYRADIUS 1e300 m",
    // Payloads whose sums happen to be text: a set and a sorted set.
    "RESTORE set 0 \x02\x02\x04aaYG\x01b\x08\0T2/v,E`|",
    "RESTORE zset 0 \x03\x02\x04aahc\x031.5\x01b\x012\x08\0b5a79ojj",
    "SORT list ALPHA GET a* STORE set",
    "SELECT 1",
    "XADD stream * f v g 1",
    "XADD stream 5-* f v",
    "XADD stream MAXLEN 3 * other 2",
    "XGROUP CREATE stream g 0 MKSTREAM",
    "XREADGROUP GROUP g c COUNT 2 STREAMS stream >",
    "XREADGROUP GROUP g d BLOCK 0 STREAMS stream >",
    "XREAD BLOCK 0 STREAMS stream $",
    "XAUTOCLAIM stream g d 0 0",
    "XACK stream g 5-0 5-1",
    "XTRIM stream MAXLEN 2 ACKED",
    "XDELEX stream DELREF IDS 2 5-0 5-1",
    "XINFO STREAM stream FULL",
    "CLIENT TRACKING ON",
    "CLIENT TRACKING ON BCAST PREFIX a PREFIX l NOLOOP",
    "CLIENT TRACKING ON REDIRECT 2",
    "CLIENT LSN",
    "EVAL return{redis.call('set',KEYS[1],ARGV[1]),redis.pcall('incr',KEYS[1])} 1 a 5",
    "EVAL redis.call('rpush',KEYS[1],ARGV[1])error('x') 1 list m1",
    "EVAL_RO return#redis.call('keys','*') 0",
    "FCALL f 1 a m1",
    "SUBSCRIBE a",
    "PUBLISH a m1",
];
/// Sleeps, ends the process, or changes limits that all servers in this process share.
const LEFT_OUT: &[&str] = &["debug", "shutdown"];

static COMMANDS: LazyLock<Vec<&'static Command>> = LazyLock::new(|| {
    let registry = duramen::registry();
    registry.commands().iter().copied().filter(|command| !LEFT_OUT.contains(&command.name)).collect()
});

pub fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let disk = SimDisk::new(1);
    let clock = Arc::new(SimClock::at_ms(1_700_000_001_000));
    let policy = [Policy::Always, Policy::EverySec][choices.below(2)];
    let mut rig = open(&disk, &clock, policy);
    for _ in 0..COMMANDS_MAX {
        if choices.is_empty() {
            break;
        }
        step(&mut rig, &mut choices);
    }
    let info = rig.call(SESSIONS, &[b"INFO"]).0;
    assert!(info.starts_with(b"$"), "INFO is served: {}", info.escape_ascii());
    assert_is_resp(&info);
    rig.settle();
    let live = rig.state();
    drop(rig);
    let again = open(&disk.kill(), &clock, policy);
    assert!(again.state() == live, "live:\n{live}\nreplayed:\n{}", again.state());
}

fn open(disk: &SimDisk, clock: &Arc<SimClock>, policy: Policy) -> Rig {
    let options = LogOptions { threads: false, segment_bytes: 1 << 20, policy, ..LogOptions::default() };
    let rig = Rig::open(Arc::new(disk.clone()), clock.clone(), options).expect("the disk has no faults");
    let limits = [("proto-max-bulk-len", "1048576")];
    rig.server.config.set_many(&limits, true).expect("a limit that the directive takes");
    rig
}

fn step(rig: &mut Rig, choices: &mut Choices<'_>) {
    let how = choices.byte();
    let session = usize::from(how) % SESSIONS;
    match how >> 4 {
        0 => rig.advance_ms(u64::from(choices.byte()) * 50),
        1 => rig.expire(),
        2 => {
            // Makes the session if it is not there yet.
            rig.is_blocked(session);
            rig.disconnect(session);
        }
        3 => rig.settle(),
        _ if rig.is_blocked(session) => {
            if let Some(reply) = rig.delivered(session) {
                assert!(!reply.is_empty());
            }
        }
        4 => {
            let line = COMMON[choices.below(COMMON.len())];
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert_is_resp(&rig.call(session, &words).0);
        }
        _ => {
            let args = request(choices);
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            assert_is_resp(&rig.call(session, &args).0);
        }
    }
}

/// Whole values and nothing behind them. Nothing at all is what a blocked or silenced client gets.
fn assert_is_resp(reply: &[u8]) {
    let (_, end) = read_all(reply, usize::MAX);
    assert_eq!(end.kind(), ErrorKind::UnexpectedEof, "{end}: {}", reply.escape_ascii());
    let whole = reply.is_empty() || reply.ends_with(b"\r\n");
    assert!(whole, "{}", reply.escape_ascii());
}

fn request(choices: &mut Choices<'_>) -> Vec<Vec<u8>> {
    let command = COMMANDS[choices.below(COMMANDS.len())];
    let mut args = vec![command.name.as_bytes().to_vec()];
    let mut syntax = command.syntax;
    if !command.subcommands.is_empty() {
        let subcommand = &command.subcommands[choices.below(command.subcommands.len())];
        args.push(subcommand.name.as_bytes().to_vec());
        syntax = subcommand.syntax;
    }
    // The words of the command's own syntax, in capitals.
    let options: Vec<&str> = syntax
        .split(|char: char| !char.is_ascii_alphanumeric())
        .filter(|word| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase()))
        .collect();
    let wanted = (command.arity.unsigned_abs() as usize).max(args.len());
    // Mostly as many arguments as the command asks for, or a few more.
    let more = [0, 0, 1, 2, 3, 4, 6, 1][choices.below(8)] * usize::from(command.arity < 0);
    let count = if choices.byte() == 255 { choices.below(6) } else { wanted + more };
    while args.len() < count {
        let first = args.len() == 1;
        args.push(argument(choices, &options, first));
    }
    let is =
        |at: usize, word: &str| args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    // CONFIG reaches limits of the whole process, and the administrator's file; a pause would hold INFO back as well.
    let is_barred = is(0, "config") && !is(1, "get") || is(0, "client") && is(1, "pause");
    if is_barred { vec![b"PING".to_vec()] } else { args }
}

fn argument(choices: &mut Choices<'_>, options: &[&str], is_first: bool) -> Vec<u8> {
    let how = choices.byte();
    match how % 8 {
        _ if is_first && how < 200 => KEYS[usize::from(how) % KEYS.len()].to_vec(),
        0 | 1 => KEYS[choices.below(KEYS.len())].to_vec(),
        2 | 3 => NUMBERS[choices.below(NUMBERS.len())].as_bytes().to_vec(),
        4 if !options.is_empty() => options[choices.below(options.len())].as_bytes().to_vec(),
        4 | 5 => WORDS[choices.below(WORDS.len())].as_bytes().to_vec(),
        6 => vec![b'x'; choices.below(2000)],
        _ => {
            let len = usize::from(choices.byte() % 16);
            choices.take(len).to_vec()
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![Vec::new()];
    // Each command a few times, with arguments that follow from its number.
    for (number, _) in COMMANDS.iter().enumerate() {
        let mut seed = vec![number as u8 & 1];
        // Values first; a transaction around some of it.
        seed.extend([0x40, 3, 0x41, 4, 0x42, 6, 0x42, 5, 0x40, if number % 4 == 0 { 0 } else { 6 }]);
        for round in 0..6u8 {
            let set_up =
                [0x80 | (round % 3), ((number * 7 + usize::from(round) * 13) % 256 % COMMANDS.len()) as u8];
            seed.extend(set_up);
            seed.extend([round, 0, round * 35, 3, round * 5, 2, round * 3, 0, round, 4, round]);
            seed.extend([
                0x80 | (round % 3),
                number as u8,
                round,
                0,
                round * 11,
                2,
                round * 7,
                4,
                round,
                1,
                round,
            ]);
        }
        seed.extend([0x40, 1, 0x42, 1]);
        seeds.push(seed);
    }
    seeds
}
