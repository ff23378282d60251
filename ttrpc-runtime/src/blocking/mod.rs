//! The blocking flavour: threads, and no asynchronous runtime.
