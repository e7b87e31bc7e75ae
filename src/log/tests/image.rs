//! Images of the log: where they may end.

use super::*;

#[test]
fn an_image_ends_only_where_a_record_does() {
    let bench = new_bench(Policy::EverySec);
    let first = bench.write(b"first");
    let large = bench.write(&[1; 9_500]);
    // The segment is full in the middle of the large record.
    assert!((first + 1..large).contains(&bench.log.sealed_through()));
    assert!(bench.log.image(first + 1).unwrap().is_none());
    bench.log.seal();
    bench.settle();
    let image = bench.log.image(first + 1).unwrap().unwrap();
    assert_eq!(image.end_lsn(), large);
    let behind = bench.write(b"behind");
    assert!(bench.log.image(behind).unwrap().is_none());
    assert_eq!(bench.log.image(large).unwrap().unwrap().end_lsn(), large);
}

#[test]
fn an_image_is_of_the_log_up_to_its_end_and_not_of_the_active_segment() {
    for way in WAYS {
        let bench = new_bench_with(Policy::Always, way);
        let empty = bench.log.image(0).unwrap().unwrap();
        assert_eq!((empty.end_lsn(), empty.files()[0].is_active), (0, true));
        for i in 0..50 {
            bench.write(&body(i));
        }
        let goal = bench.log.seal();
        bench.settle();
        bench.write(b"behind");
        let image = bench.log.image(goal).unwrap().unwrap();
        assert_eq!(image.end_lsn(), goal);
        let active = bench.active().0;
        assert!(image.files().iter().all(|file| file.path != active && !file.is_active));
    }
}

#[test]
fn damage_in_the_last_segment_of_an_image_is_told() {
    let bench = new_bench(Policy::Always);
    bench.write(b"record");
    let (path, mut bytes, _) = bench.active();
    let goal = bench.log.seal();
    bench.settle();
    bytes[segment::HEADER_LEN as usize + frame::HEADER_LEN + 2] ^= 1;
    bench.disk.write_raw(&path, &bytes);
    assert!(matches!(bench.log.image(goal), Err(StoreError::Corruption(_))));
}
