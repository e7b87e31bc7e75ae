//! Cells and searches against plain arithmetic, and the geo commands as a client sees them.

use proptest::prelude::*;

use super::cell::{Cell, LATITUDE_MAX, Point, STEP_MAX, text};
use super::earth::distance_m;
use super::options::{Order, Query, Shape};
use super::search::search;
use crate::engine::rig::Rig;
use crate::types::Collection;
use crate::types::sorted_set::value::{SortedSet, SortedSetOp};

fn point() -> impl Strategy<Value = Point> {
    let any = (-180.0..=180.0, -LATITUDE_MAX..=LATITUDE_MAX);
    let near = (13.0..14.0, 37.0..38.0);
    let edge = (prop_oneof![179.0..=180.0, -180.0..=-179.0], -1.0..1.0);
    prop_oneof![any, near, edge].prop_map(|(longitude, latitude)| Point { longitude, latitude })
}

fn shape() -> impl Strategy<Value = Shape> {
    let length = || (0.0f64..6.5).prop_map(|power| 10f64.powf(power));
    prop_oneof![
        length().prop_map(|radius_m| Shape::Circle { radius_m }),
        (length(), length()).prop_map(|(width_m, height_m)| Shape::Box { width_m, height_m }),
    ]
}

fn set_of(points: &[Point]) -> SortedSet {
    let mut set = SortedSet::default();
    for (number, point) in points.iter().enumerate() {
        let member = number.to_string();
        let score = Cell::of(*point, STEP_MAX).score();
        set.apply(&SortedSetOp::Set { score, member: member.as_bytes() }).expect("it fits any set");
    }
    set
}

fn query(center: Point, shape: Shape) -> Query<'static> {
    Query {
        center,
        shape,
        unit_m: 1.0,
        with_distance: false,
        with_hash: false,
        with_point: false,
        order: None,
        count: None,
        any: false,
        store: None,
        store_distance: false,
    }
}

proptest! {
    #[test]
    fn a_score_is_a_cell_around_its_point(point in point()) {
        let cell = Cell::of(point, STEP_MAX);
        prop_assert_eq!(Cell::of_score(cell.score()).bits(), cell.score() as u64);
        let center = cell.center();
        prop_assert!(distance_m(point, center) < 1.0, "{:?} and {:?}", point, center);
        let (from, to) = Cell::of(point, 5).scores();
        prop_assert!((from..to).contains(&cell.score()));
    }

    #[test]
    fn cells_move_around_the_earth(point in point(), step in 1u32..=STEP_MAX) {
        let cell = Cell::of(point, step);
        prop_assume!(cell.column < 1 << step && cell.row < 1 << step);
        prop_assert_eq!(cell.moved(1, 0).moved(-1, 0), cell);
        prop_assert_eq!(cell.moved(0, -1).moved(0, 1), cell);
        prop_assert_eq!(cell.moved(1, 1), cell.moved(0, 1).moved(1, 0));
    }

    #[test]
    fn any_score_is_a_point(bits in any::<u64>()) {
        let score = f64::from_bits(bits);
        prop_assume!(!score.is_nan());
        let point = Cell::of_score(score).center();
        prop_assert!(point.longitude.abs() <= 180.0 && point.latitude.abs() <= LATITUDE_MAX);
        text(score);
        let mut set = SortedSet::default();
        set.apply(&SortedSetOp::Set { score, member: b"m" }).unwrap();
        let found = search(&set, &query(point, Shape::Circle { radius_m: 1000.0 }));
        prop_assert!(found.len() <= 1);
    }

    #[test]
    fn a_search_finds_what_a_look_at_every_member_finds(
        points in prop::collection::vec(point(), 0..60),
        center in point(),
        shape in shape(),
    ) {
        // Cells near a pole, and shapes that reach around the earth, are Redis' affair.
        prop_assume!(center.latitude.abs() < 60.0);
        let set = set_of(&points);
        let lies_in = |at: Point| match shape {
            Shape::Circle { radius_m } => distance_m(center, at) <= radius_m,
            Shape::Box { width_m, height_m } => {
                let (north, beside) = (Point { longitude: center.longitude, ..at }, Point { latitude: at.latitude, ..center });
                distance_m(center, north) <= height_m / 2.0 && distance_m(at, beside) <= width_m / 2.0
            }
        };
        let mut expected: Vec<_> = set
            .members()
            .filter(|&(score, _)| lies_in(Cell::of_score(score).center()))
            .map(|(_, member)| member.to_vec())
            .collect();
        let found = search(&set, &query(center, shape));
        let mut members: Vec<_> = found.iter().map(|one| one.member.to_vec()).collect();
        expected.sort();
        members.sort();
        prop_assert_eq!(members, expected);
    }

    #[test]
    fn a_count_takes_the_nearest_or_the_farthest(
        points in prop::collection::vec(point(), 0..60),
        center in point(),
        count in 1usize..70,
        descending: bool,
    ) {
        let set = set_of(&points);
        let order = if descending { Order::Descending } else { Order::Ascending };
        let all = Query { order: Some(order), ..query(center, Shape::Circle { radius_m: 3e6 }) };
        let distances = |query: &Query<'_>| search(&set, query).iter().map(|one| one.distance_m).collect::<Vec<_>>();
        let mut expected = distances(&all);
        let in_order = expected.is_sorted_by(|a, b| if descending { a >= b } else { a <= b });
        prop_assert!(in_order);
        expected.truncate(count);
        prop_assert_eq!(distances(&Query { count: Some(count), ..all }), expected);
    }
}

