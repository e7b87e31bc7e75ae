//! The configuration against what Redis accepts, shows and refuses.

use super::conf::command_line;
use super::*;
use proptest::prelude::*;

fn load(text: impl AsRef<[u8]>) -> Result<(Config, Vec<String>), LoadError> {
    let config = Config::new();
    let mut none = |pattern: &str| Err(format!("no file {pattern}"));
    let mut loader = Loader::new(&config, &mut none);
    loader.file(text.as_ref())?;
    let warnings = loader.finish();
    Ok((config, warnings))
}

fn loaded(text: impl AsRef<[u8]>) -> Config {
    load(text).unwrap().0
}

fn set(config: &Config, name: &str, value: &str) -> Result<(), String> {
    config.set_many(&[(name, value)], false).map(drop).map_err(|error| error.text().to_string())
}

fn get(config: &Config, name: &str) -> String {
    config.get_matching(&[name]).pop().map(|(_, value)| value).unwrap()
}

fn rewritten(existing: &str, config: &Config) -> String {
    let text =
        rewrite(existing.as_bytes(), config, &mut |pattern| Err(format!("no file {pattern}"))).unwrap();
    String::from_utf8(text).unwrap()
}

/// What a config says, all of it.
fn everything(config: &Config) -> Vec<(String, String)> {
    config.get_matching(&["*"])
}

#[test]
fn names_of_the_table_are_unique_and_spelled_alike() {
    let mut seen = std::collections::HashSet::new();
    for &name in Name::ALL {
        let directive = name.directive();
        assert_eq!(format!("{name:?}"), directive.name.replace('-', "_"));
        assert!(directive.doc.ends_with('.'), "{}", directive.name);
        for called in std::iter::once(&directive.name).chain(directive.aliases) {
            assert!(seen.insert(*called), "{called} twice");
        }
    }
}

#[test]
fn every_default_is_accepted_by_its_own_rules() {
    for &name in Name::ALL {
        let directive = name.directive();
        let value =
            directive.kind.parse(&[directive.default], "").unwrap_or_else(|e| panic!("{name:?}: {e}"));
        assert!(matches!(load::judge(name, value.clone(), load::Phase::Start), Ok(accepted)
            if accepted.value == value && accepted.warning.is_none()));
        assert_eq!(Config::new().value(name), value);
    }
}

#[test]
fn defaults_are_those_of_redis_but_for_bind_and_save() {
    let config = Config::new();
    assert_eq!(config.port(), 6379);
    assert_eq!(config.bind(), ["127.0.0.1", "-::1"]);
    assert_eq!(config.appendfsync(), AppendFsync::EverySec);
    assert_eq!(config.loglevel(), LogLevel::Notice);
    assert_eq!(config.maxmemory_policy(), MaxmemoryPolicy::NoEviction);
    assert_eq!(config.client_query_buffer_limit(), 1 << 30);
    assert_eq!(config.save(), []);
    assert_eq!(config.maxmemory_clients(), MemoryLimit::Bytes(0));
    assert_eq!(config.repl_diskless_load(), "disabled");
    assert_eq!(config.unixsocketperm(), 0);
    assert_eq!(config.notify_keyspace_events(), Notify::empty());
    assert!(config.appendonly() && config.protected_mode() && !config.daemonize());
    let replica = config.output_buffer_limit(ClientClass::Replica);
    assert_eq!(replica, OutputBufferLimit { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft_seconds: 60 });
    let shown = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
    assert_eq!(get(&config, "client-output-buffer-limit"), shown);
}

