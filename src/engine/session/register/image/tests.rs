//! The image of a register.
