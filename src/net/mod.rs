//! The network: names, fds and numbers in, kernel changes out.
