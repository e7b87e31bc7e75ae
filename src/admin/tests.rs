//! The commands through the engine, without sockets. Replies are those of redis-server unless a comment says otherwise.

use std::sync::atomic::Ordering::Relaxed;

use crate::config::Name;
use crate::engine::rig::Rig;

/// Pairs of a command and its reply, in order; line ends as `~`.
fn expect(rig: &mut Rig, rows: &[(&str, &str)]) {
    for (line, expected) in rows {
        assert_eq!(rig.run(line).replace("\r\n", "~"), *expected, "{line}");
    }
}

#[test]
fn connections_are_greeted_authenticated_and_reset() {
    let mut rig = Rig::new();
    expect(
        &mut rig,
        &[
            ("PING", "+PONG~"),
            ("PING hi", "$2~hi~"),
            ("PING a b", "-ERR wrong number of arguments for 'ping' command~"),
            ("ECHO x", "$1~x~"),
            (
                "AUTH x",
                "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?~",
            ),
            ("AUTH x y", "-WRONGPASS invalid username-password pair or user is disabled.~"),
            ("AUTH default anything", "+OK~"),
            ("AUTH a b c", "-ERR syntax error~"),
            ("HELLO 4", "-NOPROTO unsupported protocol version~"),
            ("HELLO x", "-ERR Protocol version is not an integer or out of range~"),
            ("HELLO 3 foo", "-ERR Syntax error in HELLO option 'foo'~"),
            ("HELLO 3 auth a", "-ERR Syntax error in HELLO option 'auth'~"),
            (
                "HELLO 3 SETNAME me",
                "%7~$6~server~$5~redis~$7~version~$5~7.2.4~$5~proto~:3~$2~id~:1~$4~mode~$10~standalone~$4~role~$6~master~$7~modules~*0~",
            ),
            ("CLIENT GETNAME", "$2~me~"),
            ("SELECT 16", "-ERR DB index is out of range~"),
            ("SELECT -1", "-ERR DB index is out of range~"),
            ("SELECT x", "-ERR value is not an integer or out of range~"),
            (
                "SELECT 99999999999",
                "-ERR value is out of range, value must between -2147483648 and 2147483647~",
            ),
            ("SELECT 3", "+OK~"),
            ("SET k v", "+OK~"),
            ("WATCH k", "+OK~"),
            ("MULTI", "+OK~"),
            ("RESET", "+RESET~"),
            ("EXISTS k", ":0~"),
            ("CLIENT GETNAME", "$-1~"),
            ("EXEC", "-ERR EXEC without MULTI~"),
        ],
    );
}

#[test]
fn a_password_is_asked_for_until_it_is_given() {
    let mut rig = Rig::new();
    rig.run("CONFIG SET requirepass secret");
    expect(
        &mut rig,
        &[
            ("RESET", "+RESET~"),
            ("GET k", "-NOAUTH Authentication required.~"),
            (
                "HELLO 3",
                "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time~",
            ),
            ("AUTH secre", "-WRONGPASS invalid username-password pair or user is disabled.~"),
            ("AUTH default secret", "+OK~"),
            ("GET k", "$-1~"),
        ],
    );
    rig.run("RESET");
    assert!(rig.run("HELLO 2 AUTH default secret").starts_with("*14\r\n"));
    expect(&mut rig, &[("ACL WHOAMI", "$7~default~"), ("GET k", "$-1~")]);
}

#[test]
fn a_password_that_is_taken_away_is_asked_for_no_more() {
    let mut rig = Rig::new();
    let set = |rig: &mut Rig, password: &[u8]| {
        assert_eq!(rig.call(0, &[b"CONFIG", b"SET", b"requirepass", password]).0, b"+OK\r\n");
    };
    set(&mut rig, b"secret");
    assert_eq!(rig.run_as(1, "RESET"), "+RESET\r\n");
    assert!(rig.run_as(1, "GET k").starts_with("-NOAUTH "));
    set(&mut rig, b"");
    assert_eq!(rig.run_as(1, "GET k"), "$-1\r\n");
    assert!(rig.run_as(1, "HELLO 2").starts_with("*14\r\n"));
    // It never gave one.
    set(&mut rig, b"secret");
    assert!(rig.run_as(1, "GET k").starts_with("-NOAUTH "));
    assert!(rig.run_as(1, "HELLO 2").starts_with("-NOAUTH "));
}

#[test]
fn values_of_directives_are_utf8_or_refused() {
    let mut rig = Rig::new();
    let request: [&[u8]; 6] = [b"CONFIG", b"SET", b"maxmemory", b"1", b"requirepass", b"\xff\xfe"];
    let reply = String::from_utf8(rig.call(0, &request).0).unwrap();
    assert!(
        reply.starts_with("-ERR CONFIG SET failed (possibly related to argument 'requirepass') - "),
        "{reply}"
    );
    assert!(reply.contains("not valid UTF-8"), "{reply}");
    expect(
        &mut rig,
        &[
            ("CONFIG GET requirepass", "*2~$11~requirepass~$0~~"),
            ("CONFIG GET maxmemory", "*2~$9~maxmemory~$1~0~"),
            ("CONFIG SET requirepass \u{e9}", "+OK~"),
            ("CONFIG GET requirepass", "*2~$11~requirepass~$2~\u{e9}~"),
        ],
    );
}

