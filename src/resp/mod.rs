//! The Redis serialization protocol, bytes only: requests in, replies out, numbers as text.
//!
//! Nothing here knows a socket of the server, a command or a key.

pub mod number;
pub mod parser;
pub mod reply;
pub mod request;

pub use parser::{Limits, Parsed, Parser, ProtocolError};
pub use reply::{Mark, Protocol, Reply};
pub use request::{OwnedArgs, Range, RequestArgs};
