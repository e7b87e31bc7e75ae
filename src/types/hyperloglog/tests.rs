//! HyperLogLogs: both forms against a plain model, and the commands as a client sees them.

use proptest::prelude::*;

use super::dense::{self, DENSE, DENSE_LEN, patches};
use super::element::{Element, REGISTERS};
use super::estimate::cardinality;
use super::registers::Registers;
use super::sparse::{self, Added};
use super::view::{Form, HEADER, View, empty};
use crate::engine::rig::Rig;

#[track_caller]
fn replies(rig: &mut Rig, cases: &[(&str, &str)]) {
    for (line, reply) in cases {
        assert_eq!(&rig.run(line), reply, "{line}");
    }
}

const NOT_ONE: &str = "-WRONGTYPE Key is not a valid HyperLogLog string value.\r\n";
const CORRUPTED: &str = "-INVALIDOBJ Corrupted HLL object detected\r\n";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";

fn element() -> impl Strategy<Value = Element> {
    // Few registers next to each other, so that runs meet.
    let index =
        prop_oneof![4 => 0u16..40, 1 => 0u16..REGISTERS as u16, 1 => REGISTERS as u16 - 20..REGISTERS as u16];
    let rank = prop_oneof![6 => 1u8..4, 1 => 1u8..=32];
    (index, rank).prop_map(|(index, rank)| Element { index, rank })
}

fn registers_of(string: &[u8]) -> Vec<u8> {
    let mut registers = Registers::new();
    View::of(string)
        .expect("it has the header of one")
        .merge_into(&mut registers)
        .expect("it is well formed");
    registers.iter().collect()
}

fn model_of(elements: &[Element]) -> Vec<u8> {
    let mut model = vec![0; REGISTERS];
    for element in elements {
        let register = &mut model[usize::from(element.index)];
        *register = element.rank.max(*register);
    }
    model
}

proptest! {
    #[test]
    fn both_forms_hold_what_a_plain_array_holds(elements in prop::collection::vec(element(), 0..300)) {
        let model = model_of(&elements);
        let mut sparse = empty();
        let mut dense = View::of(&sparse).unwrap().to_dense().unwrap();
        for &element in &elements {
            prop_assert!(matches!(sparse::add(&mut sparse, element, 100_000), Added::Changed | Added::Nothing));
            for patch in patches(&dense, [element].into_iter()) {
                dense[patch.offset..patch.offset + patch.bytes.len()].copy_from_slice(&patch.bytes);
            }
        }
        prop_assert_eq!(&registers_of(&sparse), &model);
        prop_assert_eq!(&registers_of(&dense), &model);
        let converted = View::of(&sparse).unwrap().to_dense().unwrap();
        prop_assert_eq!(&converted[HEADER..], &dense[HEADER..]);
        let counts = [&sparse, &dense].map(|string| View::of(string).unwrap().count().unwrap());
        prop_assert_eq!(counts[0], counts[1]);
        prop_assert!(model.iter().enumerate().all(|(index, &value)| dense::get(&dense[HEADER..], index) == value));
    }

    #[test]
    fn patches_of_many_elements_say_the_same_as_one_by_one(elements in prop::collection::vec(element(), 0..200)) {
        let old = View::of(&empty()).unwrap().to_dense().unwrap();
        let mut new = old.clone();
        let patches = patches(&old, elements.iter().copied());
        for patch in &patches {
            new[patch.offset..patch.offset + patch.bytes.len()].copy_from_slice(&patch.bytes);
        }
        prop_assert_eq!(registers_of(&new), model_of(&elements));
        prop_assert_eq!(patches.is_empty(), elements.is_empty());
        prop_assert_eq!(super::view::is_stale(&new), !elements.is_empty());
        prop_assert!(patches.windows(2).all(|two| two[0].offset + two[0].bytes.len() < two[1].offset));
    }

    #[test]
    fn any_bytes_are_a_hyperloglog_or_refused(
        head in prop::sample::select(vec![&b"HYLL\x01"[..], b"HYLL\x00", b"HYLL\x02", b"HYL", b""]),
        tail in prop::collection::vec(any::<u8>(), 0..300),
        elements in prop::collection::vec(element(), 0..20),
    ) {
        let string = [head, &tail].concat();
        let Ok(hll) = View::of(&string) else {
            prop_assert!(!string.starts_with(b"HYLL\x01") || string.len() < HEADER);
            return Ok(());
        };
        let _ = (hll.cached(), sparse::describe(&string[HEADER..]));
        let (count, mut registers) = (hll.count(), Registers::new());
        prop_assert_eq!(count.is_ok(), hll.merge_into(&mut registers).is_ok());
        prop_assert_eq!(count.is_ok(), hll.to_dense().is_ok());
        let mut changed = string.clone();
        for element in elements {
            let _ = sparse::add(&mut changed, element, 3000);
        }
    }

    #[test]
    fn any_registers_are_counted(bytes in prop::collection::vec(any::<u8>(), DENSE), fill in any::<Option<u8>>()) {
        let mut string = View::of(&empty()).unwrap().to_dense().unwrap();
        string[HEADER..].copy_from_slice(&bytes);
        if let Some(fill) = fill {
            string[HEADER..].fill(fill);
        }
        let _ = View::of(&string).unwrap().count().unwrap();
    }
}

