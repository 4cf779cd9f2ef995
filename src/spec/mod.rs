//! Text to `PodSpec`, or every problem of the text. Knows nothing of this machine.
pub mod model;
