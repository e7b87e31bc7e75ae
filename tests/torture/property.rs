//! Random lines of all types: live state == snapshot and log read back == the same compacted again.

use duramen::disk::SimDisk;
use duramen::log::Policy;
use proptest::prelude::*;

use crate::life::Living;
use crate::types::TYPES;

fn line() -> impl Strategy<Value = String> {
    let lines: Vec<&'static str> = TYPES.iter().flat_map(|each| each.lines).copied().collect();
    prop_oneof![
        24 => prop::sample::select(lines).prop_map(str::to_owned),
        2 => prop::sample::select(&["compact 100", "compact 2000", "compact 100000"][..]).prop_map(str::to_owned),
        1 => (1u64..2000).prop_map(|ms| format!("pass {ms}")),
        1 => prop::sample::select(&["expire", "restart", "settle"][..]).prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(150),
        ..ProptestConfig::default()
    })]

    #[test]
    fn live_is_read_back_is_compacted_again(always: bool, lines in prop::collection::vec(line(), 1..150)) {
        crate::large_allocations_are_maps();
        let policy = if always { Policy::Always } else { Policy::EverySec };
        let mut living = Living::new(SimDisk::new(7), policy).expect("a new store opens");
        // Each start compares what it reads with what was live at that LSN.
        for line in &lines {
            living.step(line, false).map_err(|error| TestCaseError::fail(format!("{line}: {error}")))?;
        }
        let live = living.rig.state();
        for line in ["restart", "compact 1500", "restart", "compact 1000000", "restart", "compact 10", "sigkill"] {
            living.step(line, false).map_err(|error| TestCaseError::fail(format!("{line}: {error}")))?;
            prop_assert_eq!(&living.rig.state(), &live, "after {}", line);
        }
    }
}
