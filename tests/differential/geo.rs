//! Geo commands. Few places, so that members share them and distances are equal; a few at the edges of what can be stored.
//!
//! Distances are stored in a key that is nobody else's: redis-server 7.0 tells such scores with more digits.

use super::make::{Make, Words};
use crate::line;

const DISTANCES: &str = "distances";

pub fn command(make: &mut Make) -> Words {
    let key = make.key();
    match make.random.below(20) {
        0..=5 => add(make, key),
        6 => members(make, line!["GEOPOS", key]),
        7 => members(make, line!["GEOHASH", key]),
        8 | 9 => {
            let mut command = line!["GEODIST", key, member(make), member(make)];
            if !make.chance(3) {
                command.push(unit(make).into_bytes());
            }
            command
        }
        10 | 11 => {
            let mut command = line!["GEORADIUS", key];
            command.extend(point(make));
            command.extend(line![length(make), unit(make)]);
            radius_options(make, command)
        }
        12 => {
            let command = line!["GEORADIUSBYMEMBER", key, member(make), length(make), unit(make)];
            radius_options(make, command)
        }
        13 => {
            let mut command = line!["GEORADIUS_RO", key];
            command.extend(point(make));
            command.extend(line![length(make), unit(make)]);
            options(make, command)
        }
        14 => {
            let command = line!["GEORADIUSBYMEMBER_RO", key, member(make), length(make), unit(make)];
            options(make, command)
        }
        15 => {
            let distances = make.chance(3);
            let destination = if distances { DISTANCES.to_owned() } else { make.key() };
            let mut command = search(make, line!["GEOSEARCHSTORE", destination, key]);
            if distances {
                command.push(b"STOREDIST".to_vec());
            }
            command
        }
        // All there is, with scores.
        16 if make.chance(3) => line!["ZRANGE", DISTANCES, "0", "-1", "WITHSCORES"],
        16 => line!["GEOSEARCH", key, "FROMLONLAT", "0", "0", "BYBOX", "1e9", "1e9", "km", "WITHHASH", "ASC"],
        _ => {
            let command = line!["GEOSEARCH", key];
            search(make, command)
        }
    }
}

fn add(make: &mut Make, key: String) -> Words {
    let mut command = line!["GEOADD", key];
    for _ in 0..make.random.below(3) {
        if make.chance(4) {
            command.push(make.pick(&["NX", "XX", "ch", "CH"]).into_bytes());
        }
    }
    for _ in 0..=make.random.below(12) {
        command.extend(point(make));
        command.push(member(make));
    }
    command
}

fn member(make: &mut Make) -> Vec<u8> {
    if make.chance(6) { make.member() } else { format!("p{}", make.random.below(60)).into_bytes() }
}

fn members(make: &mut Make, mut command: Words) -> Words {
    for _ in 0..make.random.below(5) {
        command.push(member(make));
    }
    command
}

/// Longitude and latitude.
fn point(make: &mut Make) -> Words {
    let (longitude, latitude) = match make.random.below(24) {
        0 => (make.float(), make.float()),
        1 => ("180".into(), "85.05112878".into()),
        2 => ("-180".into(), make.pick(&["-85.05112878", "0", "85.05112879"])),
        3..=6 => {
            let longitude = make.random.within(-180_000_000..180_000_000) as f64 / 1e6;
            (longitude.to_string(), (make.random.within(-85_000_000..85_000_000) as f64 / 1e6).to_string())
        }
        7..=9 => {
            // A town.
            let longitude = 13.361389 + make.random.within(-1000..1000) as f64 / 1e4;
            (longitude.to_string(), (38.115556 + make.random.within(-1000..1000) as f64 / 1e4).to_string())
        }
        10..=12 => (make.pick(&["179.99", "-179.99", "180", "-180"]), make.random.within(-2..2).to_string()),
        13 | 14 => (make.random.within(-180..180).to_string(), make.pick(&["84.9", "-84.9", "70", "-70"])),
        _ => (make.random.within(13..16).to_string(), make.random.within(36..39).to_string()),
    };
    line![longitude, latitude]
}

fn unit(make: &mut Make) -> String {
    make.pick(&["m", "km", "ft", "mi", "KM", "Mi", "km", "km", "km", "m", "yd"])
}

/// Of any size, on the earth.
fn length(make: &mut Make) -> String {
    match make.random.below(16) {
        0 => make.float(),
        1 => make.pick(&["0", "1e9", "inf", "-1", "40000"]),
        2..=4 => make.random.within(1..200).to_string(),
        _ => {
            let exponent = make.random.below(7) as i32;
            (make.random.within(1..1000) as f64 * 10f64.powi(exponent - 2)).to_string()
        }
    }
}

fn options(make: &mut Make, mut command: Words) -> Words {
    for _ in 0..make.random.below(4) {
        command.extend(match make.random.below(8) {
            0 => line![make.pick(&["ASC", "DESC", "asc"])],
            1 => line!["COUNT", make.random.within(1..30).to_string(), "ANY"],
            2 | 3 => line!["COUNT", make.count()],
            4 => line!["COUNT", make.random.within(1..30).to_string()],
            5 => line!["WITHCOORD"],
            6 => line!["withdist"],
            _ => line!["WITHHASH"],
        });
    }
    command
}

fn radius_options(make: &mut Make, command: Words) -> Words {
    let mut command = options(make, command);
    if make.chance(4) {
        let store = if make.chance(2) {
            line!["STORE", make.key()]
        } else {
            line![make.pick(&["STOREDIST", "storedist"]), DISTANCES]
        };
        command.extend(store);
    }
    command
}

fn search(make: &mut Make, mut command: Words) -> Words {
    let mut parts = Vec::new();
    if !make.chance(20) {
        parts.push(match make.random.below(3) {
            0 => line!["FROMMEMBER", member(make)],
            _ => [line!["FROMLONLAT"], point(make)].concat(),
        });
    }
    if !make.chance(20) {
        parts.push(match make.random.below(2) {
            0 => line!["BYRADIUS", length(make), unit(make)],
            _ => line!["BYBOX", length(make), length(make), unit(make)],
        });
    }
    parts.push(options(make, Vec::new()));
    if make.chance(20) {
        parts.push(line!["BYRADIUS", length(make), unit(make)]);
    }
    if make.chance(6) {
        parts.rotate_left(1);
    }
    command.extend(parts.concat());
    command
}
