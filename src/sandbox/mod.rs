//! The child's side, between clone and execve.
