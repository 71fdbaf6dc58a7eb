//! The image of a table.
