//! From registers to a number: the improved raw estimator of Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog
//! sketches" (arXiv 1702.01284), as Redis has it since version 5.

use super::element::{RANK_BITS, REGISTERS};

/// How many registers have each value. Six bits allow for more values than elements make.
pub(super) type Histogram = [u32; 64];

/// The cardinality. `i64::MIN` where the formula has no finite result, which registers that no elements made can bring about.
pub(super) fn cardinality(histogram: &Histogram) -> i64 {
    // 1 / (2 ln 2)
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    let registers = REGISTERS as f64;
    let highest = RANK_BITS as usize + 1;
    let mut sum = registers * tau((registers - f64::from(histogram[highest])) / registers);
    for &count in histogram[1..highest].iter().rev() {
        sum = (sum + f64::from(count)) * 0.5;
    }
    sum += registers * sigma(f64::from(histogram[0]) / registers);
    let estimate = (ALPHA * registers * registers / sum).round();
    // The limit is 2^63, which is what the conversion would saturate at.
    if estimate < i64::MAX as f64 { estimate as i64 } else { i64::MIN }
}

/// Corrects for registers that are still zero.
fn sigma(share: f64) -> f64 {
    if share == 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut weight, mut sum) = (share, 1.0, share);
    loop {
        power *= power;
        let before = sum;
        sum += power * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

/// Corrects for registers that cannot grow any more.
fn tau(share: f64) -> f64 {
    if share == 0.0 || share == 1.0 {
        return 0.0;
    }
    let (mut root, mut weight, mut sum) = (share, 1.0, 1.0 - share);
    loop {
        root = root.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - root) * (1.0 - root) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}
