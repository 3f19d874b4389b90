//! Writes of single jobs, for the index to forget what it knows of them.

use super::file::{Index, lock};
use super::tables;

impl Index {
    /// A job is about to be written: nothing is known of it any more, also if the process ends before it is written.
    pub async fn unsettle(&self, id: &str) {
        let ids = [id.to_owned()];
        // Where there is no file nothing is known.
        let _ = self
            .run(move |inner, database| {
                let _writing = lock(inner.writing.lock());
                Ok(tables::blank(database, &ids, true)?)
            })
            .await;
    }

    /// A job was written, here or at another replica, before this moment (in microseconds since 1970): nothing older is
    /// known of it.
    pub fn rewritten(&self, id: &str, at: i64) {
        lock(self.0.rewritten.lock()).add(id, at);
        let (index, ids) = (self.clone(), [id.to_owned()]);
        if self.is_open() {
            tokio::spawn(async move {
                let blank = index.run(move |inner, database| {
                    let _writing = lock(inner.writing.lock());
                    Ok(tables::blank(database, &ids, false)?)
                });
                let _ = blank.await;
            });
        }
    }
}
