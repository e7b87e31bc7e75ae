//! The commands through the engine, without sockets.