/// The settings of Debian's /etc/redis/redis.conf, shortened by their comments.
const DEBIAN: &str = r#"# Redis configuration file example.
# include /path/to/local.conf
bind 127.0.0.1 -::1
protected-mode yes
port 6379
tcp-backlog 511
timeout 0
tcp-keepalive 300
daemonize yes
pidfile /run/redis/redis-server.pid
loglevel notice
logfile /var/log/redis/redis-server.log
databases 16
always-show-logo no
set-proc-title yes
proc-title-template "{title} {listen-addr} {server-mode}"
stop-writes-on-bgsave-error yes
rdbcompression yes
rdbchecksum yes
dbfilename dump.rdb
rdb-del-sync-files no
dir /var/lib/redis
replica-serve-stale-data yes
replica-read-only yes
repl-diskless-sync yes
repl-diskless-sync-delay 5
repl-diskless-sync-max-replicas 0
repl-diskless-load disabled
repl-disable-tcp-nodelay no
replica-priority 100
acllog-max-len 128
lazyfree-lazy-eviction no
lazyfree-lazy-expire no
lazyfree-lazy-server-del no
replica-lazy-flush no
lazyfree-lazy-user-del no
lazyfree-lazy-user-flush no
oom-score-adj no
oom-score-adj-values 0 200 800
disable-thp yes
appendonly no
appendfilename "appendonly.aof"
appenddirname "appendonlydir"
# appendfsync always
appendfsync everysec
no-appendfsync-on-rewrite no
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 64mb
aof-load-truncated yes
aof-use-rdb-preamble yes
aof-timestamp-enabled no
 
slowlog-log-slower-than 10000
slowlog-max-len 128
latency-monitor-threshold 0
notify-keyspace-events ""
hash-max-listpack-entries 512
hash-max-listpack-value 64
list-max-listpack-size -2
list-compress-depth 0
set-max-intset-entries 512
zset-max-listpack-entries 128
zset-max-listpack-value 64
hll-sparse-max-bytes 3000
stream-node-max-bytes 4096
stream-node-max-entries 100
activerehashing yes
client-output-buffer-limit normal 0 0 0
client-output-buffer-limit replica 256mb 64mb 60
client-output-buffer-limit pubsub 32mb 8mb 60
hz 10
dynamic-hz yes
aof-rewrite-incremental-fsync yes
rdb-save-incremental-fsync yes
jemalloc-bg-thread yes
"#;

#[test]
fn debians_file_loads_with_a_warning_for_what_cannot_be_had() {
    let (config, warnings) = load(DEBIAN).unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("daemonize yes:") && warnings[1].starts_with("appendonly no:"));
    assert!(config.appendonly() && !config.daemonize());
    assert_eq!(config.dir(), "/var/lib/redis");
    assert_eq!(config.bind(), ["127.0.0.1", "-::1"]);
    assert_eq!(rewritten(DEBIAN, &config), DEBIAN);
}

#[test]
fn later_lines_win_and_saves_add_up() {
    let config = loaded("timeout 5\nTIMEOUT 6\nsave 10 1\nsave 20 2\nslave-priority 7\n");
    assert_eq!(config.timeout(), 6);
    assert_eq!(config.save(), [(10, 1), (20, 2)]);
    assert_eq!(config.replica_priority(), 7);
    assert_eq!(loaded("save 10 1\nsave \"\"\n").save(), []);
    assert_eq!(loaded("save 10 1\nsave \"\"\nsave 5 6").save(), [(5, 6)]);
    assert_eq!(loaded("maxmemory-clients 5%").maxmemory_clients(), MemoryLimit::PercentOfMaxmemory(5));
}

#[test]
fn addresses_are_words_however_they_were_quoted() {
    for line in ["bind 127.0.0.1 ::1", "bind \"127.0.0.1   ::1\"", "bind \" 127.0.0.1 \" \"\" ::1 \" \""] {
        let config = loaded(line);
        assert_eq!(config.bind(), ["127.0.0.1", "::1"], "{line}");
        assert_eq!(loaded(rewritten("", &config)).bind(), config.bind());
    }
    assert!(load(format!("bind \"{}\" last", "1 ".repeat(16))).is_err(), "seventeen are too many");
}

