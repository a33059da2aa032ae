//! Requests that async-stripe's builders cannot express, such as one that unsets a field by an empty value.

use std::marker::PhantomData;

use stripe_client_core::{RequestBuilder, StripeMethod, StripeRequest};

/// `POST` of a form whose response is a `T`.
#[derive(Debug)]
pub struct PostForm<'a, T> {
    path: String,
    fields: &'a [(&'a str, &'a str)],
    output: PhantomData<fn() -> T>,
}

impl<'a, T> PostForm<'a, T> {
    /// `path` begins with a slash and has no version.
    #[must_use]
    pub const fn new(path: String, fields: &'a [(&'a str, &'a str)]) -> Self {
        Self {
            path,
            fields,
            output: PhantomData,
        }
    }
}

impl<T> StripeRequest for PostForm<'_, T> {
    type Output = T;

    fn build(&self) -> RequestBuilder {
        let fields: std::collections::BTreeMap<_, _> = self.fields.iter().copied().collect();
        RequestBuilder::new(StripeMethod::Post, self.path.clone()).form(&fields)
    }
}
