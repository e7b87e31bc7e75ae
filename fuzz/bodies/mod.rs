//! What the fuzz targets check. Each body has `check`, which takes any bytes, and `seeds`: inputs made in code by the real
//! encoders, so that a change of a format changes them too. Shared by the targets and by `tests/fuzz_bodies.rs`.

pub mod choices;
pub mod commands;
pub mod config;
pub mod frame;
pub mod glob;
pub mod manifest;
pub mod numbers;
pub mod ops;
pub mod resp_reply;
pub mod resp_request;
pub mod restore;
pub mod segment;
pub mod snapshot_file;
pub mod store;

/// A target: its name, its check and its seeds.
pub struct Target {
    pub name: &'static str,
    pub check: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($name:ident)*) => {
        /// Every target. `fuzz/Cargo.toml` has a `[[bin]]` for each.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), check: $name::check, seeds: $name::seeds }),*];
    };
}

targets!(commands config frame glob manifest numbers ops resp_reply resp_request restore segment snapshot_file);
