//! The bitmap commands as a client sees them.

use crate::engine::rig::Rig;

#[track_caller]
fn replies(rig: &mut Rig, cases: &[(&str, &str)]) {
    for (line, reply) in cases {
        assert_eq!(&rig.run(line), reply, "{line}");
    }
}

const NO_OFFSET: &str = "-ERR bit offset is not an integer or out of range\r\n";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range\r\n";
const SYNTAX: &str = "-ERR syntax error\r\n";

#[test]
fn single_bits_are_set_and_read() {
    let mut rig = Rig::new();
    replies(
        &mut rig,
        &[
            ("SETBIT k 9 1", ":0\r\n"),
            ("SETBIT k 9 1", ":1\r\n"),
            ("SETBIT k 1 1", ":0\r\n"),
            ("GET k", "$2\r\n@@\r\n"),
            ("SETBIT k 9 0", ":1\r\n"),
            ("SETBIT k 17 0", ":0\r\n"),
            ("STRLEN k", ":3\r\n"),
            ("GETBIT k 1", ":1\r\n"),
            ("GETBIT k 4294967295", ":0\r\n"),
            ("GETBIT k 4294967296", NO_OFFSET),
            ("SETBIT k -1 5", NO_OFFSET),
            ("SETBIT k #1 1", NO_OFFSET),
            ("SETBIT k 1 2", "-ERR bit is not an integer or out of range\r\n"),
        ],
    );
}

#[test]
fn bits_are_counted_and_found_in_ranges() {
    let mut rig = Rig::new();
    replies(
        &mut rig,
        &[
            ("SET k foobar", "+OK\r\n"),
            ("BITCOUNT k", ":26\r\n"),
            ("BITCOUNT k 0 0", ":4\r\n"),
            ("BITCOUNT k 1 1 byte", ":6\r\n"),
            ("BITCOUNT k 5 30 BIT", ":17\r\n"),
            ("BITCOUNT k -1 -2", ":0\r\n"),
            ("BITCOUNT k 0", SYNTAX),
            ("BITCOUNT k 0 1 WORD", SYNTAX),
            ("BITCOUNT none", ":0\r\n"),
            ("BITCOUNT none a b", NOT_INTEGER),
            ("SETRANGE z 2 ~", ":3\r\n"),
            ("BITPOS z 1", ":17\r\n"),
            ("BITPOS z 1 0 1", ":-1\r\n"),
            ("BITPOS z 1 18 20 BIT", ":18\r\n"),
            ("BITPOS z 0 17 22 BIT", ":-1\r\n"),
            ("BITPOS z 0 2", ":16\r\n"),
            ("SETBIT o 7 1", ":0\r\n"),
            ("BITFIELD o SET u8 0 255", "*1\r\n:1\r\n"),
            ("BITPOS o 0", ":8\r\n"),
            ("BITPOS o 0 0 -1", ":-1\r\n"),
            ("BITPOS o 0 1", ":-1\r\n"),
            ("BITPOS none 1", ":-1\r\n"),
            ("BITPOS none 0 5", ":0\r\n"),
            ("BITPOS none 2", "-ERR The bit argument must be 1 or 0.\r\n"),
        ],
    );
}

#[test]
fn strings_are_combined() {
    let mut rig = Rig::new();
    replies(
        &mut rig,
        &[
            ("MSET a abc b AB", "+OK\r\n"),
            ("BITOP AND d a b", ":3\r\n"),
            ("GET d", "$3\r\nAB\0\r\n"),
            ("BITOP OR d a b none", ":3\r\n"),
            ("GET d", "$3\r\nabc\r\n"),
            ("BITOP xor d b a", ":3\r\n"),
            ("GET d", "$3\r\n  c\r\n"),
            ("BITOP NOT d d", ":3\r\n"),
            ("BITOP NOT d d", ":3\r\n"),
            ("GET d", "$3\r\n  c\r\n"),
            ("BITOP AND d none nothing", ":0\r\n"),
            ("GET d", "$-1\r\n"),
            ("BITOP NOT d a b", "-ERR BITOP NOT must be called with a single source key.\r\n"),
            ("BITOP NAND d a b", SYNTAX),
        ],
    );
}