#[test]
fn an_unknown_command_is_repeated_byte_for_byte() {
    let mut rig = Rig::new();
    let rows: [(&[&[u8]], &[u8]); 3] = [
        (&[b"N\xff", b"\xe9a"], b"-ERR unknown command 'N\xff', with args beginning with: '\xe9a' \r\n"),
        (&[b"\xff\r\n", b"a\0b"], b"-ERR unknown command '\xff  ', with args beginning with: 'a' \r\n"),
        (&[b"CONFIG", b"\xe9a"], b"-ERR unknown subcommand '\xe9a'. Try CONFIG HELP.\r\n"),
    ];
    for (request, reply) in rows {
        assert_eq!(rig.call(0, request).0.escape_ascii().to_string(), reply.escape_ascii().to_string());
    }
}

#[test]
fn clients_are_listed_named_and_killed() {
    let mut rig = Rig::new();
    rig.run_as(1, "PING");
    rig.run_as(2, "PING");
    expect(
        &mut rig,
        &[
            ("CLIENT ID", ":1~"),
            (
                "CLIENT SETNAME a\u{1}",
                "-ERR Client names cannot contain spaces, newlines or special characters.~",
            ),
            ("CLIENT SETINFO LIB-NAME node-redis", "+OK~"),
            (
                "CLIENT SETINFO lib-ver \u{e9}",
                "-ERR lib-ver cannot contain spaces, newlines or special characters.~",
            ),
            ("CLIENT SETINFO a b", "-ERR Unrecognized option 'a'~"),
            ("CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'~"),
            ("CLIENT LIST TYPE", "-ERR syntax error~"),
            ("CLIENT LIST ID a", "-ERR Invalid client ID~"),
            ("CLIENT LIST ID 77", "$0~~"),
            ("CLIENT LIST TYPE PUBSUB", "$0~~"),
            ("CLIENT KILL a", "-ERR No such client~"),
            ("CLIENT KILL a b", "-ERR syntax error~"),
            ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0~"),
            ("CLIENT KILL ID 99", ":0~"),
            ("CLIENT KILL TYPE x", "-ERR Unknown client type 'x'~"),
            ("CLIENT KILL USER foo", "-ERR No such user 'foo'~"),
            ("CLIENT KILL USER default SKIPME x", "-ERR syntax error~"),
            ("CLIENT KILL ID 2 TYPE pubsub", ":0~"),
            ("CLIENT KILL ID 2 MAXAGE 100", ":0~"),
        ],
    );
    let info = rig.run("CLIENT INFO");
    assert!(info.contains(" lib-name=node-redis lib-ver= ") && info.contains(" cmd=client|info "), "{info}");
    assert_eq!(rig.run("CLIENT LIST").matches("\nid=").count(), 3);
    assert_eq!(rig.run("CLIENT LIST ID 1 3").matches("\nid=").count(), 2);
    rig.advance_ms(200_000);
    expect(&mut rig, &[("CLIENT KILL MAXAGE 100 ID 2", ":1~"), ("CLIENT KILL TYPE normal", ":2~")]);
    let killed = |id| rig.server.clients.get(id).is_some_and(|client| client.killed.load(Relaxed));
    assert!(killed(2) && killed(3) && !killed(1));
}

#[test]
fn replies_are_dropped_as_client_reply_says() {
    let mut rig = Rig::new();
    expect(
        &mut rig,
        &[
            ("CLIENT REPLY x", "-ERR syntax error~"),
            ("CLIENT REPLY SKIP", ""),
            ("PING", ""),
            ("PING", "+PONG~"),
            ("CLIENT REPLY OFF", ""),
            ("CLIENT REPLY SKIP", ""),
            ("PING", ""),
            ("PING", ""),
            ("CLIENT REPLY ON", "+OK~"),
            ("PING", "+PONG~"),
            // RESET is a command like any other, but ends OFF before it replies.
            ("CLIENT REPLY SKIP", ""),
            ("RESET", ""),
            ("PING", "+PONG~"),
            ("CLIENT REPLY OFF", ""),
            ("RESET", "+RESET~"),
            // What SUBSCRIBE says is no reply: it leaves, and what is skipped is no other.
            ("CLIENT REPLY SKIP", ""),
            ("SUBSCRIBE a b", "*3~$9~subscribe~$1~a~:1~*3~$9~subscribe~$1~b~:2~"),
            ("PING", "*2~$4~pong~$0~~"),
        ],
    );
}

#[test]
fn a_pause_holds_commands_until_its_end() {
    let mut rig = Rig::new();
    expect(
        &mut rig,
        &[
            ("CLIENT PAUSE x", "-ERR timeout is not an integer or out of range~"),
            ("CLIENT PAUSE -1", "-ERR timeout is negative~"),
            ("CLIENT PAUSE 1 foo", "-ERR CLIENT PAUSE mode must be WRITE or ALL~"),
            ("CLIENT PAUSE 1000 WRITE", "+OK~"),
            ("GET k", "$-1~"),
            ("SET k v", ""),
            ("CLIENT UNPAUSE", "+OK~"),
            ("SET k v", "+OK~"),
            ("CLIENT PAUSE 1000", "+OK~"),
            ("GET k", ""),
        ],
    );
    rig.advance_ms(1001);
    expect(&mut rig, &[("GET k", "$1~v~")]);
}

