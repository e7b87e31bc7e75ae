#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::resp_reply::check(data));
