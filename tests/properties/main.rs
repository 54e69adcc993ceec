//! Every kernel and every layer, at every level of this CPU, against the scalar `f64` reference.
//!
//! Sizes are a list (they are types); lengths, batches, memory orders, values and what is given or asked for are drawn
//! at random. Tolerances are derived, not chosen: see `bounds`. `PROPTEST_CASES` sets the number of cases per property.

mod adam;
mod bounds;
mod bounds_gated;
mod cell;
mod clip;
mod cross_entropy;
mod differences;
mod embedding;
mod gated;
mod gates;
mod kept;
mod linear;
mod model;
mod rnn;
mod streaming;
mod support;
