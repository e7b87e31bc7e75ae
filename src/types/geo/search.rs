//! Members of a sorted set within a shape on the earth: those of the cell around the center and of its eight neighbours, one after
//! the other, as far as they lie in the shape.

use super::cell::{Area, Cell, Point, STEP_MAX};
use super::earth::{distance_m, latitude_span, longitude_span, north_m};
use super::options::{Order, Query, Shape};
use super::partial_sort::sort_first;
use crate::types::sorted_set::value::SortedSet;

/// A member that lies in the shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'s> {
    pub member: &'s [u8],
    pub score: f64,
    pub point: Point,
    /// From the center.
    pub distance_m: f64,
}

impl Shape {
    /// The distance of a point from the center, if it lies in the shape around that.
    fn distance_m(self, center: Point, point: Point) -> Option<f64> {
        match self {
            Self::Circle { radius_m } => {
                let distance = distance_m(center, point);
                let outside = distance > radius_m;
                (!outside).then_some(distance)
            }
            Self::Box { width_m, height_m } => {
                // Half the width is measured on the point's own parallel.
                let beside = Point { latitude: point.latitude, ..center };
                let outside = north_m(point.latitude, center.latitude) > height_m / 2.0
                    || distance_m(point, beside) > width_m / 2.0;
                (!outside).then(|| distance_m(center, point))
            }
        }
    }

    /// Half of the height and of the width.
    const fn reach_m(self) -> (f64, f64) {
        match self {
            Self::Circle { radius_m } => (radius_m, radius_m),
            Self::Box { width_m, height_m } => (height_m / 2.0, width_m / 2.0),
        }
    }

    /// Radius of a circle around it.
    fn radius_m(self) -> f64 {
        match self {
            Self::Circle { radius_m } => radius_m,
            Self::Box { width_m, height_m } => {
                ((width_m / 2.0) * (width_m / 2.0) + (height_m / 2.0) * (height_m / 2.0)).sqrt()
            }
        }
    }

    /// A box of degrees around it.
    fn bounds(self, center: Point) -> Area {
        let (north_m, east_m) = self.reach_m();
        let north = latitude_span(north_m);
        // The side that is nearer to a pole spans more degrees.
        let nearest_pole =
            if center.latitude < 0.0 { center.latitude - north } else { center.latitude + north };
        let east = longitude_span(east_m, nearest_pole);
        let corner = |sign: f64| Point {
            longitude: center.longitude + sign * east,
            latitude: center.latitude + sign * north,
        };
        Area { southwest: corner(-1.0), northeast: corner(1.0) }
    }
}

/// The step at which cells are about as large as the radius.
fn estimated_step(radius_m: f64, latitude: f64) -> u32 {
    const HALF_EQUATOR_M: f64 = 20_037_726.37;
    if radius_m == 0.0 {
        return STEP_MAX;
    }
    let (mut step, mut reach_m) = (1i32, radius_m);
    while reach_m < HALF_EQUATOR_M {
        reach_m *= 2.0;
        step += 1;
    }
    // Two less, so that the neighbours cover the whole; near the poles cells are narrow.
    step -= 2;
    step -= i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    step.clamp(1, STEP_MAX as i32) as u32
}

/// Columns to the east and rows to the north, in the order in which neighbours are searched.
const NEIGHBOURS: [(i32, i32); 9] =
    [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];

/// The cells that a shape may touch.
fn cells(center: Point, shape: Shape) -> impl Iterator<Item = Cell> {
    let bounds = shape.bounds(center);
    let mut cell = Cell::of(center, estimated_step(shape.radius_m(), center.latitude));
    if cell.step > 1 && is_too_small(cell, bounds) {
        cell = Cell::of(center, cell.step - 1);
    }
    let own = cell.area();
    // Which neighbours the shape does not reach into.
    let exact = cell.step >= 2;
    let no_south = exact && own.southwest.latitude < bounds.southwest.latitude;
    let no_north = exact && own.northeast.latitude > bounds.northeast.latitude;
    let no_west = exact && own.southwest.longitude < bounds.southwest.longitude;
    let no_east = exact && own.northeast.longitude > bounds.northeast.longitude;
    NEIGHBOURS.into_iter().filter_map(move |(east, north)| {
        let useless =
            no_south && north < 0 || no_north && north > 0 || no_west && east < 0 || no_east && east > 0;
        (!useless).then(|| cell.moved(east, north))
    })
}

/// Whether the neighbours do not reach as far as the shape, or lie on the other side of the map.
fn is_too_small(cell: Cell, bounds: Area) -> bool {
    let northeast = |east, north| cell.moved(east, north).area().northeast;
    let southwest = |east, north| cell.moved(east, north).area().southwest;
    northeast(0, 1).latitude < bounds.northeast.latitude
        || southwest(0, -1).latitude > bounds.southwest.latitude
        || northeast(1, 0).longitude < bounds.northeast.longitude
        || southwest(-1, 0).longitude > bounds.southwest.longitude
}

/// All members within the query's shape, in its order. With ANY, the search ends when there are enough.
pub(super) fn search<'s>(set: &'s SortedSet, query: &Query<'_>) -> Vec<Found<'s>> {
    let limit = if query.any { query.count } else { None };
    let is_enough = |found: &Vec<Found<'_>>| limit.is_some_and(|limit| found.len() >= limit);
    let mut found = Vec::new();
    let mut last = None;
    for cell in cells(query.center, query.shape) {
        // Around a shape as large as the earth the neighbours on both sides are the same.
        if last.replace(cell) == Some(cell) {
            continue;
        }
        if is_enough(&found) {
            break;
        }
        let (from, to) = cell.scores();
        let ranks = set.count_below(from, false)..set.count_below(to, false);
        for (score, member) in set.range(ranks) {
            let point = Cell::of_score(score).center();
            if let Some(distance_m) = query.shape.distance_m(query.center, point) {
                found.push(Found { member, score, point, distance_m });
                if is_enough(&found) {
                    break;
                }
            }
        }
    }
    put_in_order(&mut found, query);
    found
}

/// Sorts, and leaves no more than asked for.
fn put_in_order(found: &mut Vec<Found<'_>>, query: &Query<'_>) {
    let wanted = query.count.unwrap_or(usize::MAX).min(found.len());
    let compare = |a: &Found<'_>, b: &Found<'_>| match query.order {
        Some(Order::Descending) => b.distance_m.total_cmp(&a.distance_m),
        _ => a.distance_m.total_cmp(&b.distance_m),
    };
    if query.order.is_some() && wanted == found.len() {
        found.sort_by(compare);
    } else if query.order.is_some() {
        sort_first(found, wanted, &compare);
    }
    found.truncate(wanted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_the_radius_and_the_latitude() {
        let cases = [
            (0.0, 0.0, 26),
            (1.0, 0.0, 24),
            (1000.0, 0.0, 14),
            (1e6, 0.0, 4),
            (1e9, 0.0, 1),
            (f64::INFINITY, 0.0, 1),
        ];
        for (radius_m, latitude, step) in cases {
            assert_eq!(estimated_step(radius_m, latitude), step, "{radius_m}");
        }
        assert_eq!(
            [66.0, 66.1, -66.1, 80.1].map(|latitude| estimated_step(1000.0, latitude)),
            [14, 13, 13, 12]
        );
    }
}
