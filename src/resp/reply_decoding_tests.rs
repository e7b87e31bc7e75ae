//! Generated replies are read back by redis-protocol's decoders: the same tree, all bytes used.

use super::*;
use proptest::prelude::*;
use redis_protocol::{resp2, resp3};

#[derive(Debug, Clone)]
enum Tree {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    NullArray,
    Double(f64),
    Boolean(bool),
    Verbatim(String),
    BigNumber(String),
    Array(Vec<Tree>),
    ArrayLater(Vec<Tree>),
    Set(Vec<i64>),
    Map(Vec<(String, Tree)>),
}

fn any_tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        "[ -~]{0,9}".prop_map(Tree::Simple),
        "[A-Z]{1,5} [ -~]{0,9}".prop_map(Tree::Error),
        any::<i64>().prop_map(Tree::Integer),
        any::<Vec<u8>>().prop_map(Tree::Bulk),
        Just(Tree::Null),
        Just(Tree::NullArray),
        prop::num::f64::ANY.prop_filter("not comparable", |value| !value.is_nan()).prop_map(Tree::Double),
        any::<bool>().prop_map(Tree::Boolean),
        "[ -~\r\n]{0,9}".prop_map(Tree::Verbatim),
        "-?[1-9][0-9]{0,40}".prop_map(Tree::BigNumber),
        prop::collection::btree_set(any::<i64>(), 0..5).prop_map(|set| Tree::Set(set.into_iter().collect())),
    ];
    leaf.prop_recursive(4, 40, 12, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..12).prop_map(Tree::Array),
            prop::collection::vec(inner.clone(), 0..12).prop_map(Tree::ArrayLater),
            prop::collection::btree_map("[a-z]{0,5}", inner, 0..12)
                .prop_map(|map| Tree::Map(map.into_iter().collect())),
        ]
    })
}

fn write(tree: &Tree, reply: &mut Reply<'_>) {
    match tree {
        Tree::Simple(text) => reply.simple(text),
        Tree::Error(text) => reply.error(text),
        Tree::Integer(value) => reply.integer(*value),
        Tree::Bulk(bytes) => reply.bulk(bytes),
        Tree::Null => reply.null(),
        Tree::NullArray => reply.null_array(),
        Tree::Double(value) => reply.double(*value),
        Tree::Boolean(value) => reply.boolean(*value),
        Tree::Verbatim(text) => reply.verbatim(b"txt", text.as_bytes()),
        Tree::BigNumber(digits) => reply.big_number(digits),
        Tree::Array(trees) => {
            reply.array(trees.len());
            trees.iter().for_each(|tree| write(tree, reply));
        }
        Tree::ArrayLater(trees) => {
            let mark = reply.array_later();
            trees.iter().for_each(|tree| write(tree, reply));
            reply.finish_array(mark, trees.len());
        }
        Tree::Set(members) => {
            reply.set(members.len());
            members.iter().for_each(|member| reply.integer(*member));
        }
        Tree::Map(pairs) => {
            reply.map(pairs.len());
            for (key, value) in pairs {
                reply.bulk_str(key);
                write(value, reply);
            }
        }
    }
}

fn as_resp2(tree: &Tree) -> resp2::types::OwnedFrame {
    use resp2::types::OwnedFrame as Frame;
    let bulk = |text: &str| Frame::BulkString(text.as_bytes().to_vec());
    match tree {
        Tree::Simple(text) => Frame::SimpleString(text.clone().into_bytes()),
        Tree::Error(text) => Frame::Error(text.clone()),
        Tree::Integer(value) => Frame::Integer(*value),
        Tree::Bulk(bytes) => Frame::BulkString(bytes.clone()),
        Tree::Null | Tree::NullArray => Frame::Null,
        Tree::Double(value) => bulk(&crate::resp::number::format_f64(*value)),
        Tree::Boolean(value) => Frame::Integer(i64::from(*value)),
        Tree::Verbatim(text) | Tree::BigNumber(text) => bulk(text),
        Tree::Array(trees) | Tree::ArrayLater(trees) => Frame::Array(trees.iter().map(as_resp2).collect()),
        Tree::Set(members) => Frame::Array(members.iter().map(|member| Frame::Integer(*member)).collect()),
        Tree::Map(pairs) => {
            Frame::Array(pairs.iter().flat_map(|(key, value)| [bulk(key), as_resp2(value)]).collect())
        }
    }
}

fn as_resp3(tree: &Tree) -> resp3::types::OwnedFrame {
    use resp3::types::{OwnedFrame as Frame, VerbatimStringFormat};
    let attributes = None;
    match tree {
        Tree::Simple(text) => Frame::SimpleString { data: text.clone().into_bytes(), attributes },
        Tree::Error(text) => Frame::SimpleError { data: text.clone(), attributes },
        Tree::Integer(value) => Frame::Number { data: *value, attributes },
        Tree::Bulk(bytes) => Frame::BlobString { data: bytes.clone(), attributes },
        Tree::Null | Tree::NullArray => Frame::Null,
        Tree::Double(value) => Frame::Double { data: *value, attributes },
        Tree::Boolean(value) => Frame::Boolean { data: *value, attributes },
        Tree::Verbatim(text) => {
            let format = VerbatimStringFormat::Text;
            Frame::VerbatimString { data: text.clone().into_bytes(), format, attributes }
        }
        Tree::BigNumber(digits) => Frame::BigNumber { data: digits.clone().into_bytes(), attributes },
        Tree::Array(trees) | Tree::ArrayLater(trees) => {
            Frame::Array { data: trees.iter().map(as_resp3).collect(), attributes }
        }
        Tree::Set(members) => {
            let frames = members.iter().map(|member| Frame::Number { data: *member, attributes: None });
            Frame::Set { data: frames.collect(), attributes }
        }
        Tree::Map(pairs) => {
            let frames = pairs.iter().map(|(key, value)| {
                (Frame::BlobString { data: key.clone().into_bytes(), attributes: None }, as_resp3(value))
            });
            Frame::Map { data: frames.collect(), attributes }
        }
    }
}

proptest! {
    #[test]
    fn replies_are_what_redis_protocol_reads(tree in any_tree()) {
        let mut out = Vec::new();
        write(&tree, &mut Reply::new(&mut out, Protocol::Resp2));
        prop_assert_eq!(resp2::decode::decode(&out).unwrap(), Some((as_resp2(&tree), out.len())));

        let mut out = Vec::new();
        write(&tree, &mut Reply::new(&mut out, Protocol::Resp3));
        prop_assert_eq!(resp3::decode::complete::decode(&out).unwrap(), Some((as_resp3(&tree), out.len())));
    }
}
