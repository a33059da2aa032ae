//! One user: sessions of sign-in, reads, writes, events, an upload and sign-out, one request after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::Rng;
use hyper::Method;
use hyper::body::Bytes;
use serde_json::json;
use tokio::time::sleep;

use super::client::{Client, Content, Reply, Target};
use super::options::Account;
use super::samples::{Route, Samples};

/// Size of an uploaded file in bytes.
const FILE_SIZE: usize = 16 * 1024;

/// First bytes of a PNG, by which the service decides the type.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";

/// One session from sign-in to sign-out, in order. Reads are two thirds of it, and one request in ten is an event.
const SESSION: &[Route] = &[
    Route::SignIn,
    Route::Me,
    Route::Dashboard,
    Route::Organisations,
    Route::Usage,
    Route::Event,
    Route::Me,
    Route::Files,
    Route::Dashboard,
    Route::Refresh,
    Route::Me,
    Route::Dashboard,
    Route::Rename,
    Route::Me,
    Route::Event,
    Route::Upload,
    Route::Files,
    Route::Usage,
    Route::Me,
    Route::Refresh,
    Route::Dashboard,
    Route::Event,
    Route::Me,
    Route::Organisations,
    Route::Dashboard,
    Route::Usage,
    Route::DeleteFile,
    Route::Files,
    Route::Me,
    Route::SignOut,
];

/// Requests of a user, in order, again and again.
#[derive(Clone)]
pub(super) struct Course(Arc<[Route]>);

impl Course {
    /// Whole sessions; without files where none can be stored.
    pub(super) fn new(has_files: bool) -> Self {
        let routes = SESSION.iter().copied();
        Self(routes.filter(|it| has_files || !it.needs_store()).collect())
    }

    /// The same within one session, which neither begins nor ends.
    pub(super) fn signed_in(has_files: bool) -> Self {
        let routes = Self::new(has_files).0;
        let within = routes.iter().filter(|it| !it.is_sign_in_or_out());
        Self(within.copied().collect())
    }
}

/// A user with a client, an account and the state of its session.
pub(super) struct User {
    client: Client,
    account: Account,
    course: Course,
    at: usize,
    think_time: Duration,
    rng: Rng,
    access: String,
    refresh: String,
    file: Option<String>,
}

impl User {
    pub(super) fn new(
        target: Arc<Target>,
        account: Account,
        number: u32,
        course: Course,
        think_time: Duration,
    ) -> Self {
        Self {
            client: Client::new(target, number),
            account,
            // Users are at different points of their sessions, as they are after a while.
            at: usize::try_from(number).unwrap_or_default() * 7 % course.0.len(),
            course,
            think_time,
            rng: Rng::seeded(number.into()),
            access: String::new(),
            refresh: String::new(),
            file: None,
        }
    }

    /// Arrives within `ramp` after `began`, and sends requests until `until`.
    pub(super) async fn run_until(
        mut self,
        began: Instant,
        ramp: Duration,
        until: Instant,
    ) -> Samples {
        sleep(ramp.mul_f64(self.chance())).await;
        let mut samples = Samples::since(began);
        while Instant::now() < until {
            self.step(&mut samples).await;
            sleep(self.think_time.mul_f64(0.5 + self.chance())).await;
        }
        samples
    }

    /// Sends the next requests to another address, with the same session.
    pub(super) fn lead_to(&mut self, target: &Arc<Target>) {
        self.client.lead_to(Arc::clone(target));
    }

    /// Signs in, before a load that consists of other requests.
    pub(super) async fn sign_in(&mut self, samples: &mut Samples) -> bool {
        if self.access.is_empty() {
            self.send(Route::SignIn, samples).await;
        }
        !self.access.is_empty()
    }

    /// Sends requests without think time until `until`.
    pub(super) async fn hurry_until(&mut self, began: Instant, until: Instant) -> Samples {
        let mut samples = Samples::since(began);
        while Instant::now() < until {
            self.step(&mut samples).await;
        }
        samples
    }

    /// Sends the next request. A user without a session signs in instead, and goes on from there.
    async fn step(&mut self, samples: &mut Samples) {
        let mut next = self.course.0[self.at];
        if self.access.is_empty() && next != Route::SignIn {
            self.send(Route::SignIn, samples).await;
            return;
        }
        self.at = (self.at + 1) % self.course.0.len();
        if next == Route::DeleteFile && self.file.is_none() {
            next = Route::Files;
        }
        self.send(next, samples).await;
    }

