//! The arguments of the searches: one grammar for GEOSEARCH and GEOSEARCHSTORE, one for GEORADIUS and its relatives.

use super::cell::{Cell, LATITUDE_MAX, LONGITUDE_MAX, Point};
use super::earth::unit_m;
use crate::command::Args;
use crate::command::options::{float, integer, is};
use crate::error::CommandError;
use crate::resp::number::parse_f64;
use crate::types::sorted_set::value::SortedSet;

const NO_UNIT: CommandError = CommandError::new("ERR unsupported unit provided. please use M, KM, FT, MI");
const NO_MEMBER: CommandError = CommandError::new("ERR could not decode requested zset member");

/// Which command searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    /// GEORADIUS: around a point.
    Radius {
        may_store: bool,
    },
    /// GEORADIUSBYMEMBER.
    RadiusByMember {
        may_store: bool,
    },
    Search,
    SearchStore,
}

impl Grammar {
    /// Where the key that is searched stands.
    pub const fn source(self) -> usize {
        if matches!(self, Self::SearchStore) { 2 } else { 1 }
    }

    const fn is_search(self) -> bool {
        matches!(self, Self::Search | Self::SearchStore)
    }

    /// Whether STORE and STOREDIST with a key behind them may be said.
    const fn may_store(self) -> bool {
        matches!(self, Self::Radius { may_store: true } | Self::RadiusByMember { may_store: true })
    }
}

/// What members must lie in. Metres, but for what is divided by them in the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shape {
    Circle { radius_m: f64 },
    Box { width_m: f64, height_m: f64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
}

/// What to search for and what to do with it.
#[derive(Debug)]
pub(super) struct Query<'a> {
    pub center: Point,
    pub shape: Shape,
    /// Metres in one of the unit that distances are told in.
    pub unit_m: f64,
    pub with_distance: bool,
    pub with_hash: bool,
    pub with_point: bool,
    pub order: Option<Order>,
    pub count: Option<usize>,
    /// Any `count` members will do.
    pub any: bool,
    /// Where the result goes instead of the reply.
    pub store: Option<&'a [u8]>,
    pub store_distance: bool,
}

/// Longitude and latitude, as far as they can be stored.
pub(super) fn point(longitude: &[u8], latitude: &[u8]) -> Result<Point, CommandError> {
    let (longitude, latitude) = (float(longitude)?, float(latitude)?);
    if longitude.abs() > LONGITUDE_MAX || latitude.abs() > LATITUDE_MAX {
        let text = format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}");
        return Err(CommandError::owned(text));
    }
    Ok(Point { longitude, latitude })
}

pub(super) fn unit(word: &[u8]) -> Result<f64, CommandError> {
    unit_m(word).ok_or(NO_UNIT)
}

fn number(arg: &[u8], error: &'static str) -> Result<f64, CommandError> {
    parse_f64(arg).ok_or(CommandError::new(error))
}

struct Parser<'a, 's> {
    grammar: Grammar,
    args: Args<'a>,
    set: Option<&'s SortedSet>,
    query: Query<'a>,
    from_member: bool,
    from_point: bool,
    by_radius: bool,
    by_box: bool,
}

/// Reads the arguments of a search. `set` is what the searched key holds; where there is none, members are not looked for.
pub(super) fn parse<'a>(
    grammar: Grammar,
    args: Args<'a>,
    set: Option<&SortedSet>,
) -> Result<Query<'a>, CommandError> {
    let query = Query {
        center: Point { longitude: 0.0, latitude: 0.0 },
        shape: Shape::Circle { radius_m: 0.0 },
        unit_m: 1.0,
        with_distance: false,
        with_hash: false,
        with_point: false,
        order: None,
        count: None,
        any: false,
        store: (grammar == Grammar::SearchStore).then(|| args.get(1)),
        store_distance: false,
    };
    let mut parser = Parser {
        grammar,
        args,
        set,
        query,
        from_member: false,
        from_point: false,
        by_radius: false,
        by_box: false,
    };
    let mut at = parser.fixed()?;
    while at < args.len() {
        at += parser.option(at)?;
    }
    parser.check()?;
    Ok(parser.query)
}

