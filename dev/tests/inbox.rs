//! The inbox as senders, readers and attackers meet it.

use std::net::SocketAddr;

use groundwork_dev::Inbox;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// A sender that says its lines and hands back the replies.
struct Sender(BufReader<TcpStream>);

impl Sender {
    async fn greeted(inbox: &Inbox) -> Self {
        let stream = TcpStream::connect(inbox.smtp_addr()).await.unwrap();
        let mut sender = Self(BufReader::new(stream));
        assert!(sender.reply().await.starts_with("220 "));
        assert!(sender.say("EHLO test").await.contains("8BITMIME"));
        sender
    }

    async fn say(&mut self, line: &str) -> String {
        self.write(&format!("{line}\r\n")).await;
        self.reply().await
    }

    async fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let begin = reply.len();
            assert_ne!(self.0.read_line(&mut reply).await.unwrap(), 0, "closed");
            if reply.as_bytes()[begin + 3] == b' ' {
                return reply;
            }
        }
    }

    async fn send(&mut self, to: &str, message: &str) -> String {
        assert!(
            self.say("MAIL FROM:<app@example.com>")
                .await
                .starts_with("250")
        );
        assert!(
            self.say(&format!("RCPT TO:<{to}>"))
                .await
                .starts_with("250")
        );
        assert!(self.say("DATA").await.starts_with("354"));
        self.say(&format!("{message}\r\n.")).await
    }
}

async fn http(at: SocketAddr, method: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: inbox\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.into())
}

async fn json(inbox: &Inbox, path: &str) -> serde_json::Value {
    serde_json::from_str(&http(inbox.http_addr(), "GET", path).await.1).unwrap()
}

