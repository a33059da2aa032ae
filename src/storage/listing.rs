//! Listings of the store, of its copy and of what is noted there as deleted, merged by key. Memory is that of a page each.

use std::collections::VecDeque;

use object_store::{Listed, ObjectStore, StoreError};

use super::DELETED;

/// Objects of one page of a listing.
const PAGE: u16 = 1000;

/// One key in the stores that have it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) original: Option<Listed>,
    pub(super) copy: Option<Listed>,
    /// Note in the copy that the object was deleted, at its time.
    pub(super) deleted: Option<Listed>,
}

/// All keys of an area, in order.
pub(super) struct Merge<'a> {
    original: Listing<'a>,
    copy: Listing<'a>,
    deleted: Listing<'a>,
}

impl<'a> Merge<'a> {
    pub(super) fn new(original: &'a ObjectStore, copy: &'a ObjectStore, area: &str) -> Self {
        Self {
            original: Listing::new(original, "", area),
            copy: Listing::new(copy, "", area),
            deleted: Listing::new(copy, DELETED, area),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Entry>, StoreError> {
        let heads = [
            self.original.head().await?,
            self.copy.head().await?,
            self.deleted.head().await?,
        ];
        let Some(key) = heads.into_iter().flatten().min().map(str::to_owned) else {
            return Ok(None);
        };
        Ok(Some(Entry {
            original: self.original.take(&key),
            copy: self.copy.take(&key),
            deleted: self.deleted.take(&key),
            key,
        }))
    }

    /// At least one entry unless there are no more, and at most `most`.
    pub(super) async fn batch(&mut self, most: usize) -> Result<Vec<Entry>, StoreError> {
        let mut batch = Vec::new();
        while batch.len() < most
            && let Some(entry) = self.next().await?
        {
            batch.push(entry);
        }
        Ok(batch)
    }
}

/// Objects with a prefix, page by page.
pub(super) struct Listing<'a> {
    store: &'a ObjectStore,
    /// Part of the keys before those that are compared.
    before: &'static str,
    prefix: String,
    page: VecDeque<Listed>,
    after: Option<String>,
    is_done: bool,
}

impl<'a> Listing<'a> {
    pub(super) fn new(store: &'a ObjectStore, before: &'static str, area: &str) -> Self {
        Self {
            store,
            before,
            prefix: format!("{before}{area}"),
            page: VecDeque::new(),
            after: None,
            is_done: false,
        }
    }

    async fn fill(&mut self) -> Result<(), StoreError> {
        while self.page.is_empty() && !self.is_done {
            let after = self.after.as_deref();
            let page = self.store.list(&self.prefix, after, PAGE).await?;
            // Out of order, objects that exist would count as missing.
            let keys = page.objects.iter().map(|it| it.key.as_str());
            if !after.into_iter().chain(keys).is_sorted_by(|a, b| a < b) {
                return Err(StoreError::Malformed("a listing that is not in order"));
            }
            self.is_done = page.next.is_none();
            self.after = page.next;
            self.page = page.objects.into();
        }
        Ok(())
    }

    /// Key of the next object, without the part before.
    async fn head(&mut self) -> Result<Option<&str>, StoreError> {
        self.fill().await?;
        let next = self.page.front();
        Ok(next.and_then(|it| it.key.strip_prefix(self.before)))
    }

    /// The next object, if it has this key.
    fn take(&mut self, key: &str) -> Option<Listed> {
        let next = self.page.front()?;
        let is_it = next.key.strip_prefix(self.before) == Some(key);
        is_it.then(|| self.page.pop_front()).flatten()
    }

    pub(super) async fn next(&mut self) -> Result<Option<Listed>, StoreError> {
        self.fill().await?;
        Ok(self.page.pop_front())
    }
}