    async fn send(&mut self, route: Route, samples: &mut Samples) {
        let content = self.content(route);
        let path = match (route, &self.file) {
            (Route::DeleteFile, Some(id)) => format!("/api/v1/files/{id}"),
            _ => format!("/api/v1{}", route.path()),
        };
        let token = match route {
            Route::SignIn | Route::Refresh => "",
            _ => &self.access,
        };
        let sent = Instant::now();
        let method = route.method();
        let reply = self.client.send(method, &path, token, content).await;
        let took = sent.elapsed();
        match reply {
            Ok(reply) if (200..300).contains(&reply.status) => {
                samples.record(route, sent, took);
                self.apply(route, &reply);
            }
            Ok(reply) => {
                let code = reply.json["code"].as_str().unwrap_or_default();
                samples.fail(route, format!("{} {code}", reply.status));
                if reply.status == 401 || matches!(route, Route::Refresh | Route::SignOut) {
                    self.access.clear();
                }
            }
            Err(error) => {
                samples.fail(route, error.to_string());
                // Its reply may have had the next refresh token.
                if matches!(route, Route::Refresh | Route::SignOut) {
                    self.access.clear();
                }
            }
        }
    }

    fn content(&mut self, route: Route) -> Option<Content> {
        let refresh = |user: &Self| json!({ "refresh_token": user.refresh });
        let value = match route {
            Route::SignIn => {
                json!({ "email": self.account.email, "password": self.account.password })
            }
            Route::Refresh | Route::SignOut => refresh(self),
            Route::Rename => json!({ "first_name": format!("Ada {}", self.random() % 1000) }),
            Route::Event => {
                let pages = self.random() % 100;
                json!({ "type": "report.created", "data": { "pages": pages } })
            }
            Route::Upload => return Some(form()),
            _ => return None,
        };
        Some(value.into())
    }

    fn apply(&mut self, route: Route, reply: &Reply) {
        let text = |field: &str| reply.json[field].as_str().unwrap_or_default().to_owned();
        match route {
            Route::SignIn | Route::Refresh => {
                self.access = text("access_token");
                self.refresh = text("refresh_token");
            }
            Route::SignOut => self.access.clear(),
            Route::Upload => self.file = Some(text("id")),
            Route::DeleteFile => self.file = None,
            _ => {}
        }
    }

    fn random(&self) -> u32 {
        u32::from_le_bytes(self.rng.bytes())
    }

    /// From 0 to 1.
    fn chance(&self) -> f64 {
        f64::from(self.random()) / f64::from(u32::MAX)
    }
}

/// Form with a file, as `POST /files/upload` takes it.
pub(super) fn form() -> Content {
    let head = format!(
        "--xx\r\ncontent-disposition: form-data; name=\"size\"\r\n\r\n{FILE_SIZE}\r\n\
         --xx\r\ncontent-disposition: form-data; name=\"file\"; filename=\"picture.png\"\r\n\r\n"
    );
    let filler = vec![7; FILE_SIZE - PNG.len()];
    let body = [head.as_bytes(), PNG, &filler, b"\r\n--xx--\r\n"].concat();
    Content {
        media_type: "multipart/form-data; boundary=xx",
        bytes: Bytes::from(body),
    }
}

impl Route {
    fn method(self) -> Method {
        match self {
            Self::SignIn | Self::Refresh | Self::SignOut | Self::Event | Self::Upload => {
                Method::POST
            }
            Self::Rename => Method::PATCH,
            Self::DeleteFile => Method::DELETE,
            _ => Method::GET,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_begins_with_sign_in_and_ends_with_sign_out() {
        let course = Course::new(true).0;
        assert_eq!(course.first(), Some(&Route::SignIn));
        assert_eq!(course.last(), Some(&Route::SignOut));
        for route in Route::ALL {
            assert!(course.contains(route), "{route:?} is not part of a session");
        }
    }

    #[test]
    fn without_a_store_no_file_is_uploaded() {
        assert!(!Course::new(false).0.iter().any(|it| it.needs_store()));
        let within = Course::signed_in(true).0;
        assert!(within.iter().all(|it| !it.is_sign_in_or_out()));
    }

    #[test]
    fn the_form_has_as_many_bytes_as_it_says() {
        let form = form().bytes;
        let body = form.windows(4).rposition(|part| part == b"\r\n\r\n");
        let begins = body.map(|at| at + 4).unwrap_or_default();
        assert_eq!(form.len() - begins - b"\r\n--xx--\r\n".len(), FILE_SIZE);
    }
}