#[test]
fn bitfields_overflow_as_told() {
    let mut rig = Rig::new();
    replies(
        &mut rig,
        &[
            ("BITFIELD k OVERFLOW FAIL SET u8 100 256", "*1\r\n$-1\r\n"),
            ("STRLEN k", ":14\r\n"),
            (
                "BITFIELD k OVERFLOW SAT SET u8 100 -1 GET i8 100 SET i8 0 -200 INCRBY i8 0 -1 INCRBY u8 0 1",
                "*5\r\n:0\r\n:-1\r\n:0\r\n:-128\r\n:129\r\n",
            ),
            ("BITFIELD k INCRBY u2 #50 5 OVERFLOW SAT INCRBY u2 #51 5", "*2\r\n:0\r\n:3\r\n"),
            // As redis-server answers.
            ("BITFIELD s OVERFLOW SAT SET i25 0 -9223372036854775808 GET i25 0", "*2\r\n:0\r\n:16777215\r\n"),
            (
                "BITFIELD s OVERFLOW SAT SET i25 0 -9223372036837998592 GET i25 0",
                "*2\r\n:16777215\r\n:-16777216\r\n",
            ),
            (
                "BITFIELD k SET i64 3 -9223372036854775808 INCRBY i64 3 -1",
                "*2\r\n:576460752303423488\r\n:9223372036854775807\r\n",
            ),
            ("BITFIELD_RO k GET i64 3 GET u63 4", "*2\r\n:9223372036854775807\r\n:9223372036854775807\r\n"),
            ("BITFIELD none GET u8 0", "*1\r\n:0\r\n"),
            ("STRLEN none", ":0\r\n"),
            ("BITFIELD k", "*0\r\n"),
            ("BITFIELD k GET u8", SYNTAX),
            ("BITFIELD k OVERFLOW", SYNTAX),
            ("BITFIELD k OVERFLOW NO", "-ERR Invalid OVERFLOW type specified\r\n"),
            ("BITFIELD k GET u8 #536870912", NO_OFFSET),
            ("BITFIELD k SET u8 0 x", NOT_INTEGER),
            ("BITFIELD_RO k SET u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand\r\n"),
        ],
    );
    for encoding in ["u64", "i65", "u0", "u08", "U8", "x8", "u", "u-1"] {
        let reply = rig.run(&format!("BITFIELD k GET {encoding} 0"));
        assert!(reply.starts_with("-ERR Invalid bitfield type."), "{encoding}");
    }
}

#[test]
fn other_types_are_refused_after_bad_arguments() {
    const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    let mut rig = Rig::new();
    assert_eq!(rig.run("RPUSH l x"), ":1\r\n");
    let refused = [
        "SETBIT l 1 1",
        "GETBIT l 1",
        "BITCOUNT l",
        "BITCOUNT l 0 1 BIT",
        "BITPOS l 1",
        "BITPOS l 1 0 -1",
        "BITOP AND d l",
        "BITOP NOT d l",
        "BITOP OR d k l",
        "BITFIELD l",
        "BITFIELD l GET u8 0",
        "BITFIELD l SET u8 0 1",
        "BITFIELD_RO l GET u8 0",
    ];
    for line in refused {
        assert_eq!(rig.run(line), WRONG_TYPE, "{line}");
    }
    replies(
        &mut rig,
        &[
            ("SETBIT l x 1", NO_OFFSET),
            ("BITCOUNT l a b", NOT_INTEGER),
            ("BITPOS l a", NOT_INTEGER),
            ("BITFIELD l GET u8 x", NO_OFFSET),
            ("SET k v", "+OK\r\n"),
            ("BITOP OR l k k", ":1\r\n"),
            ("GET l", "$1\r\nv\r\n"),
        ],
    );
}
