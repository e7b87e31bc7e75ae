//! Key commands, through the in-process rig.
