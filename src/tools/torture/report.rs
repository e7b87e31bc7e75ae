//! What a torture run found.

use std::fmt::Write;
use std::time::Duration;

use crate::tools::json::Json;

#[derive(Debug, Default)]
pub struct Report {
    pub mode: &'static str,
    pub fsync: String,
    pub seed: u64,
    /// Crashes of a real server, or simulated histories.
    pub rounds: u64,
    /// Restarts in simulated histories.
    pub crashes: u64,
    /// Operations that were answered.
    pub acknowledged: u64,
    /// Of these, missing although they had to be kept.
    pub lost: u64,
    /// Acknowledged operations that a power failure took and was allowed to take: `appendfsync everysec` or `no`.
    pub given_up: u64,
    /// The oldest of those, at the moment of the failure.
    pub given_up_age: Duration,
    /// Sent and never answered: they may be there or not.
    pub unanswered: u64,
    /// Of these, found.
    pub unanswered_kept: u64,
    /// Refused for want of space.
    pub refused: u64,
    pub failed_starts: u64,
    pub recoveries: Vec<Duration>,
    pub complaints: Vec<String>,
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.lost == 0 && self.failed_starts == 0 && self.complaints.is_empty()
    }

    /// Half of the recoveries were faster, and the slowest.
    fn recovery_us(&self) -> (u64, u64) {
        let mut sorted = self.recoveries.clone();
        sorted.sort_unstable();
        let us = |at: Option<&Duration>| at.map_or(0, |took| took.as_micros() as u64);
        (us(sorted.get(sorted.len() / 2)), us(sorted.last()))
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        let (p50, max) = self.recovery_us();
        let mut line = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<24}{value}");
        };
        line("mode", format!("{}, appendfsync {}, seed {}", self.mode, self.fsync, self.seed));
        line("rounds", self.rounds.to_string());
        if self.crashes > 0 {
            line("crashes", self.crashes.to_string());
        }
        line("acknowledged", self.acknowledged.to_string());
        line("lost", self.lost.to_string());
        if self.given_up > 0 {
            let ms = self.given_up_age.as_millis();
            line(
                "lost as promised",
                format!("{}, the oldest {ms} ms before the power failed", self.given_up),
            );
        }
        line("unanswered", format!("{}, {} of them kept", self.unanswered, self.unanswered_kept));
        if self.refused > 0 {
            line("refused", self.refused.to_string());
        }
        line("failed starts", self.failed_starts.to_string());
        if !self.recoveries.is_empty() {
            line("recovery", format!("p50 {:.1} ms, longest {:.1} ms", p50 as f64 / 1e3, max as f64 / 1e3));
        }
        for complaint in &self.complaints {
            line("WRONG", complaint.clone());
        }
        line(
            "verdict",
            if self.is_good() { "every promise was kept" } else { "promises were broken" }.to_owned(),
        );
        text
    }

    pub fn json(&self) -> Json {
        let (p50, max) = self.recovery_us();
        Json::Object(vec![
            ("mode", self.mode.into()),
            ("fsync", self.fsync.as_str().into()),
            ("seed", self.seed.into()),
            ("rounds", self.rounds.into()),
            ("crashes", self.crashes.into()),
            ("acknowledged", self.acknowledged.into()),
            ("lost", self.lost.into()),
            ("lost_as_promised", self.given_up.into()),
            ("lost_as_promised_age_us", (self.given_up_age.as_micros() as u64).into()),
            ("unanswered", self.unanswered.into()),
            ("unanswered_kept", self.unanswered_kept.into()),
            ("refused", self.refused.into()),
            ("failed_starts", self.failed_starts.into()),
            ("recovery_p50_us", p50.into()),
            ("recovery_max_us", max.into()),
            ("complaints", Json::list(self.complaints.iter().map(String::as_str))),
            ("good", self.is_good().into()),
        ])
    }
}
