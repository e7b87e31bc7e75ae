//! The server's own log: `loglevel` and `logfile`, by tracing.

use std::io;
use std::sync::Arc;

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::prelude::*;
use tracing_subscriber::reload;

use crate::clock::{Clock, OsClock};
use crate::config::LogLevel;
use crate::disk::appender::Appender;

/// UTC, to the millisecond.
struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        let ms = OsClock::new().wall_ms();
        let (days, in_day) = ((ms / 86_400_000) as i64, ms % 86_400_000);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
        write!(w, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
    }
}

/// The Gregorian date of a day counted from 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, so that leap days end their years; 146097 days are 400 years.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let in_era = z.rem_euclid(146_097);
    let year_of_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::from_level(Level::TRACE),
        LogLevel::Verbose => LevelFilter::from_level(Level::DEBUG),
        LogLevel::Notice => LevelFilter::from_level(Level::INFO),
        LogLevel::Warning => LevelFilter::from_level(Level::WARN),
        LogLevel::Nothing => LevelFilter::OFF,
    }
}

/// Changes the level later.
pub type SetLevel = Box<dyn Fn(LogLevel) + Send + Sync>;

/// What can be done with the log later.
pub struct Logging {
    pub set_level: SetLevel,
    /// `None`: it is standard output.
    pub file: Option<Arc<Appender>>,
}

/// Starts logging to `logfile`, or to standard output if it is empty.
pub fn start(level: LogLevel, logfile: &str) -> io::Result<Logging> {
    let (limit, handle) = reload::Layer::new(filter(level));
    let layer = tracing_subscriber::fmt::layer().with_timer(Utc).with_target(false);
    let registry = tracing_subscriber::registry().with(limit);
    let file = if logfile.is_empty() { None } else { Some(Arc::new(Appender::open(logfile)?)) };
    match file.clone() {
        None => registry.with(layer.with_ansi(false)).init(),
        Some(file) => registry.with(layer.with_ansi(false).with_writer(file)).init(),
    }
    let set_level: SetLevel = Box::new(move |level| {
        if let Err(error) = handle.modify(|limit| *limit = filter(level)) {
            tracing::error!("loglevel was not changed: {error}");
        }
    });
    Ok(Logging { set_level, file })
}

#[cfg(test)]
mod tests {
    use super::civil;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(19_723), (2024, 1, 1));
        assert_eq!(civil(-1), (1969, 12, 31));
    }
}
