//! The bodies of the fuzz targets on the stable toolchain: on what is kept in `fuzz/corpus`, on their seeds, and on seeded mutations
//! of both. The same numbers give the same inputs everywhere.
//!
//! `FUZZ_ITERATIONS=n` multiplies the mutations by n, `FUZZ_SEED=n` gives others, `FUZZ_INPUT=file` runs one input alone.
//! An input that fails is kept in `target/fuzz-failures/`.

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

use bodies::{TARGETS, Target};
use duramen::disk::prng::Prng;
use proptest::prelude::*;

const LEN_MAX: usize = 4096;

fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

fn root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What is kept of earlier findings; a target may have none.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(root("fuzz/corpus").join(target)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the folder is readable").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).expect("the corpus is readable")).collect()
}

fn run(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.check)(input))) {
        let folder = root("target/fuzz-failures");
        let path = folder.join(format!("{}-{:016x}", target.name, duramen::hash::hash_bytes(input, 0)));
        let kept = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, input));
        eprintln!("{}: failed on {} bytes, kept in {}: {kept:?}", target.name, input.len(), path.display());
        resume_unwind(panic);
    }
}

/// All that is kept, all seeds, and `mutations` mutations of them.
fn exercise(name: &str, mutations: u64) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    if let Ok(path) = std::env::var("FUZZ_INPUT") {
        return run(target, &std::fs::read(path).expect("FUZZ_INPUT names a file"));
    }
    let mut inputs = corpus(name);
    inputs.extend((target.seeds)());
    assert!(!inputs.is_empty());
    inputs.iter().for_each(|input| run(target, input));
    let mut prng = Prng::new(number("FUZZ_SEED", 1));
    for _ in 0..mutations * number("FUZZ_ITERATIONS", 1) {
        let mut input = pick(&inputs, &mut prng).to_vec();
        for _ in 0..1 + prng.below(4) {
            mutate(&mut input, pick(&inputs, &mut prng), &mut prng);
        }
        input.truncate(LEN_MAX);
        run(target, &input);
    }
}

fn pick<'a>(inputs: &'a [Vec<u8>], prng: &mut Prng) -> &'a [u8] {
    &inputs[prng.below(inputs.len() as u64) as usize]
}

/// One small change; `other` lends bytes.
fn mutate(input: &mut Vec<u8>, other: &[u8], prng: &mut Prng) {
    let mut place = |len: usize| prng.below(len as u64 + 1) as usize;
    let (at, from) = (place(input.len()), place(other.len()));
    let end = (at + place(16)).min(input.len());
    match place(7) {
        0 => drop(input.drain(at..end)),
        1 => input.truncate(at),
        2 => {
            let copy = input[at..end].to_vec();
            input.splice(at..at, copy);
        }
        3 => {
            let lent = &other[from..(from + place(32)).min(other.len())];
            input.splice(at..at, lent.iter().copied());
        }
        4 => {
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        5 if at < input.len() => input[at] ^= 1 << place(7),
        6 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xfe, 0xff, b'\r', b'0'][place(7)],
        _ if at < input.len() => input[at] = place(255) as u8,
        _ => input.push(place(255) as u8),
    }
}

macro_rules! targets {
    ($($name:ident: $mutations:expr,)*) => {
        $(#[test]
        fn $name() {
            exercise(stringify!($name), $mutations);
        })*

        #[test]
        fn every_target_is_exercised_and_has_a_binary() {
            let exercised = [$(stringify!($name)),*];
            let manifest = std::fs::read_to_string(root("fuzz/Cargo.toml")).expect("the manifest is readable");
            for target in TARGETS {
                assert!(exercised.contains(&target.name), "{} is not exercised", target.name);
                assert!(manifest.contains(&format!("name = \"{}\"", target.name)), "{} has no binary", target.name);
            }
        }
    };
}

targets! {
    commands: 200,
    config: 3_000,
    frame: 10_000,
    glob: 10_000,
    manifest: 600,
    numbers: 10_000,
    ops: 250,
    resp_reply: 5_000,
    resp_request: 5_000,
    restore: 5_000,
    segment: 600,
    snapshot_file: 1_000,
}

/// Pieces that requests are made of, whole and broken: mutations seldom keep lengths right.
fn request_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5).prop_map(|args| {
            let mut out = format!("*{}\r\n", args.len()).into_bytes();
            for arg in args {
                out.extend(format!("${}\r\n", arg.len()).into_bytes());
                out.extend(arg);
                out.extend(b"\r\n");
            }
            out
        }),
        2 => "[a-z'\"\\\\ x0-9\t\r]{0,20}\r?\n".prop_map(String::into_bytes),
        2 => "[*$]-?[0-9]{0,3}\r\n".prop_map(String::into_bytes),
        1 => "[*$\r\n0-9a]{1,4}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn resp_request_generated(mode in any::<u8>(), piece in 0u8..12, stream in request_bytes()) {
        bodies::resp_request::check(&[&[mode, piece], &stream[..]].concat());
    }
}

/// cargo-fuzz starts from files; they are made anew from the same encoders as those above.
#[test]
fn seeds_are_written_for_cargo_fuzz() {
    for target in TARGETS {
        assert!(!(target.seeds)().is_empty(), "{} has no seeds", target.name);
        let folder = root("target/fuzz-seeds").join(target.name);
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        for (at, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{at:04}")), seed).expect("the file can be written");
        }
    }
}
