//! Whether what a server holds after a crash is what it promised.

use super::load::Sent;
use super::subjects::State;

/// The judgement on one client's keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Operations that had to be kept and are not there.
    pub lost: u64,
    /// The first of the acknowledged operations that are not there, whether they had to be kept or not.
    pub first_missing: Option<usize>,
    /// Operations without an answer that are there, nevertheless.
    pub unanswered_kept: u64,
    pub complaint: Option<String>,
}

/// `found` must be the state after a prefix of what was sent that has at least `kept` operations.
pub fn judge(before: &State, sent: &Sent, kept: usize, found: &State, prefix: &str) -> Verdict {
    let mut state = before.clone();
    let mut matching = None;
    for count in 0..=sent.operations.len() {
        if state == *found {
            matching = Some(count);
        }
        if let Some(operation) = sent.operations.get(count) {
            operation.apply(&mut state, prefix);
        }
    }
    let Some(count) = matching else {
        let mut expected = before.clone();
        sent.operations[..sent.acknowledged]
            .iter()
            .for_each(|operation| drop(operation.apply(&mut expected, prefix)));
        let difference = expected.difference(found);
        let complaint = format!("{prefix} no prefix of what was sent explains the state\n{difference}");
        return Verdict { lost: 1, complaint: Some(complaint), ..Verdict::default() };
    };
    let lost = kept.saturating_sub(count) as u64;
    let complaint = (lost > 0).then(|| {
        let first = sent.operations[count].show(prefix);
        format!("{prefix} {lost} acknowledged operations are lost, the first: {first}")
    });
    Verdict {
        lost,
        first_missing: (count < sent.acknowledged).then_some(count),
        unanswered_kept: count.saturating_sub(sent.acknowledged) as u64,
        complaint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::prng::Prng;
    use crate::tools::torture::subjects::{Operation, Values};

    fn sent(count: usize, acknowledged: usize) -> Sent {
        let (mut random, mut values) = (Prng::new(4), Values::new("v".to_owned()));
        let mut states = vec![State::default()];
        let mut operations = Vec::new();
        while operations.len() < count {
            let mut state = states[operations.len()].clone();
            let operation = Operation::random(&mut random, &state, &mut values);
            operation.apply(&mut state, "");
            // Every prefix is to be known by its state.
            if !states.contains(&state) {
                operations.push(operation);
                states.push(state);
            }
        }
        Sent { operations, acknowledged, when: vec![], refused: 0, complaint: None }
    }

    fn after(sent: &Sent, picked: impl IntoIterator<Item = usize>) -> State {
        let mut state = State::default();
        picked.into_iter().for_each(|at| drop(sent.operations[at].apply(&mut state, "")));
        state
    }

    #[test]
    fn a_prefix_with_all_that_was_acknowledged_is_right_and_anything_less_is_lost() {
        let sent = sent(20, 12);
        for count in 0..=20 {
            let verdict = judge(&State::default(), &sent, 12, &after(&sent, 0..count), "c:");
            assert_eq!(verdict.lost, 12u64.saturating_sub(count as u64), "{count}");
            assert_eq!(verdict.complaint.is_some(), count < 12, "{count}");
            assert_eq!(verdict.first_missing, (count < 12).then_some(count));
            assert_eq!(verdict.unanswered_kept, (count as u64).saturating_sub(12));
        }
    }

    #[test]
    fn a_hole_is_never_right() {
        let sent = sent(20, 0);
        let mut wrong = 0;
        for hole in 0..19 {
            let found = after(&sent, (0..20).filter(|&at| at != hole));
            // Later operations may cover what is missing.
            if found != after(&sent, 0..20) {
                wrong += 1;
                let verdict = judge(&State::default(), &sent, 0, &found, "c:");
                assert!(verdict.complaint.is_some_and(|text| text.contains("no prefix")));
            }
        }
        assert!(wrong > 5, "{wrong}");
    }

    #[test]
    fn what_need_not_be_kept_is_missing_but_not_lost() {
        let sent = sent(10, 10);
        let verdict = judge(&State::default(), &sent, 4, &after(&sent, 0..6), "c:");
        assert_eq!((verdict.lost, verdict.first_missing), (0, Some(6)));
    }
}