#[test]
fn elements_go_where_redis_puts_them() {
    // From PFDEBUG DECODE of redis-server 7.0.15: `PFADD h a b c` gives Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603.
    let mut elements = [b"a", b"b", b"c"].map(|name| Element::of(name));
    elements.sort_unstable();
    let expected = [(8436, 1), (12711, 2), (15780, 1)].map(|(index, rank)| Element { index, rank });
    assert_eq!(elements, expected);
}

#[test]
fn estimates_are_near_the_truth_and_registers_full_of_anything_are_counted() {
    let mut registers = Registers::new();
    assert_eq!(cardinality(&registers.histogram()), 0);
    for number in 0..1_000_000u32 {
        let element = Element::of(&number.to_le_bytes());
        registers.raise(element.index.into()..usize::from(element.index) + 1, element.rank);
    }
    let count = cardinality(&registers.histogram());
    assert!((980_000..1_020_000).contains(&count), "{count}");
    registers.raise(0..REGISTERS, 51);
    // As redis-server answers.
    assert_eq!(cardinality(&registers.histogram()), i64::MIN);
    registers.raise(0..REGISTERS, 63);
    assert_eq!(cardinality(&registers.histogram()), i64::MIN);
}

#[test]
fn elements_are_added_counted_and_merged() {
    let mut rig = Rig::new();
    replies(
        &mut rig,
        &[
            ("PFADD h a b c", ":1\r\n"),
            ("PFADD h a b c", ":0\r\n"),
            ("PFADD h", ":0\r\n"),
            ("PFADD none", ":1\r\n"),
            ("OBJECT ENCODING none", "$3\r\nraw\r\n"),
            ("TYPE h", "+string\r\n"),
            ("PFCOUNT h", ":3\r\n"),
            ("PFCOUNT h nothing none", ":3\r\n"),
            ("PFADD i c d", ":1\r\n"),
            ("PFCOUNT h i", ":4\r\n"),
            ("PFMERGE j h i nothing", "+OK\r\n"),
            ("PFCOUNT j", ":4\r\n"),
            ("PFMERGE h", "+OK\r\n"),
            ("PFMERGE fresh", "+OK\r\n"),
            ("PFCOUNT fresh", ":0\r\n"),
            ("PFCOUNT nothing", ":0\r\n"),
            ("PFDEBUG DECODE h", "$44\r\nZ:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603\r\n"),
            ("PFSELFTEST", "+OK\r\n"),
        ],
    );
    let get = rig.call(0, &[b"GET", b"none"]).0;
    assert_eq!(get, b"$18\r\nHYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x7f\xff\r\n");
}

#[test]
fn the_count_is_kept_in_the_value_until_registers_change() {
    let mut rig = Rig::new();
    rig.run("PFADD h a b c");
    let stale = rig.call(0, &[b"GET", b"h"]).0;
    rig.run("PFCOUNT h");
    let counted = rig.call(0, &[b"GET", b"h"]).0;
    assert_eq!(&counted[5 + 8..5 + 16], [3, 0, 0, 0, 0, 0, 0, 0]);
    let appended = rig.server.store.get().unwrap().log.append_lsn();
    assert_eq!(rig.run("PFCOUNT h"), ":3\r\n");
    assert_eq!(rig.run("PFADD h a"), ":0\r\n");
    assert_eq!(
        rig.server.store.get().unwrap().log.append_lsn(),
        appended,
        "nothing changed, nothing is logged"
    );
    assert_ne!(stale, counted);
    assert_eq!(rig.run("PFADD h d"), ":1\r\n");
    assert_eq!(rig.run("PFCOUNT h"), ":4\r\n");
    // What is written down is believed.
    rig.call(0, &[b"SETRANGE", b"h", b"8", &1234u64.to_le_bytes()]);
    assert_eq!(rig.run("PFCOUNT h"), ":1234\r\n");
}

