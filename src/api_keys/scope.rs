//! Scopes of API keys: read or write, everywhere or in one area.

use std::borrow::Cow;
use std::collections::BTreeSet;

use axum::http::Method;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::policy::{Area, is_read};
use crate::roles::{Permissions, ReadWrite};

/// Neither implies the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    Read,
    Write,
}

/// One permission of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub(super) struct Scope {
    area: Option<Area>,
    access: Access,
}

impl Scope {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let areas = Area::ALL.iter().copied().map(Some);
        std::iter::once(None)
            .chain(areas)
            .flat_map(|area| [Access::Read, Access::Write].map(|access| Self { area, access }))
    }

    /// Name in the database and in the API.
    pub(super) const fn as_str(self) -> &'static str {
        let [read, write] = match self.area {
            None => ["read", "write"],
            Some(area) => area.scope_names(),
        };
        match self.access {
            Access::Read => read,
            Access::Write => write,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::all().find(|scope| scope.as_str() == name)
    }
}

impl From<Scope> for &'static str {
    fn from(scope: Scope) -> Self {
        scope.as_str()
    }
}

impl TryFrom<String> for Scope {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        Self::named(&raw).ok_or("must be read, write, or one of these within an area: usage:read")
    }
}

impl PartialSchema for Scope {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(Self::all().map(Self::as_str)))
            .description(Some(
                "Permission of a key: `read` allows `GET` and `HEAD`, `write` every other method, and neither implies \
                 the other. With an area as prefix it is limited to the routes of that area.",
            ))
            .examples(["usage:read"])
            .build()
            .into()
    }
}

impl ToSchema for Scope {
    fn name() -> Cow<'static, str> {
        "Scope".into()
    }
}

/// The permissions of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "BTreeSet<Scope>", into = "BTreeSet<Scope>")]
#[schema(value_type = Vec<Scope>, min_items = 1, example = json!(["usage:read", "events:write"]))]
pub(super) struct Scopes(BTreeSet<Scope>);

impl Scopes {
    pub(super) fn allow(&self, area: Area, method: &Method) -> bool {
        let access = if is_read(method) {
            Access::Read
        } else {
            Access::Write
        };
        let sufficient = [None, Some(area)].map(|area| Scope { area, access });
        sufficient.iter().any(|scope| self.0.contains(scope))
    }

    /// Returns true if a scope includes the profile of the key's creator.
    pub(super) fn include_profile(&self) -> bool {
        self.0.iter().any(|scope| scope.area == Some(Area::Users))
    }

    /// The permissions of the same names.
    pub(super) fn permissions(&self) -> Permissions {
        let areas = Area::ALL.iter().copied();
        let each = areas.filter_map(|area| Some((area, area.permissions()?)));
        let granted = each.flat_map(|(area, ReadWrite { read, write })| {
            let methods = [(Method::GET, read), (Method::POST, write)];
            methods.map(|(method, permission)| self.allow(area, &method).then_some(permission))
        });
        Permissions::NONE.with(&granted.flatten().collect::<Vec<_>>())
    }

    pub(super) fn names(&self) -> Vec<String> {
        let names = self.0.iter().map(|scope| scope.as_str().to_owned());
        names.collect()
    }
}

/// Names in the database. An unknown one, of another release, allows nothing.
impl From<Vec<String>> for Scopes {
    fn from(names: Vec<String>) -> Self {
        Self(names.iter().filter_map(|name| Scope::named(name)).collect())
    }
}

impl From<Scopes> for BTreeSet<Scope> {
    fn from(scopes: Scopes) -> Self {
        scopes.0
    }
}

impl TryFrom<BTreeSet<Scope>> for Scopes {
    type Error = &'static str;

    fn try_from(scopes: BTreeSet<Scope>) -> Result<Self, &'static str> {
        (!scopes.is_empty())
            .then_some(Self(scopes))
            .ok_or("must have at least one scope")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(names: &[&str]) -> Scopes {
        let names = names.iter().map(|&name| name.to_owned());
        Scopes::from(names.collect::<Vec<_>>())
    }

    #[test]
    fn every_scope_has_one_name_there_and_back() {
        let names: BTreeSet<_> = Scope::all().map(Scope::as_str).collect();
        assert_eq!(names.len(), 2 + 2 * Area::ALL.len());
        for scope in Scope::all() {
            assert_eq!(Scope::named(scope.as_str()), Some(scope));
        }
        for unknown in [
            "",
            "admin",
            "auth:write",
            "users",
            "users:*",
            "READ",
            "users:read ",
        ] {
            assert_eq!(Scope::named(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn reading_and_writing_imply_nothing_of_each_other() {
        use Area::{Files, Usage};
        let reading = [Method::GET, Method::HEAD];
        let writing = [Method::POST, Method::DELETE, Method::OPTIONS];
        for (held, read, written) in [
            (&["read"][..], &[Usage, Files][..], &[][..]),
            (&["write"], &[], &[Usage, Files]),
            (&["usage:read"], &[Usage], &[]),
            (&["usage:write", "files:read"], &[Files], &[Usage]),
            (&["unheard-of"], &[], &[]),
            (&[], &[], &[]),
        ] {
            for area in [Usage, Files] {
                for (methods, allowed) in [(&reading[..], read), (&writing, written)] {
                    for method in methods {
                        let allow = scopes(held).allow(area, method);
                        assert_eq!(allow, allowed.contains(&area), "{held:?} {area:?} {method}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_key_that_may_do_nothing_cannot_be_asked_for() {
        assert!(serde_json::from_str::<Scopes>("[]").is_err());
        assert!(serde_json::from_str::<Scopes>(r#"["read", "everything"]"#).is_err());
        let twice = serde_json::from_str::<Scopes>(r#"["write", "read", "read"]"#);
        assert_eq!(twice.expect("it is good"), scopes(&["read", "write"]));
    }
}
