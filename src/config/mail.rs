//! Emails: the mail server, the sender and the links.

use std::time::Duration;

use email_transport::{Certificates, Ehlo, Sender, SmtpServer, SmtpUrl, default_hello_name};
use settings::host::COMMON_PASSWORD;
use settings::{OneLine, OrDefault, Reader, WebUrl};

settings::settings! {
    /// Outgoing emails.
    pub struct MailConfig {}
    "Emails", MailSettings {
        /// Mail server: `smtps://user:password@host:465`, or `smtp://…:587?tls=required`; plain
        /// `smtp://` within a private network.
        SMTP_URL => server: SmtpUrl, required, secret,
            production(
                SmtpServer::is_encrypted_or_private,
                "must be `smtps://`, or have `?tls=required`, outside of a private network"
            ),
            production(|server| !server.has_common_password(), COMMON_PASSWORD);
        /// Sender: `Acme <hello@acme.com>`; a domain such as `bücher.example` is sent in ASCII, and
        /// before the @ there must be nothing else.
        MAIL_FROM => from: Sender, required, example("Acme <no-reply@example.com>");
        /// The product's name in emails and authenticator apps: 1 to 64 characters in one line; apps do
        /// not get a colon in it.
        PRODUCT_NAME => product_name: OneLine<LONGEST_PRODUCT_NAME> = "Groundwork";
        /// Beginning of links in emails, for a front end of your own, which serves `verify-email`,
        /// `reset-password`, `unlock` and `undo-email-change` below it and reads the token from the
        /// fragment: `#token=…`; and `email-preferences`, without a token ([email.md](email.md#preferences)).
        LINK_URL => link_url: WebUrl, computed("`PUBLIC_URL`", public_url),
            production(|url| url.scheme() == "https", "must be https");
        /// Send the monthly usage summary to those who asked for it.
        MAIL_USAGE_SUMMARY => usage_summary: bool = true;
        /// How long an address stays suppressed after the last bounce or complaint
        /// ([email.md](email.md#bounces-and-complaints)).
        MAIL_SUPPRESSION_RETENTION => suppression_retention: Duration = "365d", within("30d"..="3650d");
        /// For the mail server to accept an email.
        SMTP_TIMEOUT => timeout: Duration = "30s", at_most("1h");
        /// The name of this host in EHLO: a host name, or an address such as `[203.0.113.7]`. Receivers
        /// may look it up.
        SMTP_HELO_NAME => hello_name: Ehlo,
            computed("host of `PUBLIC_URL`, else domain of `MAIL_FROM`", hello_name);
        /// File of certificate authorities in PEM. The mail server's certificate may be from these besides the public ones;
        /// for calls over https, such as those of the object store, they replace the public ones.
        SSL_CERT_FILE => certificates: OrDefault<Certificates>;
    }
}

/// Longer names may not fit into the QR code of an authenticator app.
const LONGEST_PRODUCT_NAME: usize = 64;

fn hello_name(reader: &Reader<'_>) -> Option<String> {
    let [smtp_url, public_url, from] =
        ["SMTP_URL", "PUBLIC_URL", "MAIL_FROM"].map(|name| reader.text(name));
    default_hello_name(smtp_url?, public_url?, from?).map(|name| name.to_string())
}

fn public_url(reader: &Reader<'_>) -> Option<String> {
    reader.text("PUBLIC_URL").map(str::to_owned)
}
