//! `duramen torture` keeps its word on the real binary: a short run of each mode, and that a server which loses data is found out.
//!
//! `TORTURE_ROUNDS` (default 10) are the crashes of each mode with processes, `TORTURE_SEEDS` (default 2000) the simulated histories.
//! Modes that need root and loop devices are passed over where these are missing, with the reason.

use std::path::Path;
use std::process::Command;

fn number(name: &str, default: u64) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_string())
}

/// Runs the tool. Exit code, standard output, standard error.
fn torture(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_duramen"))
        .arg("torture")
        .args(["--dir", env!("CARGO_TARGET_TMPDIR"), "--json"])
        .args(
            std::env::var_os("DURAMEN_BIN")
                .map(|program| [Path::new("--server").into(), program])
                .into_iter()
                .flatten(),
        )
        .args(arguments)
        .output()
        .expect("the binary under test runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the tool writes text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn field(json: &str, name: &str) -> u64 {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{name} in {json}"));
    rest.split([',', '}'])
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{name} in {json}"))
}

fn assert_good(arguments: &[&str]) -> String {
    let (code, json, why) = torture(arguments);
    print!("{json}");
    assert_eq!(code, Some(0), "{arguments:?}: {json}{why}");
    assert!(field(&json, "acknowledged") > 0 && field(&json, "lost") == 0, "{json}");
    json
}

/// Runs a mode that needs a file system of its own, if there can be one.
fn assert_good_if_possible(arguments: &[&str]) -> Option<String> {
    let (code, json, why) = torture(arguments);
    if code == Some(3) && why.contains("needs root") {
        println!("passed over: {why}");
        return None;
    }
    print!("{json}");
    assert_eq!(code, Some(0), "{arguments:?}: {json}{why}");
    Some(json)
}

#[test]
fn processes_killed_under_load_lose_nothing_that_was_acknowledged() {
    let rounds = number("TORTURE_ROUNDS", 10);
    for fsync in ["always", "everysec"] {
        let json = assert_good(&["--mode", "kill", "--fsync", fsync, "--rounds", &rounds]);
        assert_eq!(field(&json, "failed_starts"), 0);
    }
}

#[test]
fn processes_whose_power_fails_under_load_lose_no_more_than_the_policy_says() {
    let rounds = number("TORTURE_ROUNDS", 10);
    for fsync in ["always", "everysec", "no"] {
        let Some(json) = assert_good_if_possible(&["--mode", "power", "--fsync", fsync, "--rounds", &rounds])
        else {
            return;
        };
        if fsync == "always" {
            assert_eq!(field(&json, "lost_as_promised"), 0);
        }
    }
}

#[test]
fn processes_whose_disk_is_full_refuse_writes_and_take_them_again_when_there_is_space() {
    let rounds = number("TORTURE_ROUNDS", 2);
    if let Some(json) = assert_good_if_possible(&["--mode", "enospc", "--rounds", &rounds]) {
        assert!(field(&json, "refused") > 0, "{json}");
    }
}

#[test]
fn simulated_histories_keep_every_promise() {
    let seeds = number("TORTURE_SEEDS", 2000).parse::<u64>().expect("a number");
    // A fresh place for every run, and the same histories for all who look into a failure.
    let seed = std::env::var("TORTURE_SEED")
        .map_or_else(|_| u64::from(std::process::id()) << 20, |s| s.parse().expect("a number"));
    for (fsync, share) in [("always", 2), ("everysec", 2), ("no", 4)] {
        let rounds = (seeds / share).max(1).to_string();
        let json = assert_good(&[
            "--mode",
            "sim",
            "--fsync",
            fsync,
            "--seed",
            &seed.to_string(),
            "--rounds",
            &rounds,
        ]);
        assert!(field(&json, "crashes") > seeds / share, "{json}");
    }
}

#[test]
fn a_simulated_history_repeats_exactly() {
    let run = || torture(&["--mode", "sim", "--seed", "77", "--rounds", "20"]).1;
    assert_eq!(run(), run());
}

#[test]
fn a_run_of_nothing_is_refused_and_no_broken_promise() {
    let wrong: [&[&str]; 6] = [
        &["--rounds", "0"],
        &["--seconds", "0"],
        &["--clients", "0", "--rounds", "1"],
        &["--clients", "1001", "--rounds", "1"],
        &["--mode", "sim", "--rounds", "0"],
        &["--target", "localhost", "--restart-command", "true"],
    ];
    for arguments in wrong {
        let (code, json, why) = torture(arguments);
        assert_eq!(code, Some(3), "{arguments:?}: {json}{why}");
        assert!(json.is_empty() && !why.is_empty(), "{arguments:?}: {json}");
    }
}

#[test]
fn the_folder_that_was_made_for_the_scratch_goes_with_it() {
    let parent =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("torture-parent-{}", std::process::id()));
    let dir = parent.join("dir");
    let server = std::env::var_os("DURAMEN_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_duramen").into());
    let output = Command::new(env!("CARGO_BIN_EXE_duramen"))
        .args(["torture", "--rounds", "1", "--dir"])
        .arg(&dir)
        .arg("--server")
        .arg(server)
        .output()
        .expect("the binary under test runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!parent.exists());
}

/// A server that keeps nothing on disk: whatever it acknowledged is lost.
#[test]
fn a_server_that_forgets_is_found_out() {
    if !Path::new("/usr/bin/redis-server").exists() {
        println!("passed over: redis-server is not installed");
        return;
    }
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("forgetful-{}", std::process::id()));
    std::fs::create_dir_all(&home).expect("the test directory is writable");
    let port = (20_000 + std::process::id() % 10_000).to_string();
    // The port is free again only some time after the kill.
    let start = format!(
        "cd {home}; test -e pid && kill -9 $(cat pid); sleep 0.3; for attempt in $(seq 400); do redis-cli -p {port} ping >/dev/null 2>&1 && exit 0; \
         redis-server --port {port} --bind 127.0.0.1 --save '' --appendonly no --maxmemory 512mb --daemonize yes \
         --pidfile {home}/pid >/dev/null 2>&1; sleep 0.05; done; exit 1",
        home = home.display()
    );
    let shell = |command: &str| Command::new("sh").args(["-c", command]).status().expect("there is a shell");
    assert!(shell(&start).success());
    let target = format!("127.0.0.1:{port}");
    let (code, json, _) = torture(&["--target", &target, "--restart-command", &start, "--rounds", "1"]);
    shell(&format!("kill -9 $(cat {}/pid)", home.display()));
    assert_eq!(code, Some(2), "{json}");
    assert!(field(&json, "lost") > 0 && json.contains("\"good\":false"), "{json}");
    std::fs::remove_dir_all(home).expect("it is ours");
}
