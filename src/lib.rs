//! The Jobs Gateway: Move AI's Jobs API for many tenants behind one key.
//!
//! The modules, in the order in which a request meets them (`ARCHITECTURE.md` tells the whole way):

pub mod graphql;
pub mod jobs;
pub mod model; // ids, tenants, callers, root fields, error codes: the words all others speak
pub mod operation;
pub mod types; // the Jobs schema as Rust types
pub mod upstream; // one call to Move: document, deadline, answer // get, list, create, update: ownership, envelope, cursor. The heart // document -> operation: parsed once, limited, remembered // schema, resolvers, and the one mapping of errors
