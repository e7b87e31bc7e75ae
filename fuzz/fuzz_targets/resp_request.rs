#![no_main]

#[path = "../bodies/resp_request.rs"]
mod resp_request;

libfuzzer_sys::fuzz_target!(|data: &[u8]| resp_request::check(data));