#[test]
fn a_blocked_client_is_unblocked_once() {
    let mut rig = Rig::new();
    rig.run("PING");
    rig.run_as(1, "BLPOP nothing 0");
    expect(
        &mut rig,
        &[
            ("CLIENT UNBLOCK 2 x", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR~"),
            ("CLIENT UNBLOCK 99", ":0~"),
            ("CLIENT UNBLOCK 2 ERROR", ":1~"),
            ("CLIENT UNBLOCK 2", ":0~"),
        ],
    );
    assert_eq!(rig.delivered(1).unwrap(), "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
}

#[test]
fn switches_of_a_connection_answer_as_redis_does() {
    let mut rig = Rig::new();
    expect(
        &mut rig,
        &[
            ("CLIENT NO-EVICT ON", "+OK~"),
            ("CLIENT NO-EVICT x", "-ERR syntax error~"),
            ("CLIENT NO-TOUCH ON", "+OK~"),
            ("CLIENT GETREDIR", ":-1~"),
            ("CLIENT TRACKINGINFO", "*6~$5~flags~*1~$3~off~$8~redirect~:-1~$8~prefixes~*0~"),
            ("CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT HELP.~"),
            ("CLIENT", "-ERR wrong number of arguments for 'client' command~"),
            // Ours.
            ("CLIENT DURABILITY", "$7~default~"),
            ("CLIENT DURABILITY always", "+OK~"),
            ("CLIENT DURABILITY", "$6~always~"),
            (
                "CLIENT DURABILITY sometimes",
                "-ERR CLIENT DURABILITY level must be ALWAYS, EVERYSEC, NO or DEFAULT~",
            ),
        ],
    );
    assert!(rig.run("CLIENT INFO").contains(" flags=eT "));
    assert!(
        rig.run("CLIENT HELP")
            .starts_with("*41\r\n+CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n")
    );
}

#[test]
fn wait_waits_for_replicas_that_never_come() {
    let mut rig = Rig::new();
    expect(
        &mut rig,
        &[
            ("WAIT 0 0", ":0~"),
            ("WAIT -1 0", ":0~"),
            ("WAIT a 0", "-ERR value is not an integer or out of range~"),
            ("WAIT 0 a", "-ERR timeout is not an integer or out of range~"),
            ("WAIT 1 -1", "-ERR timeout is negative~"),
            ("MULTI", "+OK~"),
            ("WAIT 1 0", "+QUEUED~"),
            ("EXEC", "*1~:0~"),
            ("CLIENT ID", ":1~"),
        ],
    );
    assert_eq!(rig.run_as(1, "WAIT 1 0"), "");
    assert!(rig.is_blocked(1));
    assert_eq!(rig.run("CLIENT UNBLOCK 2"), ":1\r\n");
    assert_eq!(rig.delivered(1).as_deref(), Some(":0\r\n"));
    assert_eq!(
        rig.run("COMMAND GETKEYSANDFLAGS SORT l STORE d"),
        "*2\r\n*2\r\n$1\r\nl\r\n*2\r\n+RO\r\n+access\r\n*2\r\n$1\r\nd\r\n*2\r\n+OW\r\n+update\r\n"
    );
}

#[test]
fn waitaof_answers_at_once_when_everything_is_synced() {
    let mut rig = Rig::new();
    expect(
        &mut rig,
        &[
            ("WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1~"),
            ("WAITAOF 1 -1 0", "-ERR value is out of range, must be positive~"),
            ("WAITAOF 1 0 -1", "-ERR timeout is negative~"),
            ("WAITAOF 1 0 0", "*2~:1~:0~"),
            ("SET k v", "+OK~"),
            ("WAITAOF 0 0 0", "*2~:0~:0~"),
            // Waits: the rig's log syncs only when it is told to.
            ("WAITAOF 1 0 0", ""),
            ("MULTI", "+OK~"),
            ("WAITAOF 1 0 0", "+QUEUED~"),
            ("EXEC", "*1~*2~:0~:0~"),
        ],
    );
    let append_lsn = rig.server.store.get().unwrap().log.append_lsn();
    rig.server.store.get().unwrap().log.demand_sync(append_lsn);
    rig.settle();
    expect(&mut rig, &[("WAITAOF 1 0 0", "*2~:1~:0~")]);
}

#[test]
fn directives_are_read_and_changed() {
    let mut rig = Rig::new();
    expect(
        &mut rig,
        &[
            ("CONFIG GET maxmemory", "*2~$9~maxmemory~$1~0~"),
            ("CONFIG GET nothing", "*0~"),
            ("CONFIG SET maxmemory 1mb maxmemory-policy allkeys-lru", "+OK~"),
            ("CONFIG GET maxmemory", "*2~$9~maxmemory~$7~1048576~"),
            ("CONFIG SET maxmemory", "-ERR wrong number of arguments for 'config|set' command~"),
            ("CONFIG SET maxmemory 1 x", "-ERR syntax error~"),
            ("CONFIG SET a b", "-ERR Unknown option or number of arguments for CONFIG SET - 'a'~"),
            ("CONFIG REWRITE", "-ERR The server is running without a config file~"),
            ("CONFIG FOO", "-ERR unknown subcommand 'FOO'. Try CONFIG HELP.~"),
            ("CONFIG RESETSTAT", "+OK~"),
        ],
    );
    assert_eq!(rig.server.stats.commands_processed.get(), 1);
}

#[test]
fn changed_directives_reach_the_hook() {
    use std::sync::{Arc, Mutex};
    let mut rig = Rig::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    assert!(
        rig.server
            .on_config
            .set(Box::new(move |name| {
                told.lock().unwrap().push(name.to_owned());
                if name == "port" { Err("no".to_owned()) } else { Ok(()) }
            }))
            .is_ok()
    );
    rig.run("CONFIG SET appendfsync always timeout 0 hz 20");
    assert_eq!(*seen.lock().unwrap(), ["appendfsync", "hz"]);
    assert_eq!(
        rig.run("CONFIG SET hz 30 port 1 timeout 5"),
        "-ERR CONFIG SET failed (possibly related to argument 'port') - no\r\n"
    );
    for (name, value) in [("hz", "20"), ("port", "6379"), ("timeout", "0")] {
        let expected = format!("*2\r\n${}\r\n{name}\r\n${}\r\n{value}\r\n", name.len(), value.len());
        assert_eq!(rig.run(&format!("CONFIG GET {name}")), expected);
    }
}

#[test]
fn info_has_the_sections_that_are_asked_for() {
    let mut rig = Rig::new();
    rig.run("SET k v PX 5000");
    rig.run("LPUSH k x");
    let default = rig.run("INFO");
    for field in [
        "redis_version:7.2.4",
        "uptime_in_days:0",
        "connected_clients:1",
        "used_memory_human:",
        "used_memory_peak_human:",
        "maxmemory_policy:noeviction",
        "loading:0",
        "aof_enabled:1",
        "role:master",
        "errorstat_WRONGTYPE:count=1",
        "db0:keys=1,expires=1,avg_ttl=5000",
        "append_lsn:",
        "duramen_log_io:simulated",
    ] {
        assert!(default.contains(&format!("\r\n{field}")), "{field} in {default}");
    }
    assert!(!default.contains("cmdstat_") && default.contains("# Modules\r\n\r\n"));
    let all = rig.run("INFO all");
    assert!(all.contains("\r\ncmdstat_set:calls=1,usec=") && !all.contains("# Modules"));
    assert!(all.contains(",rejected_calls=0,failed_calls=1\r\n"));
    let two = rig.run("INFO CPU replication");
    assert_eq!(two.matches("# ").count(), 2, "{two}");
    assert!(rig.run("INFO everything").contains("# Modules"));
    assert_eq!(rig.run("INFO foo"), "$0\r\n\r\n");
}

/// A figure of INFO.
fn figure(rig: &mut Rig, name: &str) -> u64 {
    let info = rig.run("INFO");
    let line = info.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} in {info}")).parse().unwrap()
}

#[test]
fn info_counts_keys_that_are_waited_for() {
    let mut rig = Rig::new();
    rig.run("XGROUP CREATE s g $ MKSTREAM");
    let figures =
        |rig: &mut Rig| ["total_blocking_keys", "total_blocking_keys_on_nokey"].map(|name| figure(rig, name));
    assert_eq!(figures(&mut rig), [0, 0]);
    rig.run_as(1, "BLPOP a b 0");
    rig.run_as(2, "BLPOP a 0");
    assert_eq!(figures(&mut rig), [2, 0]);
    rig.run_as(3, "XREADGROUP GROUP g me BLOCK 0 STREAMS s >");
    assert_eq!(figures(&mut rig), [3, 1]);
    for session in 1..=3 {
        rig.disconnect(session);
    }
    assert_eq!(figures(&mut rig), [0, 0]);
}

#[test]
fn info_counts_passwords_that_did_not_fit() {
    let mut rig = Rig::new();
    rig.run("CONFIG SET requirepass secret");
    for line in
        ["AUTH wrong", "AUTH nobody secret", "HELLO 3 AUTH default wrong", "AUTH a b c", "AUTH secret"]
    {
        rig.run(line);
    }
    assert_eq!(figure(&mut rig, "acl_access_denied_auth"), 3);
    rig.run("CONFIG RESETSTAT");
    assert_eq!(figure(&mut rig, "acl_access_denied_auth"), 0);
}

#[test]
fn info_counts_the_tables_of_keys_as_overhead() {
    let mut rig = Rig::new();
    let before = figure(&mut rig, "used_memory_overhead");
    for i in 0..1000 {
        rig.run(&format!("SET k{i} v EX 1000"));
    }
    rig.settle();
    let after = figure(&mut rig, "used_memory_overhead");
    assert!(after >= before + 1000 * (8 + 52), "{before} {after}");
}

#[test]
fn info_shows_what_a_start_would_read() {
    let mut rig = Rig::new();
    let server = rig.server.clone();
    let log = || server.store.get().unwrap().log.written_lsn();
    rig.run(&format!("SET k {}", "v".repeat(10_000)));
    rig.settle();
    assert_eq!(figure(&mut rig, "aof_current_size"), log());
    // As a compaction leaves it.
    rig.server.snapshots.through.store(log(), Relaxed);
    rig.server.snapshots.bytes.store(77, Relaxed);
    assert_eq!(["aof_current_size", "aof_base_size"].map(|name| figure(&mut rig, name)), [77, 77]);
}

#[test]
fn only_a_master_can_be_had() {
    let mut rig = Rig::new();
    let refused = "-ERR this server cannot be a replica; only NO ONE is accepted. To copy the data of another server use MIGRATE there~";
    expect(
        &mut rig,
        &[("REPLICAOF No One", "+OK~"), ("REPLICAOF 127.0.0.1 6379", refused), ("SLAVEOF NO TWO", refused)],
    );
}

#[test]
fn info_works_inside_a_transaction() {
    let mut rig = Rig::new();
    for line in ["SET k v", "MULTI", "GET k", "INFO keyspace"] {
        rig.run(line);
    }
    assert!(rig.run("EXEC").contains("db0:keys=1,"));
}

#[test]
fn commands_describe_themselves() {
    let mut rig = Rig::new();
    expect(
        &mut rig,
        &[
            (
                "COMMAND INFO get nothing",
                "*2~*10~$3~get~:2~*2~+readonly~+fast~:1~:1~:1~*3~+@read~+@string~+@fast~*0~*1~*6~$5~flags~*2~+RO~+access~$12~begin_search~*4~$4~type~$5~index~$4~spec~*2~$5~index~:1~$9~find_keys~*4~$4~type~$5~range~$4~spec~*6~$7~lastkey~:0~$7~keystep~:1~$5~limit~:0~*0~$-1~",
            ),
            (
                "COMMAND INFO CLIENT|ID",
                "*1~*10~$9~client|id~:2~*3~+noscript~+loading~+stale~:0~:0~:0~*2~+@slow~+@connection~*0~*0~*0~",
            ),
            ("COMMAND COUNT x", "-ERR wrong number of arguments for 'command|count' command~"),
            ("COMMAND LIST FILTERBY x y", "-ERR syntax error~"),
            ("COMMAND LIST FILTERBY MODULE m", "*0~"),
            ("COMMAND LIST FILTERBY PATTERN getr*", "*1~$8~getrange~"),
            ("COMMAND LIST FILTERBY ACLCAT nothing", "*0~"),
            (
                "COMMAND LIST FILTERBY ACLCAT transaction",
                "*5~$7~discard~$4~exec~$5~multi~$7~unwatch~$5~watch~",
            ),
            ("COMMAND GETKEYS MSET a b c d", "*2~$1~a~$1~c~"),
            ("COMMAND GETKEYS PING x", "-ERR The command has no key arguments~"),
            ("COMMAND GETKEYS foo x", "-ERR Invalid command specified~"),
            ("COMMAND GETKEYS GET a b", "-ERR Invalid number of arguments specified for command~"),
            ("COMMAND GETKEYS CONFIG GET a", "-ERR The command has no key arguments~"),
            ("COMMAND GETKEYSANDFLAGS GET a", "*1~*2~$1~a~*2~+RO~+access~"),
            ("COMMAND GETKEYS EVAL_RO x 0", "*0~"),
            ("COMMAND GETKEYS ZUNIONSTORE d 0 a", "-ERR Invalid arguments specified for command~"),
            ("COMMAND GETKEYS SPUBLISH a b", "-ERR The command has no key arguments~"),
            ("COMMAND DOCS nothing", "*0~"),
            (
                "COMMAND DOCS echo",
                "*2~$4~echo~*10~$7~summary~$25~Returns the given string.~$5~since~$5~1.0.0~$5~group~$10~connection~$10~complexity~$4~O(1)~$9~arguments~*1~*6~$4~name~$7~message~$4~type~$6~string~$12~display_text~$7~message~",
            ),
        ],
    );
    let count = rig.server.registry.commands().len();
    assert_eq!(rig.run("COMMAND COUNT"), format!(":{count}\r\n"));
    for line in ["COMMAND", "COMMAND INFO", "COMMAND LIST"] {
        assert!(rig.run(line).starts_with(&format!("*{count}\r\n")), "{line}");
    }
    let docs = rig.run("COMMAND DOCS");
    assert!(docs.starts_with(&format!("*{}\r\n", count * 2)) && docs.contains("config|set"));
}

#[test]
fn every_declaration_is_complete() {
    let rig = Rig::new();
    for command in rig.server.registry.all() {
        let name = command.full_name();
        assert!(!command.summary.is_empty() && !command.since.is_empty(), "{name}");
        assert!(command.arity != 0 && name == name.to_ascii_lowercase(), "{name}");
        assert!(command.subcommands.iter().all(|sub| sub.parent == command.name), "{name}");
        let takes_arguments =
            command.arity.unsigned_abs() as usize > 1 + usize::from(!command.parent.is_empty());
        assert!(
            !takes_arguments
                || !command.syntax.is_empty()
                || !command.subcommands.is_empty()
                || command.name == "debug",
            "{name} has no syntax"
        );
    }
}

#[test]
fn debug_is_refused_unless_it_is_allowed() {
    let mut rig = Rig::new();
    assert!(
        rig.run("DEBUG SLEEP 0").starts_with("-ERR DEBUG command not allowed. If the enable-debug-command")
    );
    rig.server.config.set_at_start(Name::enable_debug_command, "yes").unwrap();
    rig.run("SET n 12");
    expect(
        &mut rig,
        &[
            ("DEBUG SLEEP 0", "+OK~"),
            (
                "DEBUG SLEEP",
                "-ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try DEBUG HELP.~",
            ),
            ("DEBUG OBJECT nothing", "-ERR no such key~"),
            ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK~"),
            ("DEBUG QUICKLIST-PACKED-THRESHOLD 100b", "+OK~"),
            ("DEBUG STRINGMATCH-LEN a* abc", ":1~"),
            ("DEBUG ERROR BAD", "-BAD~"),
            ("DEBUG PROTOCOL double", "$5~3.141~"),
        ],
    );
    let object = rig.run("DEBUG OBJECT n");
    assert!(
        object.starts_with("+Value at:0x") && object.contains(" refcount:1 encoding:int serializedlength:")
    );
    rig.run("SET gone v PX 1");
    rig.advance_ms(10);
    rig.expire();
    assert_eq!(rig.server.stats.expired_keys.get(), 0);
    rig.run("DEBUG SET-ACTIVE-EXPIRE 1");
    rig.expire();
    assert_eq!(rig.server.stats.expired_keys.get(), 1);
    assert_eq!(rig.run("DEBUG RELOAD"), "+OK\r\n");
    assert!(rig.server.shutdown.lock().is_some_and(|request| request.restart));
}

#[test]
fn shutdown_reads_its_options_and_asks_once() {
    let mut rig = Rig::new();
    expect(
        &mut rig,
        &[
            ("SHUTDOWN foo", "-ERR syntax error~"),
            ("SHUTDOWN SAVE NOSAVE", "-ERR syntax error~"),
            ("SHUTDOWN ABORT NOW", "-ERR syntax error~"),
            ("SHUTDOWN ABORT", "-ERR No shutdown in progress.~"),
        ],
    );
    assert!(!rig.server.shutting_down.load(Relaxed));
    assert_eq!(rig.run("SHUTDOWN NOSAVE NOW FORCE"), "");
    assert!(rig.server.shutdown.lock().is_some_and(|request| request.now && !request.restart));
}

#[test]
fn the_server_tells_time_role_and_modules() {
    let mut rig = Rig::new();
    expect(
        &mut rig,
        &[
            ("TIME", "*2~$10~1700000001~$1~0~"),
            ("LASTSAVE", ":1700000001~"),
            ("ROLE", "*3~$6~master~:0~*0~"),
            ("MODULE LIST", "*0~"),
            ("ACL USERS", "*1~$7~default~"),
            ("ACL LIST", "*1~$34~user default on nopass ~* &* +@all~"),
            ("ACL CAT foo", "-ERR Unknown category 'foo'~"),
        ],
    );
    assert!(rig.run("LOLWUT").contains("Redis ver. 7.2.4, Duramen ver. "));
    assert!(rig.run("ACL CAT connection").contains("client|id"));
}

#[test]
fn the_slow_log_keeps_the_newest() {
    use crate::command::slowlog::Run;
    use crate::resp::OwnedArgs;
    let mut rig = Rig::new();
    rig.run("CONFIG SET slowlog-log-slower-than 100 slowlog-max-len 2");
    let client = rig.server.clients.get(1).unwrap();
    let command = rig.server.registry.get(b"get").unwrap().0;
    let client = &*client;
    for (key, took_us) in [(b"a", 150), (b"b", 99), (b"c", 200), (b"d", 100)] {
        let args = OwnedArgs::from_slices(&[b"GET", key]);
        let run = Run { client, command, args: args.as_args(), took_us, now_ms: 5_000 };
        rig.server.slowlog.record(&rig.server.config, &run);
    }
    expect(
        &mut rig,
        &[
            ("SLOWLOG LEN", ":2~"),
            ("SLOWLOG GET 1", "*1~*6~:2~:5~:100~*2~$3~GET~$1~d~$0~~$0~~"),
            ("SLOWLOG GET x", "-ERR count should be greater than or equal to -1~"),
            (
                "SLOWLOG GET 1 2",
                "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.~",
            ),
            ("SLOWLOG RESET", "+OK~"),
            ("SLOWLOG GET -1", "*0~"),
        ],
    );
}

#[test]
fn scripts_need_no_keys_and_are_no_reads() {
    let mut rig = Rig::new();
    let flags =
        "+noscript~+stale~+skip_monitor~+no_mandatory_keys~+movablekeys~:0~:0~:0~*2~+@slow~+@scripting~";
    for name in ["eval", "evalsha", "fcall"] {
        let reply = rig.run(&format!("COMMAND INFO {name} {name}_ro")).replace("\r\n", "~");
        assert!(reply.contains(&format!("~{name}~:-3~*5~{flags}")), "{reply}");
        assert!(reply.contains(&format!("~{name}_ro~:-3~*6~+readonly~{flags}")), "{reply}");
    }
}

/// The time passes within a command of the transaction: CONFIG SET calls the hook.
#[test]
fn commands_of_a_transaction_are_timed_one_by_one() {
    let mut rig = Rig::new();
    let clock = rig.clock.clone();
    let hook = move |_: &str| {
        clock.advance(std::time::Duration::from_millis(7));
        Ok(())
    };
    assert!(rig.server.on_config.set(Box::new(hook)).is_ok());
    rig.run("CONFIG SET slowlog-log-slower-than 5000");
    for line in ["SLOWLOG RESET", "CONFIG RESETSTAT", "MULTI", "SET k v", "CONFIG SET hz 20", "GET k", "EXEC"]
    {
        rig.run(line);
    }
    let slow = rig.run("SLOWLOG GET").replace("\r\n", "~");
    assert!(slow.starts_with("*1~*6~") && slow.contains("~:7000~*4~$6~CONFIG~$3~SET~$2~hz~$2~20~"), "{slow}");
    let stats = rig.run("INFO commandstats");
    for figures in [
        "set:calls=1,usec=0,",
        "config|set:calls=1,usec=7000,",
        "get:calls=1,usec=0,",
        "exec:calls=1,usec=7000,",
    ] {
        assert!(stats.contains(&format!("\r\ncmdstat_{figures}")), "{figures} in {stats}");
    }
}

#[test]
fn a_backup_is_asked_for_and_its_outcome_is_the_reply() {
    use crate::snapshot::backup::Backup;
    let mut rig = Rig::new();
    assert!(rig.run("BACKUP /a").starts_with("-ERR BACKUP command not allowed."), "this client is not local");
    rig.server.config.set_at_start(Name::enable_backup_command, "yes").unwrap();
    let no_path = "-ERR BACKUP needs the path of a directory from the root, on the server's machine~";
    expect(
        &mut rig,
        &[
            (
                "CONFIG SET enable-backup-command no",
                "-ERR CONFIG SET failed (possibly related to argument 'enable-backup-command') - can't set immutable config~",
            ),
            ("BACKUP", "-ERR wrong number of arguments for 'backup' command~"),
            ("BACKUP a", no_path),
            ("BACKUP /a b", "-ERR syntax error~"),
            ("BACKUP /a COPY b", "-ERR syntax error~"),
            ("MULTI", "+OK~"),
            ("BACKUP /a", "-ERR Command not allowed inside a transaction~"),
            ("DISCARD", "+OK~"),
            ("SET k v", "+OK~"),
        ],
    );
    let server = rig.server.clone();
    assert!(server.backups.begin().is_none());
    let made = Backup { lsn: 1, files: 2, bytes: 3, linked: 4, copied: 5 };
    let figures = "$3~lsn~:1~$5~files~:2~$5~bytes~:3~$6~linked~:4~$6~copied~:5~";
    for (session, head, copy, line) in [(1, "*10~", false, "BACKUP /a/"), (2, "%5~", true, "backup /a copy")]
    {
        if session == 2 {
            rig.run_as(2, "HELLO 3");
        }
        assert_eq!(rig.run_as(session, line), "");
        assert!(rig.is_blocked(session));
        let job = server.backups.begin().unwrap();
        assert_eq!((&*job.path, job.copy), ("/a", copy));
        assert_eq!(job.lsn, server.store.get().unwrap().log.append_lsn());
        assert!(rig.run("INFO duramen").contains("backups_in_progress:1\r\n"));
        server.backups.ended(job, 5_000, &Ok(made));
        assert_eq!(rig.delivered(session).unwrap().replace("\r\n", "~"), format!("{head}{figures}"));
    }
    rig.run_as(1, "BACKUP /b");
    let job = server.backups.begin().unwrap();
    server.backups.ended(job, 5_000, &Err("of\r\nno use".to_owned()));
    assert_eq!(rig.delivered(1).unwrap(), "-ERR no backup was made: of  no use\r\n");
    let info = rig.run("INFO duramen");
    for line in [
        "backups_in_progress:0",
        "backups_made:2",
        "backups_failed:1",
        "backup_last_lsn:1",
        "backup_last_time:5",
    ] {
        assert!(info.contains(&format!("{line}\r\n")), "{line}: {info}");
    }
    // Who is unblocked gets that reply, and no other.
    rig.run_as(1, "BACKUP /c");
    let id = rig.run_as(3, "CLIENT ID");
    let other = id.trim_start_matches(':').trim().parse::<u64>().unwrap() - 1;
    let unblocked = (other.saturating_sub(3)..=other)
        .any(|id| rig.run_as(3, &format!("CLIENT UNBLOCK {id}")) == ":1\r\n");
    assert!(unblocked && rig.delivered(1).is_some());
    let job = server.backups.begin().unwrap();
    server.backups.ended(job, 5_000, &Ok(made));
    assert_eq!(rig.delivered(1), None);
}

#[test]
fn digests_of_slots_add_up_to_that_of_everything() {
    use crate::keyspace::digest::Digest;
    use crate::keyspace::hash::slot_of;
    let mut rig = Rig::new();
    assert!(rig.run("DEBUG DIGEST").starts_with("-ERR DEBUG command not allowed"));
    assert!(rig.run("DEBUG DIGEST-SLOTS 0 1").starts_with("-ERR DEBUG command not allowed"));
    rig.server.config.set_at_start(Name::enable_backup_command, "yes").unwrap();
    assert!(rig.run("DEBUG DIGEST").starts_with("-ERR DEBUG command not allowed"));
    for line in ["SET a 1", "RPUSH b 1 2", "HSET c f v", "SELECT 1", "SET d 1", "SET a 1"] {
        rig.run(line);
    }
    let lsn = rig.server.store.get().unwrap().log.append_lsn();
    let mut sum = Digest::default();
    for (first, count) in [("0", "16000"), ("16000", "384")] {
        let (reply, gate) = rig.call(0, &[b"DEBUG", b"DIGEST-SLOTS", first.as_bytes(), count.as_bytes()]);
        assert_eq!(gate, lsn, "what it shows is not taken back");
        let start = reply.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let rows = reply[start..reply.len() - 2].chunks_exact(24);
        assert_eq!(rows.len().to_string(), count);
        for row in rows {
            assert_eq!(row[..8], lsn.to_be_bytes());
            sum.add(Digest::from_bytes(row[8..].try_into().unwrap()));
        }
    }
    let keys = rig.run(&format!("DEBUG DIGEST-KEYS {}", slot_of(b"a")));
    assert!(keys.starts_with(&format!("*2\r\n:{lsn}\r\n*6\r\n:0\r\n$1\r\na\r\n$16\r\n")), "{keys}");
    rig.server.config.set_at_start(Name::enable_debug_command, "yes").unwrap();
    assert_eq!(rig.run("DEBUG DIGEST"), format!("+{sum}\r\n"));
    let values = rig.run("DEBUG DIGEST-VALUE a d nothing");
    let lines: Vec<_> = values.lines().collect();
    assert_eq!((lines[0], lines[1] == lines[2]), ("*3", true));
    assert_eq!(lines[3], format!("+{}", "0".repeat(40)));
    expect(
        &mut rig,
        &[
            ("DEBUG DIGEST-SLOTS 16384 1", "-ERR Invalid or out of range slot~"),
            ("DEBUG DIGEST-SLOTS 16383 2", "-ERR Invalid or out of range slot~"),
            ("DEBUG DIGEST-SLOTS -1 2", "-ERR Invalid or out of range slot~"),
            ("DEBUG DIGEST-KEYS x", "-ERR Invalid or out of range slot~"),
            ("MULTI", "+OK~"),
            ("DEBUG DIGEST-SLOTS 0 1", "+QUEUED~"),
            ("SET a 2", "+QUEUED~"),
            ("EXEC", "*2~-ERR digests of slots are not to be had inside a transaction~+OK~"),
            ("FLUSHALL", "+OK~"),
            ("DEBUG DIGEST", &format!("+{}~", "0".repeat(40))),
        ],
    );
}

#[test]
fn nothing_looks_at_keys_while_the_server_is_loading() {
    use crate::command::context::Transaction;
    use crate::command::{Flags, Session, server::Server};
    use crate::engine::{execute, rig};
    use crate::resp::OwnedArgs;
    let config = std::sync::Arc::new(crate::config::Config::new());
    let clock = std::sync::Arc::new(crate::clock::SimClock::at_ms(1_700_000_001_000));
    let server = Server::new(config, clock, crate::registry()).unwrap();
    server.channels.open(vec![Box::new(|| {})]);
    let run = |words: &[&[u8]]| {
        let mut session = Session::new(rig::client_without_socket(1, 0), true);
        let (args, mut reply) = (OwnedArgs::from_slices(words), Vec::new());
        execute(&server, &mut session, &mut Transaction::default(), args.as_args(), &mut reply);
        reply
    };
    for command in server.registry.all() {
        if ["shutdown", "pause", "debug"].contains(&command.name) || command.parent == "debug" {
            continue;
        }
        let name = command.full_name();
        let mut words: Vec<&[u8]> = name.split('|').map(str::as_bytes).collect();
        words.resize(words.len().max(command.arity.unsigned_abs() as usize), b"1");
        let reply = run(&words);
        if command.has_keys() || !command.flags.contains(Flags::LOADING) {
            assert!(reply.starts_with(b"-"), "{name}: {reply:?}");
        }
    }
    assert_eq!(run(&[b"WATCH", b"k"]), b"-LOADING Redis is loading the dataset in memory\r\n");
}

#[test]
fn debug_looks_at_no_keys_while_the_server_is_loading() {
    use crate::command::context::Transaction;
    use crate::command::{Session, server::Server};
    use crate::engine::{execute, rig};
    use crate::resp::OwnedArgs;
    let config = std::sync::Arc::new(crate::config::Config::new());
    config.set_at_start(Name::enable_debug_command, "yes").unwrap();
    let clock = std::sync::Arc::new(crate::clock::SimClock::at_ms(1_700_000_001_000));
    let server = Server::new(config, clock, crate::registry()).unwrap();
    let mut session = Session::new(rig::client_without_socket(1, 0), true);
    for words in
        [&[&b"DEBUG"[..], b"OBJECT", b"k"][..], &[b"DEBUG", b"DIGEST"], &[b"DEBUG", b"DIGEST-VALUE", b"k"]]
    {
        let (args, mut reply) = (OwnedArgs::from_slices(words), Vec::new());
        execute(&server, &mut session, &mut Transaction::default(), args.as_args(), &mut reply);
        assert_eq!(reply, b"-LOADING Redis is loading the dataset in memory\r\n");
    }
    let (args, mut reply) =
        (OwnedArgs::from_slices(&[&b"DEBUG"[..], b"DIGEST-SLOTS", b"0", b"1"]), Vec::new());
    execute(&server, &mut session, &mut Transaction::default(), args.as_args(), &mut reply);
    assert!(reply.starts_with(b"-ERR"));
}

#[test]
fn the_position_of_the_last_write_is_the_connections_own_and_waits_for_it() {
    let mut rig = Rig::new();
    let position = |rig: &mut Rig, session| rig.call(session, &[b"CLIENT", b"LSN"]);
    assert_eq!(position(&mut rig, 0), (b":0\r\n".to_vec(), 0));
    let mut last = 0;
    for line in ["SET k v", "DEL k", "EVAL return(redis.call('set','k','1')) 0"] {
        rig.run(line);
        let (reply, gate) = position(&mut rig, 0);
        let lsn = rig.server.store.get().unwrap().log.append_lsn();
        assert!(gate > last, "{line}");
        assert_eq!((reply, gate), (format!(":{lsn}\r\n").into_bytes(), lsn), "{line}");
        last = lsn;
    }
    // Neither a write that changed nothing nor one of somebody else moves it.
    rig.run("DEL absent");
    rig.run_as(1, "SET other v");
    assert_eq!(position(&mut rig, 0), (format!(":{last}\r\n").into_bytes(), last));
    for line in ["MULTI", "SET k 1", "SET j 1", "EXEC"] {
        rig.run(line);
    }
    let lsn = rig.server.store.get().unwrap().log.append_lsn();
    assert_eq!(position(&mut rig, 0).1, lsn);
    // Who waited is given the position of the record that serves it.
    rig.run_as(2, "BLPOP l 0");
    rig.run("RPUSH l x");
    assert!(rig.delivered(2).is_some());
}
