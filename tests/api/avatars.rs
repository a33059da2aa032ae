//! Pictures of users: stored without metadata, served at a stable public address, removed with it.

use std::io::Cursor;
use std::time::Duration;

use groundwork_dev::{S3Effect, S3Fault};
use image::{ImageFormat, Rgb, RgbImage};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::harness::{Answer, Session, TestApp};
use crate::kit::files::{BUCKET, FilesApp, files_app, files_app_with};

const AVATAR: &str = "/api/v1/users/me/avatar";
const ME: &str = "/api/v1/users/me";

/// Picture of one colour.
fn picture(color: [u8; 3], format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(60, 40, Rgb(color))
        .write_to(&mut bytes, format)
        .expect("it is encoded");
    bytes.into_inner()
}

pub fn red() -> Vec<u8> {
    picture([255, 0, 0], ImageFormat::Png)
}

/// A JPEG with a location in its comment and its EXIF block.
fn photo() -> Vec<u8> {
    let plain = picture([0, 0, 255], ImageFormat::Jpeg);
    let segments = b"\xff\xfe\0\x0fGPS 51.5007N\xff\xe1\0\x16Exif\0\0II*\0GPS 51.50";
    [&plain[..2], segments, &plain[2..]].concat()
}

impl Session {
    pub async fn put_avatar(&self, content_type: &str, bytes: Vec<u8>) -> Answer {
        let request = self.replica.request(Method::PUT, AVATAR);
        let request = request
            .bearer_auth(self.access())
            .header("content-type", content_type)
            .body(bytes);
        self.replica.send(&Method::PUT, AVATAR, request).await
    }

    /// Path of the picture in the profile.
    async fn avatar(&self) -> Option<String> {
        let me = self.get(ME).await;
        me.assert_status(200);
        path_of(&me.body)
    }
}

fn path_of(user: &Value) -> Option<String> {
    let url = user["avatar_url"].as_str()?;
    let at = url.find("/api/v1/avatars/").expect("it is an address");
    Some(url[at..].to_owned())
}

impl FilesApp {
    /// Gets a picture without signing in.
    async fn avatar(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.app.replica.request(Method::GET, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.app.replica.send(&Method::GET, path, request).await
    }

    async fn rows(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM avatars")
            .fetch_one(&self.app.owner_db)
            .await
            .expect("they are counted")
    }
}

#[tokio::test]
async fn a_picture_is_public_at_an_address_that_stays_the_same_and_is_gone_with_it() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    assert_eq!(ada.avatar().await, None);
    let stored = ada.put_avatar("image/png", red()).await;
    stored.assert_status(200);
    let path = path_of(&stored.body).expect("it has an address");
    assert_eq!(ada.avatar().await.as_ref(), Some(&path));
    assert_eq!(it.app.audited("avatar_changed").await, 1);

    let got = it.avatar(&path, &[]).await;
    got.assert_status(200);
    for (name, value) in [
        ("content-type", "image/jpeg"),
        ("cache-control", "public, max-age=300"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "cross-origin"),
        (
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'; sandbox",
        ),
    ] {
        assert_eq!(got.headers[name], value, "{name}");
        assert_eq!(got.headers.get_all(name).iter().count(), 1, "{name}");
    }
    let etag = got.headers["etag"].to_str().expect("it is text");
    let known = it.avatar(&path, &[("if-none-match", etag)]).await;
    known.assert_status(304);
    assert!(known.bytes.is_empty());
    assert_eq!(known.headers["etag"], etag);

    let again = ada.put_avatar("image/jpeg", photo()).await;
    assert_eq!(path_of(&again.body).as_ref(), Some(&path));
    let changed = it.avatar(&path, &[("if-none-match", etag)]).await;
    changed.assert_status(200);
    assert_ne!(changed.bytes, got.bytes);
    assert_eq!(it.keys().len(), 1, "the picture before is removed");

    for _ in 0..2 {
        let token = Some(ada.access());
        let removed = ada.replica.call(Method::DELETE, AVATAR, token, None).await;
        removed.assert_status(204);
    }
    assert_eq!(ada.avatar().await, None);
    let gone = it.avatar(&path, &[("if-none-match", etag)]).await;
    gone.assert_problem(404, "not_found");
    assert!(it.keys().is_empty());
    assert_eq!(it.app.audited("avatar_removed").await, 1);
    let anew = ada.put_avatar("image/png", red()).await;
    assert_ne!(path_of(&anew.body), Some(path));
}

#[tokio::test]
async fn what_is_stored_has_no_metadata() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let sent = photo();
    let contains = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|it| it == part);
    assert!(contains(&sent, b"GPS 51.5") && contains(&sent, b"Exif"));
    ada.put_avatar("image/jpeg", sent).await.assert_status(200);
    let key = it.keys()[0].clone();
    assert!(key.starts_with("avatars/"), "{key}");
    let stored = it.s3.read(BUCKET, &key).expect("it is there");
    assert!(!contains(&stored, b"GPS") && !contains(&stored, b"Exif"));
}

