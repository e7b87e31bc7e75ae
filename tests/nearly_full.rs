//! The real binary with compaction on a real file system that fills up under write load: a small ext4 in a file. Passed over, with the
//! reason, where there is no root or are no loop devices.

mod support;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use duramen::tools::torture::image::Image;
use support::client::{Client, Value};
use support::random::Random;
use support::{Options, Server};

const IMAGE_BYTES: u64 = 64 << 20;
const WRITERS: usize = 4;
const KEYS: u64 = 60;
const VALUE_LEN: usize = 20_000;
/// What a client was told is there.
type Acknowledged = HashMap<String, Vec<u8>>;

#[derive(Default)]
struct Load {
    acknowledged: AtomicU64,
    ends: AtomicBool,
}

impl Load {
    /// Overwrites keys of its own, one by one, until it is told to end.
    fn write(&self, number: usize, mut client: Client) -> Acknowledged {
        let mut random = Random::seeded(number as u64);
        let mut told = Acknowledged::new();
        while !self.ends.load(Relaxed) {
            let key = format!("key:{number}:{}", random.below(KEYS));
            let value: Vec<u8> = (0..VALUE_LEN / 8).flat_map(|_| random.next().to_le_bytes()).collect();
            match client.call([b"SET", key.as_bytes(), &value[..]]).expect("the server lives") {
                Value::Error(_) => std::thread::sleep(Duration::from_millis(1)),
                _ => {
                    told.insert(key, value);
                    self.acknowledged.fetch_add(1, Relaxed);
                }
            }
        }
        told
    }
}

/// Writes until nothing more fits.
fn use_up(path: &Path) {
    let mut file = File::create(path).expect("the image is writable");
    let piece = vec![7; 256 << 10];
    while file.write_all(&piece).is_ok() {}
    let _ = file.sync_all();
}

fn compactions(server: &Server) -> u64 {
    server.number("aof_rewrites")
}

/// Load, compaction, the disk full, then free again, compaction. Returns what was acknowledged.
fn fill_up_and_recover(server: &mut Server, ballast: &Path) -> Acknowledged {
    let load = Load::default();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let (load, client) = (&load, server.client());
                scope.spawn(move || load.write(number, client))
            })
            .collect();
        server.wait_for("compaction", || compactions(server) >= 3);
        use_up(ballast);
        // Who finds out waits until there is space; whoever comes then is refused.
        let is_refused = || server.client().call(["SET", "other", "1"]).is_ok_and(|reply| reply.is_error());
        server.wait_for("the full disk", || server.info("log_state") == "no-space" && is_refused());
        // Asked for, it says what is missing, and changes nothing.
        server.client().call(["BGSAVE"]).expect("the server lives");
        server.wait_for("the failed compaction", || !server.info("compaction_last_error").is_empty());
        fs::remove_file(ballast).expect("it was made above");
        let (acknowledged, before) = (load.acknowledged.load(Relaxed), compactions(server));
        server.wait_for("writes", || load.acknowledged.load(Relaxed) > acknowledged + 200);
        server.client().call(["BGREWRITEAOF"]).expect("the server lives");
        server.wait_for("compaction with room", || {
            compactions(server) > before && server.info("compaction_last_error").is_empty()
        });
        load.ends.store(true, Relaxed);
        let told = writers.into_iter().flat_map(|writer| writer.join().expect("a writer does not panic"));
        told.collect()
    })
}

#[test]
fn a_disk_that_fills_up_under_load_costs_nothing_that_was_acknowledged() {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nearly-full-{}", std::process::id()));
    fs::create_dir_all(&home).expect("the test directory is writable");
    let image = match Image::make(&home, IMAGE_BYTES) {
        Ok(image) => image,
        Err(why) => {
            println!("passed over: needs root and loop devices: {why}");
            let _ = fs::remove_dir_all(home);
            return;
        }
    };
    let data = image.mount_point().join("data");
    fs::create_dir_all(&data).expect("the image is writable");
    let options = Options::default()
        .directive("dir", &data.to_string_lossy())
        .directive("appendfsync", "always")
        .directive("log-segment-size", "1mb")
        .directive("auto-aof-rewrite-min-size", "2mb");
    let mut server = Server::start(options);
    let told = fill_up_and_recover(&mut server, &image.mount_point().join("ballast"));
    server.kill9();
    server.restart();
    let mut client = server.client();
    for (key, value) in &told {
        let found = client.call(["GET", key]).expect("the server lives");
        assert!(found == Value::bulk(value), "{key}");
    }
    assert!(!told.is_empty());
    drop(client);
    server.kill9();
    drop(server);
    drop(image);
    fs::remove_dir_all(home).expect("it is ours");
}
