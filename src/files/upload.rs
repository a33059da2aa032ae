//! Upload through the service: a form is checked and passed on to the store as it arrives.

use bytes::{Bytes, BytesMut};
use file_types::{FileType, START};
use http_toolkit::{Multipart, Part, Problem};
use object_store::Put;
use tracing::Instrument as _;

use super::error::{Error, invalid, missing};
use super::model::{Announced, File, FileSize, Sha256, allowed};
use super::name::FileName;
use super::service::{self, Begun};
use crate::ctx::CallerCtx;

/// Bytes of a field.
const FIELD_MAX: usize = 1024;

/// Stores the file of a form. Runs in a task of its own, so that the pending row is removed also if the client disconnects:
/// the body then ends early.
pub(super) async fn receive(ctx: CallerCtx, form: Multipart) -> Result<File, Error> {
    let receiving = async move { receive_now(&ctx, form).await };
    tokio::spawn(receiving.in_current_span()).await?
}

async fn receive_now(ctx: &CallerCtx, mut form: Multipart) -> Result<File, Error> {
    let storage = service::storage(ctx)?;
    let limits = service::limits(ctx).await?;
    let (fields, mut part) = Fields::read(&mut form).await.map_err(Error::Form)?;
    let size = fields.size.ok_or_else(|| {
        let message = "is required before the file";
        Error::Form(missing("size", message))
    })?;
    size.check(&limits)?;
    form.allow(size.bytes());
    let name = fields.name_of(&part).map_err(Error::Form)?;
    let start = read_start(&mut part).await.map_err(Error::Form)?;
    let found = FileType::detect(&start[..start.len().min(START)], part.content_type());
    let new = Announced {
        name,
        size,
        file_type: allowed(found, &ctx.files)?,
        sha256: fields.sha256,
    };
    let begun = Begun::new(ctx).await?;
    service::reserve(ctx, &begun, &limits, &new).await?;

    let object = service::new_object(ctx, begun.id);
    let put = storage.begin_put(&object.text(), size.bytes(), new.file_type.as_str());
    let stored = Receiver { form, part, put }.pass_on(start, &new).await;
    let finished = match stored {
        Ok(sha256) => {
            let file = file(ctx, &begun, new, sha256);
            let finished = service::finish(ctx, &file, object).await;
            finished.and_then(|done| done.then_some(file).ok_or(Error::UploadExpired))
        }
        Err(error) => Err(error),
    };
    match &finished {
        // The outcome of the transaction may be unknown.
        Ok(_) | Err(Error::Database(_)) => {}
        Err(error) => {
            if let Err(error) = service::abandon(ctx, begun.id).await {
                tracing::debug!(%error, "an upload is left to the sweep");
            }
            // Otherwise the last bytes were not sent, and there is no object.
            if let Error::Store(_) | Error::UploadExpired = error {
                let (storage, key) = (storage.clone(), object.text());
                tokio::spawn(async move { service::delete_object(&storage, &key).await });
            }
        }
    }
    finished
}

fn file(ctx: &CallerCtx, begun: &Begun, new: Announced, sha256: Sha256) -> File {
    File {
        id: begun.id,
        status: service::new_status(ctx),
        name: new.name,
        size: new.size.get(),
        content_type: new.file_type.as_str().to_owned(),
        sha256,
        uploaded_by: ctx.user_id(),
        created_at: begun.at,
    }
}

/// Fields before the file.
#[derive(Default)]
struct Fields {
    name: Option<FileName>,
    size: Option<FileSize>,
    sha256: Option<Sha256>,
}

impl Fields {
    /// Reads up to the file.
    async fn read(form: &mut Multipart) -> Result<(Self, Part), Problem> {
        let mut fields = Self::default();
        while let Some(part) = form.next().await? {
            match part.name() {
                "name" => set("name", &mut fields.name, part).await?,
                "size" => set("size", &mut fields.size, part).await?,
                "sha256" => set("sha256", &mut fields.sha256, part).await?,
                "file" => return Ok((fields, part)),
                _ => return Err(part.refuse("unknown_field", "is not a known field")),
            }
        }
        Err(missing("file", "is required"))
    }

    fn name_of(&self, part: &Part) -> Result<FileName, Problem> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let name = part.file_name().ok_or_else(|| {
            let message = "is required, unless the file has a name";
            missing("name", message)
        })?;
        FileName::try_from(name.to_owned()).map_err(|message| invalid("name", message))
    }
}

async fn set<T>(name: &'static str, field: &mut Option<T>, part: Part) -> Result<(), Problem>
where
    T: TryFrom<String, Error = &'static str>,
{
    if field.is_some() {
        return Err(part.refuse("duplicate_field", "is given more than once"));
    }
    let text = part.text(FIELD_MAX).await?;
    *field = Some(T::try_from(text).map_err(|message| invalid(name, message))?);
    Ok(())
}

/// Reads as much of a file as its type is decided by.
async fn read_start(part: &mut Part) -> Result<Bytes, Problem> {
    let mut start = BytesMut::new();
    while start.len() < START {
        match part.chunk().await? {
            Some(chunk) => start.extend_from_slice(&chunk),
            None => break,
        }
    }
    Ok(start.freeze())
}

/// The file of a form on its way to the store.
struct Receiver {
    form: Multipart,
    part: Part,
    put: Put,
}

impl Receiver {
    /// Passes the file on and returns its hash. The object is made at the end, once everything has been checked.
    async fn pass_on(mut self, start: Bytes, new: &Announced) -> Result<Sha256, Error> {
        let mut left = new.size.bytes();
        let mut next = Some(start);
        while let Some(chunk) = next {
            let length = chunk.len() as u64;
            left = left.checked_sub(length).ok_or(Error::SizeDiffers)?;
            self.put.send(chunk).await?;
            next = self.part.chunk().await.map_err(Error::Form)?;
        }
        drop(self.part);
        if let Some(more) = self.form.next().await.map_err(Error::Form)? {
            let refused = more.refuse("unexpected", "must not follow the file");
            return Err(Error::Form(refused));
        }
        if left > 0 {
            return Err(Error::SizeDiffers);
        }
        let sha256 = Sha256::new(self.put.sha256()?);
        if new.sha256.is_some_and(|announced| announced != sha256) {
            return Err(Error::HashDiffers);
        }
        self.put.finish().await?;
        Ok(sha256)
    }
}
