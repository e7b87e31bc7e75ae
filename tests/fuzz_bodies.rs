//! The bodies of the fuzz targets on the stable toolchain: their corpora, and generated input.

#[path = "../fuzz/bodies/resp_request.rs"]
mod resp_request;

use proptest::prelude::*;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{dir}: {error}"));
    entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn resp_request_corpus() {
    let inputs = corpus("resp_request");
    assert!(!inputs.is_empty());
    inputs.iter().for_each(|input| resp_request::check(input));
}

/// Pieces that requests are made of, whole and broken.
fn request_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5).prop_map(|args| {
            let mut out = format!("*{}\r\n", args.len()).into_bytes();
            for arg in args {
                out.extend(format!("${}\r\n", arg.len()).into_bytes());
                out.extend(arg);
                out.extend(b"\r\n");
            }
            out
        }),
        2 => "[a-z'\"\\\\ x0-9\t\r]{0,20}\r?\n".prop_map(String::into_bytes),
        2 => "[*$]-?[0-9]{0,3}\r\n".prop_map(String::into_bytes),
        1 => "[*$\r\n0-9a]{1,4}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn resp_request_generated(mode in any::<u8>(), piece in 0u8..12, stream in request_bytes()) {
        resp_request::check(&[&[mode, piece], &stream[..]].concat());
    }

    #[test]
    fn resp_request_any_bytes(data in any::<Vec<u8>>()) {
        resp_request::check(&data);
    }
}