#[tokio::test]
async fn other_types_damaged_images_and_large_bodies_are_refused_and_nothing_is_stored() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    for kind in [
        "image/gif",
        "image/svg+xml",
        "text/html",
        "image/png; x=y",
        "IMAGE/PNG",
    ] {
        let refused = ada.put_avatar(kind, red()).await;
        refused.assert_problem(415, "unsupported_media_type");
    }
    for (kind, bytes) in [
        ("image/png", photo()),
        ("image/jpeg", b"<svg onload=alert(1)>".to_vec()),
        ("image/webp", Vec::new()),
        ("image/png", red()[..60].to_vec()),
    ] {
        let refused = ada.put_avatar(kind, bytes).await;
        refused.assert_problem(422, "invalid_image");
    }
    let large = ada.put_avatar("image/png", vec![0; 2 * 1024 * 1024 + 1]);
    large.await.assert_problem(413, "payload_too_large");
    assert!(it.keys().is_empty());
    assert_eq!((it.rows().await, ada.avatar().await), (0, None));
}

#[tokio::test]
async fn a_picture_spends_an_upload_and_needs_a_session_or_the_scope_of_users() {
    let it = files_app_with(&[("LIMIT_UPLOAD", "2/1m")]).await;
    let ada = it.app.sign_in("ada").await;
    for (scope, status) in [
        ("users:write", 200),
        ("users:read", 403),
        ("files:write", 403),
    ] {
        let key = ada.new_key(&[scope]).await;
        let request = it.app.replica.request(Method::PUT, AVATAR);
        let request = request
            .bearer_auth(&key.text)
            .header("content-type", "image/png")
            .body(red());
        let answer = it.app.replica.send(&Method::PUT, AVATAR, request).await;
        answer.assert_status(status);
    }
    ada.put_avatar("image/png", red()).await.assert_status(200);
    let third = ada.put_avatar("image/png", red()).await;
    third.assert_problem(429, "rate_limited");
    let nobody = it.app.replica.call(Method::PUT, AVATAR, None, None).await;
    nobody.assert_problem(401, "unauthenticated");
    it.app.run_jobs().await;
}

#[tokio::test]
async fn members_of_an_organisation_are_listed_with_their_pictures() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let bob = it.app.join(&ada, &acme, "bob", "member").await;
    bob.put_avatar("image/png", red()).await.assert_status(200);
    let members = ada.get("/api/v1/organisations/acme/members").await;
    let members = members.body["items"].as_array().expect("a list").clone();
    let of = |email: &str| {
        let member = members.iter().find(|it| it["email"] == email);
        path_of(member.expect("it is listed"))
    };
    assert_eq!(of("ada@example.com"), None);
    assert_eq!(of("bob@example.com"), bob.avatar().await);
}

#[tokio::test]
async fn the_picture_of_a_deleted_user_is_gone() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    ada.put_avatar("image/png", red()).await.assert_status(200);
    let path = ada.avatar().await.expect("it has an address");
    sqlx::query("UPDATE users SET deleted_at = now()")
        .execute(&it.app.owner_db)
        .await
        .expect("it is deleted");
    it.avatar(&path, &[]).await.assert_problem(404, "not_found");
    it.sweep_later(Duration::from_hours(3)).await;
    assert!(it.keys().is_empty());
}

#[tokio::test]
async fn after_a_crash_between_two_steps_the_sweep_makes_rows_and_objects_agree() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let fault = |method: Method, effect: S3Effect| {
        for _ in 0..2 {
            it.s3.fault(S3Fault {
                method: method.clone(),
                path: "/avatars/".to_owned(),
                effect,
                status: StatusCode::SERVICE_UNAVAILABLE,
            });
        }
    };
    // The object is stored and the row is not.
    fault(Method::PUT, S3Effect::Made);
    let ended = ada.put_avatar("image/png", red()).await;
    ended.assert_problem(503, "storage_unavailable");
    assert_eq!((it.keys().len(), it.rows().await), (1, 0));
    // The row has changed, and the object before is not removed.
    ada.put_avatar("image/png", red()).await.assert_status(200);
    fault(Method::DELETE, S3Effect::None);
    ada.put_avatar("image/jpeg", photo())
        .await
        .assert_status(200);
    assert_eq!((it.keys().len(), it.rows().await), (3, 1));
    it.sweep().await;
    assert_eq!(it.keys().len(), 3, "too new to be judged");
    it.sweep_later(Duration::from_hours(3)).await;
    assert_eq!((it.keys().len(), it.rows().await), (1, 1));
    let ada = it.app.log_in("ada@example.com").await;
    let path = ada.avatar().await.expect("it has an address");
    it.avatar(&path, &[]).await.assert_status(200);
    // A row without its object.
    it.s3.remove(BUCKET, &it.keys()[0]);
    it.avatar(&path, &[]).await.assert_problem(404, "not_found");
    it.sweep().await;
    assert_eq!((it.rows().await, ada.avatar().await), (0, None));
}

#[tokio::test]
async fn without_a_store_pictures_say_so() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let refused = ada.put_avatar("image/png", red()).await;
    refused.assert_problem(503, "storage_not_configured");
}
