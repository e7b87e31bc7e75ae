//! Geohashes: the earth between two parallels as a grid of cells, four times as many with each step. A cell's number has the bits of
//! its column and its row in turn, so that the cells within a larger one are a range of numbers: a range of scores.

/// Longitudes and latitudes that can be stored. Those of the Web Mercator projection.
pub(super) const LONGITUDE_MAX: f64 = 180.0;
pub(super) const LATITUDE_MAX: f64 = 85.051_128_78;
/// Steps of the cells that are stored as scores: 52 bits.
pub(super) const STEP_MAX: u32 = 26;

/// Degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub longitude: f64,
    pub latitude: f64,
}

/// A cell of the grid with `2^step` columns and rows, counted from the southwest. A point at the very east or north lies in a column
/// or row that is one too many, and a score may have been set by hand: numbers can be larger than they should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub column: u32,
    pub row: u32,
    pub step: u32,
}

/// Degrees from the west and south edge of a cell to its east and north edge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub southwest: Point,
    pub northeast: Point,
}

impl Cell {
    /// The cell of a point, in the grid up to a latitude.
    pub fn within(point: Point, latitude_max: f64, step: u32) -> Self {
        let scale = (1u64 << step) as f64;
        let number = |degrees: f64, max: f64| ((degrees + max) / (max + max) * scale) as u32;
        Self {
            column: number(point.longitude, LONGITUDE_MAX),
            row: number(point.latitude, latitude_max),
            step,
        }
    }

    pub fn of(point: Point, step: u32) -> Self {
        Self::within(point, LATITUDE_MAX, step)
    }

    /// What a member's score says.
    pub fn of_score(score: f64) -> Self {
        let bits = bits_of_score(score);
        Self { column: even_bits(bits >> 1), row: even_bits(bits), step: STEP_MAX }
    }

    pub const fn bits(self) -> u64 {
        spread(self.row) | spread(self.column) << 1
    }

    /// The score of a member in a cell of the last step.
    pub const fn score(self) -> f64 {
        self.bits() as f64
    }

    /// The scores of all points in the cell: from the first one up to, not including, the second.
    pub const fn scores(self) -> (f64, f64) {
        let shift = 2 * (STEP_MAX - self.step);
        ((self.bits() << shift) as f64, ((self.bits() + 1) << shift) as f64)
    }

    pub fn area(self) -> Area {
        let scale = (1u64 << self.step) as f64;
        let edge = |number: u32, max: f64| -max + f64::from(number) / scale * (max + max);
        let corner =
            |column, row| Point { longitude: edge(column, LONGITUDE_MAX), latitude: edge(row, LATITUDE_MAX) };
        Area {
            southwest: corner(self.column, self.row),
            northeast: corner(self.column.wrapping_add(1), self.row.wrapping_add(1)),
        }
    }

    /// The point that a cell stands for.
    pub fn center(self) -> Point {
        let Area { southwest, northeast } = self.area();
        let middle = |low: f64, high: f64, max: f64| ((low + high) / 2.0).clamp(-max, max);
        Point {
            longitude: middle(southwest.longitude, northeast.longitude, LONGITUDE_MAX),
            latitude: middle(southwest.latitude, northeast.latitude, LATITUDE_MAX),
        }
    }

    /// The cell some columns to the east and rows to the north; behind the last one comes the first.
    pub fn moved(self, east: i32, north: i32) -> Self {
        let mask = (1u32 << self.step) - 1;
        let number = |number: u32, by: i32| match by {
            0 => number,
            _ => number.wrapping_add_signed(by) & mask,
        };
        Self { column: number(self.column, east), row: number(self.row, north), step: self.step }
    }
}

/// The number that a score is, for scores that no command made as on x86-64: out of range, conversions have one and the same result.
fn bits_of_score(score: f64) -> u64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0; // 2^63
    if score < LIMIT { to_i64(score) as u64 } else { to_i64(score - LIMIT) as u64 ^ 1 << 63 }
}

/// A score as an integer: the smallest one if it does not fit.
pub(super) fn to_i64(score: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&score) { score as i64 } else { i64::MIN }
}

/// Puts a zero before each bit.
const fn spread(number: u32) -> u64 {
    let mut bits = number as u64;
    bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & 0x5555_5555_5555_5555
}

/// What [`spread`] made this of.
const fn even_bits(bits: u64) -> u32 {
    let mut bits = bits & 0x5555_5555_5555_5555;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits >> 4) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits >> 8) & 0x0000_ffff_0000_ffff;
    (bits | bits >> 16) as u32
}

/// Letters of a geohash as text.
const LETTERS: usize = 11;

/// The point of a score as the usual geohash: that grid reaches the poles. The last letter would need bits that a score does not have.
pub(super) fn text(score: f64) -> [u8; LETTERS] {
    const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let bits = Cell::within(Cell::of_score(score).center(), 90.0, STEP_MAX).bits();
    let mut text = [ALPHABET[0]; LETTERS];
    for (at, letter) in text[..LETTERS - 1].iter_mut().enumerate() {
        *letter = ALPHABET[(bits >> (2 * STEP_MAX - 5 * (at as u32 + 1)) & 31) as usize];
    }
    text
}
