//! The commands `storage`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use object_store::ObjectStore;

use super::copy::{copy, stores};
use super::error::Error;
use super::marker::Marker;
use super::restore::restore;
use crate::cli::{Storage, VerifyOptions};
use crate::config::Config;
use crate::files::{self, Differing, Selection, Verification};
use crate::state::AppState;

/// For a store that starts beside this process.
const TIMEOUT: Duration = Duration::from_mins(1);

type Failure = Box<dyn std::error::Error>;

/// Creates the bucket, and that of the copy, unless they exist. `print` gets a sentence for each.
pub async fn create_buckets(config: &Config, print: impl Fn(&str)) -> Result<(), Failure> {
    let original = config.storage.as_ref().ok_or(Error::NoStore)?;
    let copy = config.storage_copy.as_ref().map(|copy| &copy.store);
    for (name, store) in [
        ("the bucket", Some(original)),
        ("the bucket of the copy", copy),
    ] {
        let Some(store) = store else { continue };
        let is_created = ObjectStore::new(store).ensure_bucket(TIMEOUT).await?;
        let done = if is_created { "is created" } else { "exists" };
        print(&format!("{name} {done}"));
    }
    Ok(())
}

/// Runs a command on objects; `print` takes lines of its output.
pub async fn run(state: &AppState, command: Storage, print: impl Fn(&str)) -> Result<(), Failure> {
    let began = Instant::now();
    let took = || format!("{:.1} s", began.elapsed().as_secs_f64());
    match command {
        Storage::CreateBucket => Err("it needs no database".into()),
        Storage::Copy { force } => {
            let report = copy(state, force).await?;
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            print(&format!(
                "{} objects: {} copied and {} replaced ({}), {} noted as deleted, {} removed after their retention, in {}",
                read(&report.all),
                read(&report.copied),
                read(&report.replaced),
                size(read(&report.bytes)),
                read(&report.noted),
                read(&report.removed),
                took(),
            ));
            let left = read(&report.left);
            if left > 0 {
                print(&format!(
                    "{left} objects are of no row, or not scanned yet: not copied"
                ));
            }
            let missing = read(&report.missing);
            if missing > 0 {
                print(&format!(
                    "{missing} objects are missing in the store: groundwork storage restore"
                ));
            }
            let refused = read(&report.refused);
            if refused > 0 {
                return Err(format!(
                    "{refused} objects differ from their files and were not copied"
                )
                .into());
            }
            Ok(())
        }
        Storage::Restore => {
            let done = restore(state, &print).await?;
            print(&format!(
                "{} objects restored ({}), {} damaged in the copy, {} that no row names left there, in {}",
                done.objects,
                size(done.bytes),
                done.damaged,
                done.left,
                took(),
            ));
            if done.erased > 0 {
                print("users were erased since: groundwork privacy reapply");
            }
            if done.failed > 0 {
                return Err(format!("{} objects could not be restored", done.failed).into());
            }
            (done.damaged == 0)
                .then_some(())
                .ok_or_else(|| "the copy is damaged".into())
        }
        Storage::Verify(options) => {
            let result = verify(state, &options, &print).await?;
            let Verification {
                files,
                bytes,
                differing,
            } = result;
            print(&format!(
                "{files} files ({} read), {differing} differ, in {}",
                size(bytes),
                took()
            ));
            (differing == 0)
                .then_some(())
                .ok_or_else(|| "files differ from their objects".into())
        }
    }
}

async fn verify(
    state: &AppState,
    options: &VerifyOptions,
    print: impl Fn(&str),
) -> Result<Verification, Failure> {
    let report = |differing: &Differing| print(&differing.to_string());
    if options.copy {
        let (_, copy) = stores(state)?;
        let marker = Marker::find(&copy.store).await?;
        let at = marker.and_then(|marker| marker.has_before);
        let at = at.ok_or("no copy is complete yet")?;
        return Ok(files::verify_copy(state, &copy.store, at, report).await?);
    }
    let Some(storage) = &state.storage else {
        return match files::count_stored(state).await? {
            0 => Ok(Verification::default()),
            files => Err(format!("STORAGE_BUCKET is not set, and {files} files need it").into()),
        };
    };
    let selection = match options.share {
        Some(parts) => Selection::Share(parts),
        None if options.present_only => Selection::Present,
        None => Selection::All,
    };
    Ok(files::verify(state, storage, selection, report).await?)
}

/// Bytes in the largest unit that has one of them.
#[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
fn size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = units.into_iter().find(|(_, unit)| bytes >= *unit);
    match unit {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_have_a_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (3 << 30, "3.0 GiB"),
        ] {
            assert_eq!(super::size(bytes), text);
        }
    }
}
