//! What the workloads reach: every op there is, and everything that a disk sees of the log and the snapshot.

use std::collections::BTreeSet;

use duramen::codec::put_bytes;
use duramen::keyspace::op::AnyOp;

use crate::life::live;
use crate::workloads;

/// Codes that the decoder knows. It tells of an unknown code before it looks at what comes behind.
fn known_codes() -> BTreeSet<u8> {
    let is_known = |code: u8| {
        let mut op = vec![code, 0];
        put_bytes(&mut op, b"key");
        match AnyOp::decode(&op) {
            Err(malformed) => !malformed.0.contains("unknown"),
            Ok(_) => true,
        }
    };
    (0..=u8::MAX).filter(|&code| is_known(code)).collect()
}

#[test]
fn every_op_there_is_is_logged_by_a_workload_and_every_way_of_the_disk_is_gone() {
    let known = known_codes();
    assert!(known.len() > 20, "{known:?}");
    let mut logged = BTreeSet::new();
    let (mut deltas, mut merges, mut rolls, mut large, mut retired) = (0, 0, 0, 0, 0);
    for workload in workloads::all() {
        let seen = live(&workload).seen;
        deltas += usize::from(seen.deltas);
        merges += usize::from(seen.merges);
        rolls += usize::from(seen.rolls);
        large += usize::from(seen.large);
        retired += usize::from(seen.retired);
        logged.extend(seen.codes);
    }
    let missing: Vec<String> = known.difference(&logged).map(|code| format!("{code:#04x}")).collect();
    assert!(
        missing.is_empty(),
        "no workload logs the ops with the codes {missing:?}: add a line to tests/torture/types/"
    );
    assert!(logged.is_subset(&known), "the probe misses codes: {logged:?}");
    for (what, workloads) in [
        ("writes a delta", deltas),
        ("merges deltas into a base", merges),
        ("rolls to another segment", rolls),
        ("logs a record over several segments", large),
        ("gives segments up", retired),
    ] {
        assert!(workloads >= 2, "{workloads} workloads make the store do this: {what}");
    }
}
