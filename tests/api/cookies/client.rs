//! As much of a browser as cookies need: a jar that honours paths and ends, and a page of some origin.

use std::collections::BTreeMap;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::{Answer, PASSWORD, Replica, TestApp};

/// The service's own origin.
pub const HERE: &str = "https://127.0.0.1";
/// The origin of a page that is listed.
pub const APP: &str = "https://app.example.com";

pub const ACCESS: &str = "__Host-access";
pub const REFRESH: &str = "__Secure-refresh";

pub const ME: &str = "/api/v1/users/me";
pub const LOGIN: &str = "/api/v1/auth/login";
pub const LOGOUT: &str = "/api/v1/auth/logout";
pub const CSRF: &str = "/api/v1/auth/csrf";

/// The service as browsers reach it in production.
pub async fn service() -> TestApp {
    TestApp::with(&[("PUBLIC_URL", HERE), ("ALLOWED_ORIGINS", APP)]).await
}

/// The `Set-Cookie` lines of an answer.
pub fn set_cookies(answer: &Answer) -> Vec<String> {
    let lines = answer.headers.get_all("set-cookie").into_iter();
    lines
        .map(|line| line.to_str().expect("it is text").to_owned())
        .collect()
}

/// A page in a browser.
#[derive(Clone)]
pub struct Browser {
    pub replica: Replica,
    /// What the browser says of where the call comes from.
    pub headers: Vec<(&'static str, String)>,
    /// The value and the path of each cookie.
    pub jar: BTreeMap<String, (String, String)>,
    /// Cookies that somebody else put beside them.
    pub more: String,
    /// What the page knows.
    pub csrf: Option<String>,
}

impl Browser {
    pub fn new(replica: &Replica, origin: &str) -> Self {
        Self {
            replica: replica.clone(),
            headers: vec![("origin", origin.to_owned())],
            jar: BTreeMap::new(),
            more: String::new(),
            csrf: None,
        }
    }

    /// A page of our own in which a new account has signed in.
    pub async fn signed_in(app: &TestApp, name: &str) -> Self {
        let email = app.sign_up(name).await;
        let mut browser = Self::new(&app.replica, HERE);
        browser.sign_in(&email).await.assert_status(200);
        browser
    }

    pub fn set(&mut self, cookie: &str, value: &str) {
        let (held, _) = self.jar.get_mut(cookie).expect("the cookie is there");
        value.clone_into(held);
    }

    pub async fn sign_in(&mut self, email: &str) -> Answer {
        let body = json!({ "email": email, "password": PASSWORD, "transport": "cookie" });
        let answer = self.send(Method::POST, LOGIN, Some(body)).await;
        self.csrf = answer.body["csrf_token"].as_str().map(str::to_owned);
        answer
    }

    pub async fn refresh(&mut self) -> Answer {
        self.send(Method::POST, "/api/v1/auth/refresh", None).await
    }

    pub async fn log_out(&mut self) -> Answer {
        self.send(Method::POST, LOGOUT, None).await
    }

    /// Changes something.
    pub async fn rename(&mut self, name: &str) -> Answer {
        let body = json!({ "first_name": name });
        self.send(Method::PATCH, ME, Some(body)).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    /// Calls, and keeps the cookies of the answer.
    pub async fn send(&mut self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let answer = self.call(method, path, body).await;
        for line in set_cookies(&answer) {
            self.keep(&line);
        }
        answer
    }

    /// Calls, and leaves the cookies of the answer where they are.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.request(method.clone(), path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(csrf) = &self.csrf {
            request = request.header("x-csrf-token", csrf);
        }
        self.replica.send(&method, path, request).await
    }

    /// A request with the cookies and nothing else.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.replica.request(method, path);
        let fitting = self.jar.iter().filter(|(_, (_, below))| {
            let rest = path.strip_prefix(below.as_str());
            rest.is_some_and(|rest| below.ends_with('/') || rest.starts_with('/'))
        });
        let mut cookies: Vec<_> = fitting
            .map(|(name, (value, _))| format!("{name}={value}"))
            .collect();
        cookies.extend((!self.more.is_empty()).then(|| self.more.clone()));
        if cookies.is_empty() {
            return request;
        }
        request.header("cookie", cookies.join("; "))
    }

    fn keep(&mut self, line: &str) {
        let mut parts = line.split("; ");
        let cookie = parts.next().and_then(|cookie| cookie.split_once('='));
        let (name, value) = cookie.expect("a cookie has a name");
        let attributes: BTreeMap<_, _> = parts.filter_map(|part| part.split_once('=')).collect();
        if attributes["Max-Age"] == "0" {
            self.jar.remove(name);
        } else {
            let held = (value.to_owned(), attributes["Path"].to_owned());
            self.jar.insert(name.to_owned(), held);
        }
    }
}
