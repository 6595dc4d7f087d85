//! The contract (being written).
