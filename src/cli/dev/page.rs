//! GraphiQL, out of the binary: no browser asks anybody else for anything.

use crate::http::{Site, SiteFile};

/// Every file of the page, with its path and its media type.
pub fn graphiql() -> Site {
    let html = include_bytes!("graphiql/index.html");
    let start = include_bytes!("graphiql/start.js");
    // Made by scripts/vendor-graphiql.
    let script = include_bytes!("graphiql/graphiql.js.gz");
    let style = include_bytes!("graphiql/graphiql.css.gz");
    let licences = include_bytes!("graphiql/LICENSES.txt");
    Site::new(vec![
        SiteFile::plain("/", "text/html; charset=utf-8", html),
        SiteFile::plain("/graphiql/start.js", "text/javascript; charset=utf-8", start),
        SiteFile::gzip("/graphiql/graphiql.js", "text/javascript; charset=utf-8", script),
        SiteFile::gzip("/graphiql/graphiql.css", "text/css; charset=utf-8", style),
        SiteFile::plain("/graphiql/LICENSES.txt", "text/plain; charset=utf-8", licences),
    ])
}
