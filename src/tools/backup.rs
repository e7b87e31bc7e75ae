//! `duramen backup`: has a running server make a backup, and verifies it by the code of `check`.

use std::io::Write;

use crate::clock::Clock;
use crate::disk::OsDisk;
use crate::error::StoreError;

use super::check::{self, Report};
use super::connect::{Made, Server};
use super::json::Json;
use super::{Done, write_failed};

/// Makes a backup in `dir`, a path from the root, and tells about it.
pub fn backup(
    server: &mut Server,
    dir: &str,
    copy: bool,
    json: bool,
    clock: &dyn Clock,
    out: &mut dyn Write,
) -> Done {
    let started = clock.monotonic();
    let made = server.backup(dir, copy)?;
    let took_s = clock.monotonic().saturating_sub(started).as_secs_f64();
    let disk = OsDisk::open_existing(dir.into()).map_err(|error| {
        StoreError::Refused(format!(
            "{} has made the backup through LSN {}, but {dir} cannot be read here ({error}): it is on that server's machine. \
             Run `duramen check {dir}` there",
            server.address, made.lsn
        ))
    })?;
    let report = check::check(&disk, clock)?;
    let text = if json { of_json(dir, &made, took_s, &report) } else { of_text(dir, &made, took_s, &report) };
    out.write_all(text.as_bytes()).map_err(write_failed)?;
    Ok((report.exit_code(), None))
}

fn of_text(dir: &str, made: &Made, took_s: f64, report: &Report) -> String {
    format!(
        "{dir}: {} files, {:.1} MiB, through LSN {}, in {took_s:.2} s; {} linked, {} copied\n{}",
        made.files,
        made.bytes as f64 / f64::from(1 << 20),
        made.lsn,
        made.linked,
        made.copied,
        report.text()
    )
}

fn of_json(dir: &str, made: &Made, took_s: f64, report: &Report) -> String {
    let object = Json::Object(vec![
        ("dir", dir.into()),
        ("lsn", made.lsn.into()),
        ("files", made.files.into()),
        ("bytes", made.bytes.into()),
        ("linked", made.linked.into()),
        ("copied", made.copied.into()),
        ("took_ms", ((took_s * 1000.0) as u64).into()),
        ("check", report.json()),
    ]);
    object.to_string() + "\n"
}
