//! The Redis serialization protocol, bytes only: requests in, replies out, numbers as text.
//!
//! Nothing here knows a command, a key or the server. [`client`] is the other side, for tests and tools.

pub mod client;
pub mod lookahead;
pub mod number;
pub mod parser;
pub mod reply;
pub mod request;

pub use parser::{Limits, Parsed, Parser, ProtocolError};
pub use reply::{Mark, Protocol, Reply};
pub use request::{OwnedArgs, Range, RequestArgs};
