//! The only place where plan meets mechanism.
