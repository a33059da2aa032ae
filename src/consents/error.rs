//! Errors of consents, and their responses.

use http_toolkit::Problem;

use crate::config::{Document, DocumentVersion};
use crate::web::Code;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// With each document at fault, and its version in force.
    #[error("a document that is accepted is not the one in force")]
    Documents(Vec<(Document, DocumentFault)>),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Fault of the version of a document in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentFault {
    Missing,
    /// With the version in force.
    NotInForce(DocumentVersion),
    /// The product has no such document.
    NoDocument,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let faults = match error {
            Error::Documents(faults) => faults,
            Error::Database(error) => return error.into(),
        };
        let problem = Self::new(Code::InvalidFields);
        faults
            .into_iter()
            .fold(problem, |problem, (document, fault)| {
                let (code, message) = match fault {
                    DocumentFault::Missing => {
                        ("required", "is required: the version that was shown".into())
                    }
                    DocumentFault::NotInForce(version) => (
                        "not_in_force",
                        format!("is not the version in force, which is {}", version.as_str()),
                    ),
                    DocumentFault::NoDocument => {
                        ("not_in_force", "is a document that does not exist".into())
                    }
                };
                problem.field(document.as_str(), code, message)
            })
    }
}
