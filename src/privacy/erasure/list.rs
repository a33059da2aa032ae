//! List of erased users, which a restore of the database does not change: one object for each, below `erased/`.

use bytes::Bytes;
use health_checks::Findings;
use object_store::{ObjectStore, StoreError};
use uuid::Uuid;

use crate::ids::UserId;
use crate::state::AppState;

/// Prefix in the bucket. The ids are random and lead to nobody.
pub const ERASED: &str = "erased/";

/// Objects of one page of a listing.
const PAGE: u16 = 1000;

/// Adds a user to the list: to the log, if there is no store.
pub(super) async fn add(state: &AppState, user_id: UserId) -> Result<(), StoreError> {
    let Some(storage) = &state.storage else {
        tracing::info!(erased = %user_id, "a user is erased: keep this line as long as backups are kept");
        return Ok(());
    };
    let body = serde_json::json!({ "erased_at": state.clock.now() }).to_string();
    let key = format!("{ERASED}{user_id}");
    storage
        .put(&key, "application/json", Bytes::from(body))
        .await
}

/// All users on the list.
pub(super) async fn read(storage: &ObjectStore) -> Result<Vec<UserId>, StoreError> {
    let (mut after, mut ids) = (None, Vec::new());
    loop {
        let page = storage.list(ERASED, after.as_deref(), PAGE).await?;
        ids.extend(page.objects.iter().filter_map(|it| parse(&it.key)));
        after = page.next;
        if after.is_none() {
            return Ok(ids);
        }
    }
}

fn parse(key: &str) -> Option<UserId> {
    let id: Uuid = key.strip_prefix(ERASED)?.parse().ok()?;
    Some(UserId(id))
}

/// Adds to the report of `doctor` where erased users are listed.
pub async fn finding(state: &AppState, findings: &mut Findings) {
    let found = async {
        match &state.storage {
            Some(storage) => storage.list(ERASED, None, 1).await.map(|_| true),
            None => Ok::<_, StoreError>(false),
        }
    };
    findings
        .run_described("list of erased users", found, |is_stored| {
            Ok(if is_stored {
                "in the object store".to_owned()
            } else {
                "in the log only, since STORAGE_BUCKET is not set: keep the log as long as backups, and \
                 give `privacy reapply --ids` a file of the ids after a restore"
                    .to_owned()
            })
        })
        .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_from_the_key_of_its_object() {
        let id = UserId(Uuid::from_u128(7));
        assert_eq!(parse(&format!("erased/{id}")), Some(id));
        for other in ["erased/", "erased/x", "files/1"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
