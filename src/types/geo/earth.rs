//! Distances on the earth, taken for a sphere.

use super::cell::Point;

const RADIUS_M: f64 = 6_372_797.560856;

fn radians(degrees: f64) -> f64 {
    degrees * (std::f64::consts::PI / 180.0)
}

pub(super) fn degrees(radians: f64) -> f64 {
    radians / (std::f64::consts::PI / 180.0)
}

/// Metres along a meridian.
pub(super) fn north_m(a: f64, b: f64) -> f64 {
    RADIUS_M * (radians(b) - radians(a)).abs()
}

/// Metres between two points: haversine.
pub(super) fn distance_m(a: Point, b: Point) -> f64 {
    let (latitude_a, latitude_b) = (radians(a.latitude), radians(b.latitude));
    let north = ((latitude_b - latitude_a) / 2.0).sin();
    let east = ((radians(b.longitude) - radians(a.longitude)) / 2.0).sin();
    if east == 0.0 {
        return north_m(a.latitude, b.latitude);
    }
    let half = north * north + latitude_a.cos() * latitude_b.cos() * east * east;
    2.0 * RADIUS_M * half.sqrt().asin()
}

/// Degrees of latitude that `metres` are to the north.
pub(super) fn latitude_span(metres: f64) -> f64 {
    degrees(metres / RADIUS_M)
}

/// Degrees of longitude that `metres` are to the east at a latitude.
pub(super) fn longitude_span(metres: f64, latitude: f64) -> f64 {
    degrees(metres / RADIUS_M / radians(latitude).cos())
}

/// Metres in one of a unit.
pub(super) fn unit_m(word: &[u8]) -> Option<f64> {
    let units = [(&b"m"[..], 1.0), (b"km", 1000.0), (b"ft", 0.3048), (b"mi", 1609.34)];
    units.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, metres)| metres)
}