#[tokio::test]
async fn two_emails_on_one_connection_arrive_whole() {
    let inbox = Inbox::start().await;
    let mut sender = Sender::greeted(&inbox).await;
    let dotted = "Subject: one\r\n\r\n..a dot\r\n...two dots\r\nan end.";
    assert!(
        sender
            .send("Ada@Example.com", dotted)
            .await
            .starts_with("250")
    );
    assert!(
        sender
            .send("bob@example.com", "Subject: two\r\n\r\nhi")
            .await
            .starts_with("250")
    );
    assert!(sender.say("QUIT").await.starts_with("221"));

    let to_ada = inbox.emails_to("ada@example.com");
    assert_eq!(to_ada.len(), 1);
    assert_eq!(to_ada[0].text, ".a dot\r\n..two dots\r\nan end.\r\n");
    let subjects: Vec<_> = inbox.messages().iter().map(|l| l.subject.clone()).collect();
    assert_eq!(subjects, ["two", "one"], "the newest first");
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let inbox = Inbox::start().await;
    let mut sender = Sender::greeted(&inbox).await;
    sender
        .write("MAIL FROM:<> SIZE=10\r\nRCPT TO:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
        .await;
    for code in ["250", "250", "250", "354"] {
        assert!(sender.reply().await.starts_with(code));
    }
    assert!(
        sender
            .say("no headers at all\r\n.")
            .await
            .starts_with("250")
    );
    assert_eq!(inbox.emails_to("b@example.com").len(), 1);
}

#[tokio::test]
async fn a_bare_line_feed_ends_no_email() {
    let inbox = Inbox::start().await;
    let mut sender = Sender::greeted(&inbox).await;
    let smuggled = "Subject: x\r\n\r\nfirst\n.\nMAIL FROM:<evil@example.com>";
    assert!(
        sender
            .send("a@example.com", smuggled)
            .await
            .starts_with("250")
    );
    assert_eq!(inbox.messages().len(), 1);
    assert!(
        inbox.messages()[0]
            .text
            .contains("MAIL FROM:<evil@example.com>")
    );
}

#[tokio::test]
async fn junk_is_refused_and_the_next_client_served() {
    let inbox = Inbox::start().await;
    let mut sender = Sender::greeted(&inbox).await;
    assert!(sender.say("DATA").await.starts_with("503"));
    assert!(
        sender
            .say("RCPT TO:<a@example.com>")
            .await
            .starts_with("503")
    );
    assert!(sender.say("MAIL FROM:nobody").await.starts_with("501"));
    assert!(
        sender
            .say("MAIL FROM:<a@example.com> SIZE=99999999999")
            .await
            .starts_with("552")
    );
    assert!(sender.say("É").await.starts_with("500"));
    sender.write(&"x".repeat(100_000)).await;
    assert!(sender.reply().await.starts_with("500"));
    drop(sender);

    let mut other = Sender::greeted(&inbox).await;
    assert!(
        other
            .send("a@example.com", "Subject: fine\r\n\r\n")
            .await
            .starts_with("250")
    );
}

#[tokio::test]
async fn refusals_come_when_asked_for_and_then_end() {
    let inbox = Inbox::start().await;
    inbox.refuse_next(1, 451);
    inbox.refuse_next(1, 550);
    let mut sender = Sender::greeted(&inbox).await;
    for code in ["451", "550", "250"] {
        let answer = sender.send("a@example.com", "Subject: x\r\n\r\nx").await;
        assert!(answer.starts_with(code), "{answer}");
    }
    assert_eq!(inbox.messages().len(), 1);
}

#[tokio::test]
async fn the_api_has_the_shapes_of_mailpit() {
    let inbox = Inbox::start().await;
    assert_eq!(json(&inbox, "/api/v1/messages").await["total"], 0);
    let message = "From: The App <app@example.com>\r\nTo: Ada <ada@example.com>\r\n\
        Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/alternative; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        Open http://127.0.0.1/verify?x=3D1#token=3Dabc=\r\nd now\r\n\
        --b\r\nContent-Type: text/html\r\n\r\n<p>Open <a href=\"http://127.0.0.1/\">this</a></p>\r\n--b--";
    Sender::greeted(&inbox)
        .await
        .send("ada@example.com", message)
        .await;

    let list = json(&inbox, "/api/v1/messages").await;
    assert_eq!(list["total"], 1);
    let first = &list["messages"][0];
    assert_eq!(first["Subject"], "Grüße");
    assert_eq!(
        first["From"],
        serde_json::json!({ "Name": "The App", "Address": "app@example.com" })
    );
    assert_eq!(first["To"][0]["Address"], "ada@example.com");
    assert!(first["Snippet"].as_str().unwrap().starts_with("Open http"));
    assert!(first["Created"].is_string() && first["Size"].is_number());

    for id in [first["ID"].as_str().unwrap(), "latest"] {
        let whole = json(&inbox, &format!("/api/v1/message/{id}")).await;
        assert_eq!(whole["Subject"], "Grüße");
        assert!(whole["Text"].as_str().unwrap().contains("token=abcd now"));
        assert!(whole["HTML"].as_str().unwrap().starts_with("<p>Open"));
    }
    assert_eq!(
        inbox
            .wait_for_email_to("ada@example.com")
            .await
            .token()
            .unwrap(),
        "abcd"
    );

    let at = inbox.http_addr();
    assert!(
        http(at, "GET", "/api/v1/message/none")
            .await
            .0
            .starts_with("http/1.1 404")
    );
    assert!(
        http(at, "DELETE", "/api/v1/messages")
            .await
            .0
            .starts_with("http/1.1 200")
    );
    assert!(inbox.messages().is_empty());
    assert!(
        http(at, "GET", "/readyz")
            .await
            .0
            .starts_with("http/1.1 200")
    );
}

#[tokio::test]
async fn a_hostile_email_stays_text() {
    let inbox = Inbox::start().await;
    let evil = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'";
    let message = format!(
        "From: {evil} <x@example.com>\r\nTo: \"{}\" <y@example.com>\r\nSubject: {evil}\r\nX-Evil: {evil}\r\n\
         Content-Type: text/html\r\n\r\n<html><head><title>t</title></head><body>{evil}</body></html>",
        evil.replace('"', "")
    );
    Sender::greeted(&inbox)
        .await
        .send("y@example.com", &message)
        .await;
    let id = inbox.messages()[0].id.clone();

    for path in ["/", "/list", &format!("/message/{id}")] {
        let (head, body) = http(inbox.http_addr(), "GET", path).await;
        assert!(
            !body.contains("<script>alert") && !body.contains("<img"),
            "{path}: {body}"
        );
        if path != "/list" {
            assert!(
                head.contains("content-security-policy: default-src 'none'"),
                "{head}"
            );
            assert!(body.contains("&lt;script&gt;"));
        }
    }
    let (head, body) = http(inbox.http_addr(), "GET", &format!("/message/{id}/html")).await;
    assert!(
        head.contains("content-security-policy: sandbox allow-popups"),
        "{head}"
    );
    assert!(!head.contains("allow-scripts") && !head.contains("allow-same-origin"));
    assert!(body.contains("<head><base target=\"_blank\">"), "{body}");
}
