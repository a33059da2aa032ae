//! Acceptance of documents, and choices of optional kinds.

use std::time::Duration;

use cache::CacheFamily;
use http_toolkit::Problem;
use serde_json::json;

use super::error::{DocumentFault, Error};
use super::model::{
    AcceptedDocuments, ConsentChanges, Consents, DocumentInForce, DocumentStatus, Legal, NewLine,
    OptionalConsent, OptionalKind, Source,
};
use super::store;
use crate::audit::Event;
use crate::config::{Document, DocumentVersion, PrivacyConfig};
use crate::ctx::{Tx, UserCtx};
use crate::ids::UserId;
use crate::state::AppState;

/// Users who have accepted the documents in force, which do not change while the process runs. Erased users have no
/// session.
static ACCEPTED: CacheFamily<UserId, bool> =
    CacheFamily::in_process("accepted_documents", Duration::from_mins(10), 50_000);

pub(super) fn legal(state: &AppState) -> Legal {
    let documents = state.privacy.documents();
    let documents = documents.map(|(document, version, url)| DocumentInForce {
        document,
        version: version.clone(),
        url: url.clone(),
    });
    Legal {
        documents: documents.collect(),
        contact: state.privacy.contact.clone(),
    }
}

/// Kinds and versions of the documents in force.
#[must_use]
pub fn required_documents(config: &PrivacyConfig) -> (Vec<String>, Vec<String>) {
    let all = config.documents();
    all.map(|(document, version, _)| (document.as_str().to_owned(), version.as_str().to_owned()))
        .unzip()
}

/// Returns whether the user has accepted all documents in force.
pub async fn has_accepted(state: &AppState, user_id: UserId) -> Result<bool, Problem> {
    let (kinds, versions) = required_documents(&state.privacy);
    let read = || {
        let (db, kinds, versions) = (state.db.clone(), kinds.clone(), versions.clone());
        async move {
            let count = store::count_accepted(&db, user_id, &kinds, &versions).await?;
            Ok::<_, sqlx::Error>(usize::try_from(count) == Ok(kinds.len()))
        }
    };
    // Only `true` is cached: what was accepted a moment ago counts at once.
    Ok(*state.cache.get(&ACCEPTED, &user_id, read).await? || read().await?)
}

/// The documents that a request accepts. Each must be the one in force, and with `is_complete` none may be missing.
pub fn check_documents(
    config: &PrivacyConfig,
    accepted: AcceptedDocuments<'_>,
    is_complete: bool,
) -> Result<Vec<(Document, DocumentVersion)>, Error> {
    let mut checked = Vec::new();
    let mut faults = Vec::new();
    for document in Document::ALL {
        let in_force = config.documents().find(|(it, ..)| *it == document);
        let in_force = in_force.map(|(_, version, _)| version);
        match (in_force, accepted.get(document)) {
            (Some(in_force), Some(version)) if version == in_force => {
                checked.push((document, version.clone()));
            }
            (Some(in_force), Some(_)) => {
                faults.push((document, DocumentFault::NotInForce(in_force.clone())));
            }
            (None, Some(_)) => faults.push((document, DocumentFault::NoDocument)),
            (Some(_), None) if is_complete => faults.push((document, DocumentFault::Missing)),
            (_, None) => {}
        }
    }
    if faults.is_empty() {
        Ok(checked)
    } else {
        Err(Error::Documents(faults))
    }
}

/// Appends what a sign-up accepts. Without effect, and at the same cost, unless the sign-up is pending.
pub async fn accept_at_sign_up(
    tx: &mut Tx<'_>,
    user_id: UserId,
    accepted: &[(Document, DocumentVersion)],
    is_pending: bool,
) -> Result<(), sqlx::Error> {
    let ctx = tx.ctx();
    let lines: Vec<_> = accepted.iter().map(acceptance).collect();
    let from = (Source::SignUp, ctx.origin());
    store::insert(&mut **tx, user_id, &lines, is_pending, from, ctx.now()).await
}

fn acceptance((document, version): &(Document, DocumentVersion)) -> NewLine<'_> {
    NewLine {
        kind: document.as_str(),
        version: Some(version.as_str()),
        is_given: true,
    }
}

/// Gives or withdraws a consent of a user. Returns false if it was so before: nothing is then appended.
pub async fn record_choice(
    tx: &mut Tx<'_>,
    user_id: UserId,
    kind: OptionalKind,
    is_given: bool,
    source: Source,
) -> Result<bool, sqlx::Error> {
    if store::is_given(&mut **tx, user_id, kind).await? == is_given {
        return Ok(false);
    }
    let line = NewLine {
        kind: kind.as_str(),
        version: None,
        is_given,
    };
    let ctx = tx.ctx();
    let from = (source, ctx.origin());
    store::insert(&mut **tx, user_id, &[line], true, from, ctx.now()).await?;
    let detail = json!({ "kind": kind, "is_given": is_given, "source": source.as_str() });
    tx.audit(Event::ConsentChanged.about(user_id).detail(detail))
        .await?;
    Ok(true)
}

pub(super) async fn get(ctx: &UserCtx) -> Result<Consents, Error> {
    let lines = store::list_lines(&ctx.db, ctx.user_id()).await?;
    let newest = |kind: &str| lines.iter().find(|line| line.kind == kind);
    let documents = ctx.privacy.documents().map(|(document, version, url)| {
        let line = newest(document.as_str());
        let accepted_version = line.and_then(|line| line.version.clone());
        DocumentStatus {
            document,
            is_due: accepted_version.as_deref() != Some(version.as_str()),
            version: version.clone(),
            url: url.clone(),
            accepted_version,
            accepted_at: line.map(|line| line.created_at),
        }
    });
    let optional = OptionalKind::ALL.iter().map(|&kind| {
        let line = newest(kind.as_str());
        OptionalConsent {
            kind,
            is_given: line.is_some_and(|line| line.is_given),
            changed_at: line.map(|line| line.created_at),
        }
    });
    Ok(Consents {
        documents: documents.collect(),
        optional: optional.collect(),
    })
}

pub(super) async fn change(ctx: &UserCtx, changes: &ConsentChanges) -> Result<Consents, Error> {
    let accepted = check_documents(&ctx.privacy, changes.documents(), false)?;
    let mut tx = ctx.begin().await?;
    let known = store::list_lines(&mut *tx, ctx.user_id()).await?;
    let is_new = |(document, version): &&(Document, DocumentVersion)| {
        let newest = known.iter().find(|line| line.kind == document.as_str());
        newest.and_then(|line| line.version.as_deref()) != Some(version.as_str())
    };
    let new: Vec<_> = accepted.iter().filter(is_new).collect();
    if !new.is_empty() {
        let lines: Vec<_> = new.iter().map(|it| acceptance(it)).collect();
        let from = (Source::Settings, ctx.origin());
        store::insert(&mut *tx, ctx.user_id(), &lines, true, from, ctx.now()).await?;
        let versions: serde_json::Map<_, _> = new
            .iter()
            .map(|(document, version)| (document.as_str().to_owned(), json!(version)))
            .collect();
        tx.audit(Event::DocumentsAccepted.detail(json!(versions)))
            .await?;
    }
    for (kind, is_given) in changes.choices() {
        record_choice(&mut tx, ctx.user_id(), kind, is_given, Source::Settings).await?;
    }
    tx.commit().await?;
    get(ctx).await
}