#[test]
fn a_large_one_is_dense_and_logs_a_few_bytes_for_an_element() {
    let mut rig = Rig::new();
    let mut number = 0;
    while rig.run("PFDEBUG ENCODING h") != "+dense\r\n" {
        rig.run(&format!("PFADD h e{number}"));
        number += 1;
    }
    assert_eq!(rig.run("STRLEN h"), format!(":{DENSE_LEN}\r\n"));
    let log = rig.server.store.get().unwrap().log.clone();
    let before = log.append_lsn();
    let mut added = 0;
    while added < 100 {
        number += 1;
        added += u64::from(rig.run(&format!("PFADD h e{number}")) == ":1\r\n");
    }
    let bytes = log.append_lsn() - before;
    assert!(bytes <= added * 80, "{bytes} bytes for {added} elements");
}

#[test]
fn a_sparse_one_logs_a_few_bytes_for_an_element() {
    let mut rig = Rig::new();
    (0..500).for_each(|number| drop(rig.run(&format!("PFADD h e{number}"))));
    let log = rig.server.store.get().unwrap().log.clone();
    let before = log.append_lsn();
    let added = (500..600).filter(|number| rig.run(&format!("PFADD h e{number}")) == ":1\r\n").count() as u64;
    let bytes = log.append_lsn() - before;
    assert!(added > 50 && bytes <= added * 80, "{bytes} bytes for {added} elements");
    assert_eq!(rig.run("PFDEBUG ENCODING h"), "+sparse\r\n");
}

#[test]
fn strings_that_are_none_are_refused() {
    let mut rig = Rig::new();
    rig.run("PFADD h a b c");
    rig.run("RPUSH l x");
    rig.run("SET s text");
    for (key, error) in [("s", NOT_ONE), ("l", WRONG_TYPE)] {
        for line in [
            format!("PFADD {key}"),
            format!("PFADD {key} a"),
            format!("PFCOUNT {key}"),
            format!("PFCOUNT h {key}"),
            format!("PFMERGE {key} h"),
            format!("PFMERGE h {key}"),
            format!("PFDEBUG NONE {key}"),
        ] {
            assert_eq!(rig.run(&line), error, "{line}");
        }
    }
    replies(
        &mut rig,
        &[
            ("PFDEBUG NONE nothing", "-ERR The specified key does not exist\r\n"),
            ("PFDEBUG NONE h", "-ERR Unknown PFDEBUG subcommand 'NONE'\r\n"),
            ("PFDEBUG TODENSE h", ":1\r\n"),
            ("PFDEBUG todense h", ":0\r\n"),
            ("PFDEBUG DECODE h", "-ERR HLL encoding is not sparse\r\n"),
            ("PFCOUNT h", ":3\r\n"),
        ],
    );
    let short: &[u8] = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x7f\xfe";
    let long: &[u8] = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x7f\xff\0";
    for bytes in [short, long, &short[..17], &short[..16]] {
        rig.call(0, &[b"SET", b"c", bytes]);
        for line in
            ["PFCOUNT c", "PFCOUNT h c", "PFMERGE h c", "PFMERGE c", "PFDEBUG GETREG c", "PFDEBUG TODENSE c"]
        {
            assert_eq!(rig.run(line), CORRUPTED, "{line} {bytes:?}");
        }
        assert_eq!(
            rig.call(0, &[b"GET", b"c"]).0,
            [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
        );
    }
    for bytes in
        [&short[..15], b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\x80\x7f\xff", b"HYLL\0\0\0\0\0\0\0\0\0\0\0\x80\x7f\xff"]
    {
        rig.call(0, &[b"SET", b"c", bytes]);
        assert_eq!(rig.run("PFCOUNT c"), NOT_ONE, "{bytes:?}");
    }
}

#[test]
fn a_form_is_told_by_its_byte() {
    let string = empty();
    assert_eq!(View::of(&string).unwrap().form, Form::Sparse);
    assert_eq!(string.len(), HEADER + 2);
}
