//! The streams and the hub, with a model of Move behind them.

mod once;
mod order;
