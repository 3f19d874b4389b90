//! The Jobs Gateway: Move AI's Jobs API for many tenants behind one key.
//!
//! The modules, in the order in which a request meets them (`ARCHITECTURE.md` tells the whole way):

pub mod model; // ids, tenants, callers, root fields, error codes: the words all others speak
