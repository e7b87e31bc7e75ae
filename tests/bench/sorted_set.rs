//! What a large sorted set costs: nanoseconds an operation and bytes a member, beside the standard library's collections.
//!
//! `cargo bench --bench sorted_set [members]`. The peer is a `BTreeSet` of (score, member) with a `HashMap` from member to score,
//! which has no ranks. Rounds are short and interleaved, and each one's fastest is printed: on a shared machine the one that others
//! disturbed least. Times include drawing the member and reading its name, each a cache miss.

use std::collections::{BTreeSet, HashMap};
use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;

use duramen::allocator;
use duramen::disk::prng::Prng;
use duramen::types::Collection;
use duramen::types::sorted_set::value::{SortedSet, SortedSetOp};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ROUNDS: usize = 9;
const STEPS: usize = 100_000;

/// Scores that are not negative order as their bits do.
#[derive(Default)]
struct Peer {
    order: BTreeSet<(u64, Rc<[u8]>)>,
    scores: HashMap<Rc<[u8]>, f64>,
}

impl Peer {
    fn set(&mut self, score: f64, member: &[u8]) {
        let (name, new) = match self.scores.get_key_value(member) {
            Some((name, old)) => {
                let name = Rc::clone(name);
                self.order.remove(&(old.to_bits(), Rc::clone(&name)));
                (name, false)
            }
            None => (Rc::from(member), true),
        };
        self.order.insert((score.to_bits(), Rc::clone(&name)));
        if new {
            self.scores.insert(name, score);
        } else if let Some(old) = self.scores.get_mut(member) {
            *old = score;
        }
    }
}

fn set(own: &mut SortedSet, score: f64, member: &[u8]) {
    own.apply(&SortedSetOp::Set { score, member }).expect("setting always fits");
}

fn score(prng: &mut Prng) -> f64 {
    prng.below(1 << 52) as f64 / (1u64 << 32) as f64
}

/// Fastest round so far, in nanoseconds a step.
fn round(best: &mut f64, mut step: impl FnMut()) {
    let start = Instant::now();
    (0..STEPS).for_each(|_| step());
    *best = best.min(start.elapsed().as_nanos() as f64 / STEPS as f64);
}

fn main() {
    let members =
        std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(1_000_000u64).max(11);
    let names: Vec<String> = (0..members).map(|n| format!("member:{n}")).collect();
    let mut prng = Prng::new(7);
    let mut filled = |what: &str, fill: &mut dyn FnMut(f64, &[u8])| {
        let (before, start) = (allocator::usage().allocated, Instant::now());
        names.iter().for_each(|name| fill(score(&mut prng), name.as_bytes()));
        let ns = start.elapsed().as_nanos() as f64 / members as f64;
        let bytes = (allocator::usage().allocated - before) as f64 / members as f64;
        println!("{what}: filled with {ns:.0} ns and {bytes:.1} bytes a member");
    };
    let (mut own, mut peer) = (SortedSet::default(), Peer::default());
    filled("sorted set", &mut |score, name| set(&mut own, score, name));
    println!("            of which it knows {:.1} bytes", own.heap_bytes() as f64 / members as f64);
    filled("BTreeSet + HashMap", &mut |score, name| peer.set(score, name));

    let mut prng = Prng::new(8);
    let (mut ours, mut theirs) = ([f64::INFINITY; 5], [f64::INFINITY; 5]);
    let name = |prng: &mut Prng| names[prng.below(members) as usize].as_bytes();
    for _ in 0..ROUNDS {
        round(&mut ours[0], || set(&mut own, score(&mut prng), name(&mut prng)));
        round(&mut theirs[0], || peer.set(score(&mut prng), name(&mut prng)));
        round(&mut ours[1], || {
            let name = name(&mut prng);
            let score = own.score(name).expect("all are there");
            set(&mut own, score + 1.0, name);
        });
        round(&mut theirs[1], || {
            let name = name(&mut prng);
            let score = peer.scores[name];
            peer.set(score + 1.0, name);
        });
        round(&mut ours[2], || _ = black_box(own.score(name(&mut prng))));
        round(&mut theirs[2], || _ = black_box(peer.scores.get(name(&mut prng))));
        round(&mut ours[3], || _ = black_box(own.rank(name(&mut prng))));
        round(&mut ours[4], || {
            let start = prng.below(members - 10) as usize;
            own.range(start..start + 10).for_each(|row| _ = black_box(row));
        });
        round(&mut theirs[4], || {
            let start = (score(&mut prng).to_bits(), Rc::from(&b""[..]));
            peer.order.range(start..).take(10).for_each(|row| _ = black_box(row));
        });
    }
    let what = [
        "another score",
        "score + 1",
        "score of a member",
        "rank of a member",
        "ten rows from a rank (peer: a score)",
    ];
    for ((what, ours), theirs) in what.iter().zip(ours).zip(theirs) {
        match theirs.is_finite() {
            true => println!("{what}: {ours:.0} ns, peer {theirs:.0} ns, ratio {:.2}", ours / theirs),
            false => println!("{what}: {ours:.0} ns"),
        }
    }
}
