//! The tools through the real binary: their exit codes, that they refuse a running server's directory, and that names of tools
//! win over files.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use support::{Options, Server, program_under_test};

fn tool(args: &[&str], dir: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(program_under_test());
    command.args(args).arg(dir).args(more);
    command.output().expect("the binary runs")
}

fn code(args: &[&str], dir: &Path, more: &[&str]) -> i32 {
    tool(args, dir, more).status.code().expect("it ends by itself")
}

#[test]
fn exit_codes_tell_good_from_torn_from_damaged_from_unknown() {
    let mut server = Server::start(Options::default().directive("appendfsync", "always"));
    let dir = server.data_dir();
    let mut client = server.client();
    for i in 0..200 {
        client.call(["SET", &format!("key:{i}"), "value"]).expect("it answers");
    }
    drop(client);
    let in_use = tool(&["check"], &dir, &[]);
    assert_eq!(in_use.status.code(), Some(3));
    let told = String::from_utf8_lossy(&in_use.stderr).into_owned();
    assert!(told.contains("process") && told.contains("Stop the server"), "{told}");
    server.kill9();

    assert!(code(&["check"], &dir, &[]) <= 1);
    assert!(code(&["check", "--json"], &dir, &[]) <= 1);
    assert_eq!(code(&["inspect"], &dir, &["keys"]), 0);
    assert_eq!(code(&["check"], &dir, &["--no-such-option"]), 3);
    assert_eq!(code(&["check"], &dir.join("nothing"), &[]), 3);
    let dump = tool(&["dump", "--key", "key:7"], &dir, &[]);
    let text = String::from_utf8(dump.stdout).expect("lines are ASCII");
    assert!(text.ends_with("1/1 db0 SET key:7 value\n") && text.lines().count() == 1, "{text}");

    let copy = dir.with_file_name("copy");
    let copy_name = copy.to_str().expect("a path of ASCII");
    assert_eq!(code(&["repair", "--into", copy_name], &dir, &[]), 1);
    let mut logs: Vec<_> = fs::read_dir(dir.join("log")).unwrap().map(|e| e.unwrap().path()).collect();
    logs.sort();
    let mut bytes = fs::read(&logs[0]).unwrap();
    bytes[4096 + 80 + 3] ^= 1;
    fs::write(&logs[0], bytes).unwrap();
    assert_eq!(code(&["check"], &dir, &[]), 2);
    assert_eq!(code(&["dump"], &dir, &[]), 2);
    assert_eq!(code(&["repair"], &dir, &[]), 3, "neither --into nor --in-place");
    assert_eq!(code(&["repair", "--into", copy_name], &dir, &[]), 0);
    assert!(code(&["check"], &copy, &[]) <= 1);
    assert_eq!(code(&["check"], &dir, &[]), 2, "the source is as it was");
    assert_eq!(code(&["repair", "--in-place"], &dir, &[]), 0);
    assert!(code(&["check"], &dir, &[]) <= 1);
}