impl<'a> Parser<'a, '_> {
    /// Reads what has its place, and returns where options begin.
    fn fixed(&mut self) -> Result<usize, CommandError> {
        let args = self.args;
        match self.grammar {
            Grammar::Radius { .. } => {
                self.query.center = point(args.get(2), args.get(3))?;
                self.radius(4)?;
                Ok(6)
            }
            Grammar::RadiusByMember { .. } => {
                if self.set.is_some() {
                    self.member(args.get(2))?;
                    self.radius(3)?;
                }
                Ok(5)
            }
            Grammar::Search => Ok(2),
            Grammar::SearchStore => Ok(3),
        }
    }

    fn member(&mut self, member: &[u8]) -> Result<(), CommandError> {
        if let Some(set) = self.set {
            self.query.center = Cell::of_score(set.score(member).ok_or(NO_MEMBER)?).center();
        }
        Ok(())
    }

    /// A radius and its unit.
    fn radius(&mut self, at: usize) -> Result<(), CommandError> {
        let radius = number(self.args.get(at), "ERR need numeric radius")?;
        if radius < 0.0 {
            return Err(CommandError::new("ERR radius cannot be negative"));
        }
        self.query.unit_m = unit(self.args.get(at + 1))?;
        self.query.shape = Shape::Circle { radius_m: radius * self.query.unit_m };
        Ok(())
    }

    /// Width, height and their unit.
    fn rectangle(&mut self, at: usize) -> Result<(), CommandError> {
        let width = number(self.args.get(at), "ERR need numeric width")?;
        let height = number(self.args.get(at + 1), "ERR need numeric height")?;
        if width < 0.0 || height < 0.0 {
            return Err(CommandError::new("ERR height or width cannot be negative"));
        }
        let unit_m = unit(self.args.get(at + 2))?;
        self.query.unit_m = unit_m;
        self.query.shape = Shape::Box { width_m: width * unit_m, height_m: height * unit_m };
        Ok(())
    }

    /// Reads one option and says how many arguments it takes.
    fn option(&mut self, at: usize) -> Result<usize, CommandError> {
        let (word, behind) = (self.args.get(at), self.args.len() - at - 1);
        let grammar = self.grammar;
        match () {
            () if is(word, "WITHDIST") => self.query.with_distance = true,
            () if is(word, "WITHHASH") => self.query.with_hash = true,
            () if is(word, "WITHCOORD") => self.query.with_point = true,
            () if is(word, "ANY") => self.query.any = true,
            () if is(word, "ASC") => self.query.order = Some(Order::Ascending),
            () if is(word, "DESC") => self.query.order = Some(Order::Descending),
            () if is(word, "COUNT") && behind >= 1 => {
                let count = integer(self.args.get(at + 1))?;
                let count = usize::try_from(count).ok().filter(|&count| count > 0);
                self.query.count = Some(count.ok_or(CommandError::new("ERR COUNT must be > 0"))?);
                return Ok(2);
            }
            () if grammar == Grammar::SearchStore && is(word, "STOREDIST") => {
                self.query.store_distance = true;
            }
            () if grammar.is_search() => return self.search_option(at, behind),
            () if grammar.may_store() && behind >= 1 && (is(word, "STORE") || is(word, "STOREDIST")) => {
                self.query.store = Some(self.args.get(at + 1));
                self.query.store_distance = is(word, "STOREDIST");
                return Ok(2);
            }
            () => return Err(CommandError::SYNTAX),
        }
        Ok(1)
    }

    /// What only GEOSEARCH and GEOSEARCHSTORE know.
    fn search_option(&mut self, at: usize, behind: usize) -> Result<usize, CommandError> {
        let word = self.args.get(at);
        match () {
            () if is(word, "FROMMEMBER") && behind >= 1 && !self.from_point => {
                self.member(self.args.get(at + 1))?;
                self.from_member = true;
                Ok(2)
            }
            () if is(word, "FROMLONLAT") && behind >= 2 && !self.from_member => {
                self.query.center = point(self.args.get(at + 1), self.args.get(at + 2))?;
                self.from_point = true;
                Ok(3)
            }
            () if is(word, "BYRADIUS") && behind >= 2 && !self.by_box => {
                self.radius(at + 1)?;
                self.by_radius = true;
                Ok(3)
            }
            () if is(word, "BYBOX") && behind >= 3 && !self.by_radius => {
                self.rectangle(at + 1)?;
                self.by_box = true;
                Ok(4)
            }
            () => Err(CommandError::SYNTAX),
        }
    }

    /// What can be said only when all is read.
    fn check(&mut self) -> Result<(), CommandError> {
        let query = &mut self.query;
        if query.store.is_some() && (query.with_distance || query.with_hash || query.with_point) {
            let what = match self.grammar {
                Grammar::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            return Err(CommandError::owned(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        let name = || String::from_utf8_lossy(self.args.get(0));
        if self.grammar.is_search() && !(self.from_member || self.from_point) {
            let text = format!("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {}", name());
            return Err(CommandError::owned(text));
        }
        if self.grammar.is_search() && !(self.by_radius || self.by_box) {
            let text = format!("ERR exactly one of BYRADIUS and BYBOX can be specified for {}", name());
            return Err(CommandError::owned(text));
        }
        if query.any && query.count.is_none() {
            return Err(CommandError::new("ERR the ANY argument requires COUNT argument"));
        }
        // The first few are the nearest.
        if query.count.is_some() && !query.any && query.order.is_none() {
            query.order = Some(Order::Ascending);
        }
        Ok(())
    }
}
