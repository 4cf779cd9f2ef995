//! A running pod.