#[track_caller]
fn replies(rig: &mut Rig, cases: &[(&str, &str)]) {
    for (line, reply) in cases {
        assert_eq!(&rig.run(line), reply, "{line}");
    }
}

#[test]
fn places_are_added_and_told() {
    let mut rig = Rig::new();
    replies(
        &mut rig,
        &[
            ("GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", ":2\r\n"),
            ("GEOADD g CH 13.361389 38.115556 Palermo 15 37 Catania", ":1\r\n"),
            ("GEOADD g XX 1 1 none", ":0\r\n"),
            ("GEOADD g NX 1 1 Catania", ":0\r\n"),
            ("GEOADD g NX XX 1 1 a", "-ERR syntax error\r\n"),
            ("GEOADD g 1 1", "-ERR wrong number of arguments for 'geoadd' command\r\n"),
            ("GEOADD g 1 86 a", "-ERR invalid longitude,latitude pair 1.000000,86.000000\r\n"),
            (
                "GEOPOS g Palermo x",
                "*2\r\n*2\r\n$20\r\n13.36138933897018433\r\n$20\r\n38.11555639549629859\r\n*-1\r\n",
            ),
            ("GEOHASH g Palermo x", "*2\r\n$11\r\nsqc8b49rny0\r\n$-1\r\n"),
            ("GEOADD g 15.087269 37.502669 Catania", ":0\r\n"),
            ("GEODIST g Palermo Catania", "$11\r\n166274.1516\r\n"),
            ("GEODIST g Palermo Catania km", "$8\r\n166.2742\r\n"),
            ("GEODIST g Palermo x km", "$-1\r\n"),
            ("GEODIST g a b yd", "-ERR unsupported unit provided. please use M, KM, FT, MI\r\n"),
        ],
    );
}

#[test]
fn a_search_is_stored_in_one_step_over_whatever_was_there() {
    let mut rig = Rig::new();
    replies(
        &mut rig,
        &[
            ("GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", ":2\r\n"),
            ("RPUSH d x", ":1\r\n"),
            ("GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 100 km", ":1\r\n"),
            ("TYPE d", "+zset\r\n"),
            ("GEORADIUS g 15 37 200 km STORE g COUNT 1", ":1\r\n"),
            ("GEOHASH g Palermo Catania", "*2\r\n$-1\r\n$11\r\nsqdtr74hyu0\r\n"),
            ("GEOSEARCHSTORE d g FROMLONLAT 0 0 BYBOX 1 1 km", ":0\r\n"),
            ("EXISTS d", ":0\r\n"),
        ],
    );
    let appended = |rig: &Rig| rig.server.store.get().unwrap().log.append_lsn();
    let before = appended(&rig);
    rig.run("GEOADD g 15.087269 37.502669 Catania");
    rig.run("GEORADIUS g 15 37 1 m STORE nothing");
    assert_eq!(appended(&rig), before, "nothing changed, nothing is logged");
}