#[test]
fn options_override_the_file() {
    let args = ["x.conf", "--port", "7000", "--save", "", "--appendfsync=always"].map(str::to_string);
    let line = command_line(&args).unwrap();
    let config = Config::new();
    let mut none = |_: &str| Err(String::new());
    let mut loader = Loader::new(&config, &mut none);
    loader.file(b"port 1\nsave 1 2\n").unwrap();
    loader.options(&line.options).unwrap();
    assert_eq!((config.port(), config.appendfsync()), (7000, AppendFsync::Always));
    assert_eq!(config.save(), []);
}

#[test]
fn a_bad_line_is_reported_as_redis_does_with_the_nearest_name() {
    let report = load("port 7932\n\napendfsync always\n").unwrap_err().to_string();
    let expected = "*** FATAL CONFIG FILE ERROR (Duramen 0.1.0) ***\n\
        Reading the configuration file, at line 3\n>>> 'apendfsync always'\n\
        Bad directive or wrong number of arguments\nDid you mean 'appendfsync'?";
    assert_eq!(report, expected);
    for (line, reason) in [
        ("port 1 2", "wrong number of arguments"),
        ("logfile", "wrong number of arguments"),
        ("hz 10 # c", "wrong number of arguments"),
        ("port x", "argument couldn't be parsed into an integer"),
        ("appendfsync xx", "argument(s) must be one of the following: everysec, always, no"),
        ("supervised zzz", "argument(s) must be one of the following: upstart, systemd, auto, no"),
        ("logfile \"abc", "Unbalanced quotes in configuration line"),
        ("maxmemory 10%", "argument must be a memory value"),
        ("save 10", "Invalid save parameters"),
        ("unixsocketperm 888", "argument couldn't be parsed as an octal number"),
        ("appendfilename a/b", "appendfilename can't be a path, just a filename"),
        ("appenddirname \"\"", "appenddirname can't be empty"),
        ("appenddirname a/b", "appenddirname can't be a path, just a dirname"),
        ("replicaof x", "wrong number of arguments"),
        ("rename-command get", "Bad directive or wrong number of arguments"),
        ("bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "Too many bind addresses specified."),
        (
            "client-output-buffer-limit foo 1 2 3",
            "Invalid client class specified in buffer limit configuration.",
        ),
        ("io-threads 129", "argument must be between 1 and 128 inclusive"),
        ("replicaof localhost 6379", "this server cannot be a replica; only 'no one' is accepted"),
        ("cluster-enabled yes", "this server has no cluster mode"),
        ("tls-port 6380", "this server has no TLS"),
        ("loadmodule x.so", "this server has no modules"),
        (
            "min-slaves-to-write 1",
            "this server has no replicas: by this setting it would refuse every write for ever. Leave it at 0",
        ),
        ("databases 1025", "argument must be between 1 and 1024 inclusive"),
        (
            "aclfile /etc/redis/users.acl",
            "this server has no ACL users: remove aclfile, and set requirepass if clients should need a password",
        ),
        (
            "user bob on >pw ~* &* +@all",
            "this server has no ACL users: only 'user default on >password ~* &* +@all' is taken, as requirepass (or \
             nopass in place of the password). Remove the line, and set requirepass if clients should need a password",
        ),
    ] {
        let error = load(line).unwrap_err();
        assert_eq!((error.reason.as_str(), error.line, error.hint), (reason, 1, None), "{line}");
    }
}

#[test]
fn an_unknown_option_is_reported_with_the_nearest_name() {
    let line = command_line(&["--prot".to_string(), "7932".to_string()]).unwrap();
    let config = Config::new();
    let mut none = |_: &str| Err(String::new());
    let error = Loader::new(&config, &mut none).options(&line.options).unwrap_err().to_string();
    assert!(error.contains("Reading the command line\n>>> 'prot \"7932\"'\nBad directive"), "{error}");
    assert!(error.ends_with("Did you mean 'port'?"));
}

#[test]
fn includes_are_read_in_place_and_not_for_ever() {
    let config = Config::new();
    let mut files = |pattern: &str| match pattern {
        "/etc/*.conf" => Ok(vec![
            ("/etc/a.conf".to_string(), b"timeout 2\nhz 20\n".to_vec()),
            ("/etc/b.conf".to_string(), b"timeout 3\n".to_vec()),
        ]),
        "loop" => Ok(vec![("loop".to_string(), b"include loop".to_vec())]),
        "bad" => Ok(vec![("bad".to_string(), b"\nnope 1".to_vec())]),
        _ => Err("Can't open config file".to_string()),
    };
    let mut loader = Loader::new(&config, &mut files);
    loader.file(b"timeout 1\ninclude /etc/*.conf\nhz 30\n").unwrap();
    assert_eq!((config.timeout(), config.hz()), (3, 30));
    assert!(loader.file(b"include loop").unwrap_err().reason.contains("too deeply"));
    let error = loader.file(b"include bad").unwrap_err();
    assert_eq!((error.origin, error.line), (Origin::Included("bad".to_string()), 2));
    assert_eq!(loader.file(b"\ninclude gone").unwrap_err().reason, "Can't open config file");
}

#[test]
fn renamed_commands_are_kept() {
    let config = loaded("rename-command FLUSHALL \"\"\n");
    assert_eq!(config.renamed_commands(), [("FLUSHALL".to_string(), String::new())]);
}

#[test]
fn a_default_user_with_all_rights_is_taken_as_requirepass() {
    let line = "user default on >secret ~* &* +@all\n";
    for text in
        [line.to_string(), format!("requirepass secret\n{line}"), format!("{line}requirepass secret\n{line}")]
    {
        let (config, warnings) = load(&text).unwrap();
        assert_eq!((config.requirepass().as_str(), warnings.len()), ("secret", 0), "{text}");
    }
    assert_eq!(loaded("user default on nopass ~* &* +@all").requirepass(), "");
    for text in [
        format!("requirepass other\n{line}"),
        format!("{line}requirepass other\n"),
        format!("{line}requirepass \"\"\n"),
        format!("{line}user default on nopass ~* &* +@all\n"),
        "user default on nopass ~* &* +@all\nrequirepass x\n".to_string(),
    ] {
        let error = load(&text).unwrap_err();
        assert_eq!((error.reason.as_str(), error.line), (default_user::CONFLICT, 2), "{text}");
    }
}

#[test]
fn rewrite_lets_a_new_password_take_the_place_of_the_default_user() {
    let file = "# a\nuser default on >secret ~* &* +@all\nhz 20\n";
    let config = loaded(file);
    assert_eq!(rewritten(file, &config), file);
    set(&config, "requirepass", "other").unwrap();
    let text = rewritten(file, &config);
    assert_eq!(text, "# a\nrequirepass \"other\"\nhz 20\n");
    assert_eq!(everything(&loaded(&text)), everything(&config));
}

#[test]
fn a_setting_without_effect_is_told_once_and_without_its_value() {
    let (_, warnings) =
        load("masterauth secret\nmasterauth secret2\nrepl-timeout 60\nhz 20\nlatency-tracking no\n").unwrap();
    assert_eq!(
        warnings,
        ["latency-tracking", "masterauth"]
            .map(|name| format!("{name}: the setting has no effect in this server (docs/configuration.md)"))
    );
}

#[test]
fn comments_may_hold_any_bytes_and_stay() {
    let file = b"# caf\xe9\r\nhz 20\n#\xff\xfe\ntimeout 1\n";
    let config = loaded(file);
    assert_eq!((config.hz(), config.timeout()), (20, 1));
    set(&config, "timeout", "2").unwrap();
    let text = rewrite(file, &config, &mut |_| Err(String::new())).unwrap();
    assert_eq!(text, b"# caf\xe9\r\nhz 20\n#\xff\xfe\ntimeout 2\n");
    for line in [&b"requirepass caf\xe9"[..], b"requirepass \"caf\\xe9\""] {
        let error = load([&b"# \xe9\n"[..], line].concat()).unwrap_err();
        assert_eq!(error.line, 2);
        assert!(error.reason.contains("not valid UTF-8"), "{error}");
    }
    assert_eq!(loaded(b"requirepass \"\\xc3\\xa9\"").requirepass(), "\u{e9}");
}

/// A directive that nothing reads must not be said to work.
#[test]
fn every_directive_with_an_effect_is_read_somewhere() {
    fn sources(dir: &std::path::Path, text: &mut String) {
        for item in std::fs::read_dir(dir).unwrap() {
            let path = item.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                sources(&path, text);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && name != "table.rs" {
                text.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut text = String::new();
    sources(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut text);
    // Its values are refused by their rule, as they are read.
    let by_its_rule = [Name::replicaof];
    for &name in Name::ALL.iter().filter(|name| name.directive().effect == Effect::Live) {
        let is_read = text.contains(&format!(".{name:?}(")) || text.contains(&format!("Name::{name:?}"));
        assert!(is_read || by_its_rule.contains(&name), "nothing reads {}", name.directive().name);
    }
}

#[test]
fn config_set_answers_with_redis_texts() {
    let config = Config::new();
    let failed = |name: &str, reason: &str| {
        Err(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"))
    };
    for (name, value, reason) in [
        ("port", "70000", "argument must be between 0 and 65535 inclusive"),
        ("maxclients", "0", "argument must be between 1 and 4294967295 inclusive"),
        ("hz", "abc", "argument couldn't be parsed into an integer"),
        ("dynamic-hz", "maybe", "argument must be 'yes' or 'no'"),
        ("appendfsync", "xx", "argument(s) must be one of the following: everysec, always, no"),
        ("maxmemory", "1x", "argument must be a memory value"),
        ("proto-max-bulk-len", "100", "argument must be between 1048576 and 9223372036854775807 inclusive"),
        ("maxmemory-clients", "101%", "percentage argument must be less or equal to 100"),
        ("databases", "3", "can't set immutable config"),
        ("DATABASES", "3", "can't set immutable config"),
        ("dbfilename", "x", "can't set protected config"),
        ("notify-keyspace-events", "Q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
        ("latency-tracking-info-percentiles", "abc", "Invalid latency-tracking-info-percentiles parameters"),
        ("proc-title-template", "{foo}", "template format is invalid or contains unknown variables"),
        ("appendonly", "no", "the log is always on and cannot be turned off"),
        (
            "min-replicas-to-write",
            "1",
            "this server has no replicas: by this setting it would refuse every write for ever. Leave it at 0",
        ),
    ] {
        assert_eq!(set(&config, name, value), failed(name, reason));
    }
    let unknown =
        |name: &str| Err(format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'"));
    for name in ["nope", "include", "user", "rename-command", "bi*"] {
        assert_eq!(set(&config, name, "1"), unknown(name));
    }
    assert_eq!(set(&config, "a\r\nb", "1"), unknown("a  b"));
    assert_eq!(set(&config, "appendonly", "yes"), Ok(()));
    assert_eq!(everything(&config), everything(&Config::new()));
}

#[test]
fn config_set_is_all_or_nothing() {
    let config = Config::new();
    let set =
        |pairs: &[(&str, &str)]| config.set_many(pairs, false).map_err(|error| error.text().to_string());
    let error = set(&[("hz", "20"), ("timeout", "x"), ("maxclients", "0")]).unwrap_err();
    assert!(error.contains("'timeout'"), "{error}");
    let error = set(&[("hz", "x"), ("nope", "1")]).unwrap_err();
    assert!(error.ends_with("- 'nope'"), "{error}");
    let error = set(&[("hz", "1"), ("HZ", "2")]).unwrap_err();
    assert_eq!(error, "ERR CONFIG SET failed (possibly related to argument 'HZ') - duplicate parameter");
    assert_eq!(config.hz(), 10);

    let changed = set(&[("hz", "20"), ("timeout", "0"), ("requirepass", "x")]).unwrap();
    let names: Vec<Name> = changed.iter().map(|change| change.name).collect();
    assert_eq!(names, [Name::hz, Name::requirepass], "timeout was 0 before");
    assert_eq!((config.hz(), config.requirepass().as_str()), (20, "x"));
    config.restore(&changed);
    assert_eq!(everything(&config), everything(&Config::new()));

    set(&[("lua-time-limit", "10"), ("busy-reply-threshold", "11")]).unwrap();
    assert_eq!(config.busy_reply_threshold(), 11);
}

#[test]
fn protected_directives_follow_enable_protected_configs() {
    for (allow, local, expected) in
        [("no", true, false), ("local", false, false), ("local", true, true), ("yes", false, true)]
    {
        let config = loaded(format!("enable-protected-configs {allow}"));
        assert_eq!(config.set_many(&[("dbfilename", "x")], local).is_ok(), expected, "{allow} {local}");
    }
}

#[test]
fn config_get_takes_patterns_and_answers_each_name_once() {
    let config = Config::new();
    let names = |patterns: &[&str]| -> Vec<String> {
        config.get_matching(patterns).into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(&["HZ"]), ["HZ"]);
    assert_eq!(names(&["H?", "ti*out", "hz"]), ["timeout", "hz"]);
    assert_eq!(names(&["hz", "hz"]), ["hz"]);
    assert!(names(&["nope", "rename-command", "user"]).is_empty());
    let ziplists = names(&["*ziplist*"]);
    assert_eq!(ziplists.len(), 5, "{ziplists:?}");
    assert_eq!(get(&config, "lua-time-limit"), "5000");
    set(&config, "maxmemory", "1KB").unwrap();
    set(&config, "hz", "1000000").unwrap();
    set(&config, "appendfsync", "ALWAYS").unwrap();
    set(&config, "shutdown-on-sigint", "force save").unwrap();
    assert_eq!(["maxmemory", "hz", "appendfsync"].map(|name| get(&config, name)), ["1024", "500", "always"]);
    assert_eq!(config.shutdown_on_sigint(), ShutdownFlags::SAVE | ShutdownFlags::FORCE);
    set(&config, "client-output-buffer-limit", "pubsub 1 2 3").unwrap();
    assert_eq!(config.output_buffer_limit(ClientClass::PubSub).soft_seconds, 3);
}

#[test]
fn rewrite_keeps_what_holds_and_replaces_what_does_not() {
    let file = "# header\nport 7933\n\n  # indented\ntimeout 5\n# dup\ntimeout 6\nSlowlog-Max-Len 128\n\
        save 10 1\nsave 20 2\nrename-command FLUSHALL \"\"\nmaxmemory   100mb\nhash-max-ziplist-entries 100\n\
        requirepass 'a b'\n# end";
    let config = loaded(file);
    let kept = file.replace("timeout 5\n", "") + "\n";
    assert_eq!(rewritten(file, &config), kept);
    for (name, value) in [
        ("timeout", "9"),
        ("maxmemory", "150mb"),
        ("save", ""),
        ("requirepass", "x\"y"),
        ("hash-max-listpack-entries", "7"),
        ("hll-sparse-max-bytes", "2048"),
        ("notify-keyspace-events", "KEA"),
        ("client-output-buffer-limit", "pubsub 1kb 2 3"),
    ] {
        set(&config, name, value).unwrap();
    }
    let expected = "# header\nport 7933\n\n  # indented\n# dup\ntimeout 9\nSlowlog-Max-Len 128\nsave \"\"\n\
        rename-command FLUSHALL \"\"\nmaxmemory 150mb\nhash-max-listpack-entries 7\nrequirepass \"x\\\"y\"\n# end\n\n\
        # Generated by CONFIG REWRITE\nclient-output-buffer-limit normal 0 0 0\n\
        client-output-buffer-limit replica 256mb 64mb 60\nclient-output-buffer-limit pubsub 1kb 2 3\n\
        hll-sparse-max-bytes 2kb\nnotify-keyspace-events \"AKE\"\n";
    let text = rewritten(file, &config);
    assert_eq!(text, expected);
    assert_eq!(rewritten(&text, &config), text, "nothing is left to rewrite");
    assert_eq!(everything(&loaded(&text)), everything(&config));
}

#[test]
fn rewrite_respects_what_included_files_set() {
    fn files(pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        Ok(vec![(pattern.to_string(), b"timeout 3\nhz 20\nsave 1 2\n".to_vec())])
    }
    let file = "timeout 1\ninclude x\nport 7\n";
    let config = Config::new();
    Loader::new(&config, &mut files).file(file.as_bytes()).unwrap();
    let rewritten =
        |config: &Config| String::from_utf8(rewrite(file.as_bytes(), config, &mut files).unwrap()).unwrap();
    assert_eq!(rewritten(&config), file);
    for (name, value) in [("timeout", "1"), ("port", "8"), ("hz", "10"), ("save", "3 4")] {
        set(&config, name, value).unwrap();
    }
    let text = rewritten(&config);
    let generated = "# Generated by CONFIG REWRITE\ntimeout 1\nhz 10\nsave \"\"\nsave 3 4\n";
    assert_eq!(text, format!("include x\nport 8\n\n{generated}"));
    let again = Config::new();
    Loader::new(&again, &mut files).file(text.as_bytes()).unwrap();
    assert_eq!(everything(&again), everything(&config));
}

#[test]
fn rewrite_leaves_line_ends_alone() {
    let file = "# a\r\nhz 20\r\n\r\ntimeout 1\r\n";
    let config = loaded(file);
    assert_eq!(rewritten(file, &config), file);
    set(&config, "timeout", "2").unwrap();
    assert_eq!(rewritten(file, &config), "# a\r\nhz 20\r\n\r\ntimeout 2\n");
}

#[test]
fn rewrite_refuses_a_file_that_does_not_load() {
    let result = rewrite(b"port x", &Config::new(), &mut |_| Err(String::new()));
    assert_eq!(result.unwrap_err().line, 1);
}

proptest! {
    #[test]
    fn a_rewritten_file_loads_to_the_same_values(
        file in proptest::collection::vec((any::<prop::sample::Index>(), value_text()), 0..12),
        sets in proptest::collection::vec((any::<prop::sample::Index>(), value_text()), 0..12),
    ) {
        let config = Config::new();
        let mut text = String::from("# head\n");
        let mut none = |_: &str| Err(String::new());
        let mut loader = Loader::new(&config, &mut none);
        for (index, value) in &file {
            let line = format!("{} {}\n", DIRECTIVES[index.index(DIRECTIVES.len())].name, conf::quote(value));
            if load(format!("{text}{line}")).is_ok() {
                text.push_str(&line);
            }
        }
        loader.file(text.as_bytes()).unwrap();
        for (index, value) in &sets {
            let _ = set(&config, DIRECTIVES[index.index(DIRECTIVES.len())].name, value);
        }
        let new = rewritten(&text, &config);
        prop_assert!(new.starts_with("# head\n"));
        prop_assert_eq!(everything(&loaded(&new)), everything(&config), "{}", new);
        prop_assert_eq!(rewritten(&new, &config), new);
    }

    #[test]
    fn any_text_loads_or_is_an_error(text in "(([a-z\\-]{1,8}|port|save|bind|\"|') ?[0-9a-z\"' ]{0,6}\n?){0,8}") {
        if let Err(error) = load(&text) {
            prop_assert!(error.to_string().contains("FATAL CONFIG FILE ERROR"));
        }
    }
}

fn value_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,4}(kb|mb)?",
        "[0-9]{1,2} [0-9]{1,2}",
        "yes|no|always|debug|KEA|now|2mb|3%",
        "(normal|replica) [0-9] [0-9] [0-9]",
        ".{0,6}",
    ]
}
