//! What a key may do: read or write, everywhere or in one area of the product.

use std::borrow::Cow;
use std::collections::BTreeSet;

use axum::http::Method;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Looking, or changing. Neither implies the other: a key that only delivers has no need to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    /// `GET` and `HEAD`.
    Read,
    /// Every other method.
    Write,
}

macro_rules! areas {
    ($($area:ident $name:literal)+) => {
        /// A part of the product: the first segment of its routes' paths below the API's own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Area {
            $(#[doc = concat!("`/", $name, "`.")] $area,)+
        }

        impl Area {
            /// The area that routes with this segment belong to. No key opens any other.
            pub(super) fn of_segment(segment: &str) -> Option<Self> {
                match segment {
                    $($name => Some(Self::$area),)+
                    _ => None,
                }
            }
        }

        impl Scope {
            /// The whole list.
            pub(super) const ALL: &'static [Self] = &[
                Self::everywhere(Access::Read),
                Self::everywhere(Access::Write),
                $(
                    Self::within(Area::$area, Access::Read),
                    Self::within(Area::$area, Access::Write),
                )+
            ];

            /// The name that is stored, and that clients know it by.
            pub(super) const fn as_str(self) -> &'static str {
                match (self.area, self.access) {
                    (None, Access::Read) => "read",
                    (None, Access::Write) => "write",
                    $(
                        (Some(Area::$area), Access::Read) => concat!($name, ":read"),
                        (Some(Area::$area), Access::Write) => concat!($name, ":write"),
                    )+
                }
            }
        }
    };
}

// A new area also extends `api_keys_scopes_check`, in a migration of its own.
areas! {
    Users "users"
    Usage "usage"
    Events "events"
    Billing "billing"
    Payments "payments"
    Secrets "secrets"
    Files "files"
    Dashboard "dashboard"
}

/// One permission of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub(super) struct Scope {
    area: Option<Area>,
    access: Access,
}

impl Scope {
    /// This access to all areas.
    pub(super) const fn everywhere(access: Access) -> Self {
        Self { area: None, access }
    }

    /// This access to one area.
    pub(super) const fn within(area: Area, access: Access) -> Self {
        Self {
            area: Some(area),
            access,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|scope| scope.as_str() == name)
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
            .enum_values(Some(Self::ALL.iter().map(|scope| scope.as_str())))
            .description(Some(
                "What a key may do: `read` is `GET` and `HEAD`, `write` is every other method, and neither implies \
                 the other. With an area before it, it holds for the routes below that segment alone.",
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

/// What a call of a route asks for; `None` where keys do not reach at all. It goes by the route as
/// it is declared, `/api/v1/<area>/…`: a raw path may be spelled in many ways.
pub(super) fn asked_for(route: &str, method: &Method) -> Option<(Area, Access)> {
    let area = Area::of_segment(route.split('/').nth(3)?)?;
    let access = match *method {
        Method::GET | Method::HEAD => Access::Read,
        _ => Access::Write,
    };
    Some((area, access))
}

/// All that a key may do: one scope or more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "BTreeSet<Scope>", into = "BTreeSet<Scope>")]
#[schema(value_type = Vec<Scope>, min_items = 1, example = json!(["usage:read", "events:write"]))]
pub(super) struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Whether one of them is for this.
    pub(super) fn allow(&self, area: Area, access: Access) -> bool {
        let sufficient = [Scope::everywhere(access), Scope::within(area, access)];
        sufficient.iter().any(|scope| self.0.contains(scope))
    }

    /// Their stored names.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.0.iter().map(|scope| scope.as_str().to_owned());
        names.collect()
    }

    /// What is stored. A name that this release does not know allows nothing.
    pub(super) fn of_names(names: &[String]) -> Self {
        let known = names.iter().filter_map(|name| Scope::named(name));
        Self(known.collect())
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
        Scopes::of_names(
            &names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn every_scope_has_one_name_there_and_back() {
        let names: BTreeSet<_> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        assert_eq!(names.len(), Scope::ALL.len());
        for &scope in Scope::ALL {
            assert_eq!(Scope::named(scope.as_str()), Some(scope));
            if let Some(area) = scope.area {
                let segment = scope.as_str().split(':').next().expect("it has an area");
                assert_eq!(Area::of_segment(segment), Some(area));
            }
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
        for segment in ["", "auth", "admin", "api-keys", "user", "{id}"] {
            assert_eq!(Area::of_segment(segment), None, "{segment}");
        }
    }

    #[test]
    fn a_route_asks_for_what_it_is_and_does() {
        let usage = |access| Some((Area::Usage, access));
        for (method, access) in [
            (Method::GET, Access::Read),
            (Method::HEAD, Access::Read),
            (Method::OPTIONS, Access::Write),
            (Method::POST, Access::Write),
            (Method::DELETE, Access::Write),
        ] {
            assert_eq!(asked_for("/api/v1/usage", &method), usage(access));
            assert_eq!(asked_for("/api/v1/usage/{id}", &method), usage(access));
        }
        for route in [
            "",
            "/",
            "/usage",
            "/api/v1",
            "/api/v1/auth/usage",
            "/api/v1/api-keys",
        ] {
            assert_eq!(asked_for(route, &Method::GET), None, "{route}");
        }
    }

    #[test]
    fn reading_and_writing_imply_nothing_of_each_other() {
        use Access::{Read, Write};
        use Area::{Files, Usage};
        for (held, allowed) in [
            (&["read"][..], &[(Usage, Read), (Files, Read)][..]),
            (&["write"], &[(Usage, Write), (Files, Write)]),
            (&["usage:read"], &[(Usage, Read)]),
            (
                &["usage:write", "files:read"],
                &[(Usage, Write), (Files, Read)],
            ),
            (&["unheard-of"], &[]),
            (&[], &[]),
        ] {
            for asked in [(Usage, Read), (Usage, Write), (Files, Read), (Files, Write)] {
                let allow = scopes(held).allow(asked.0, asked.1);
                assert_eq!(allow, allowed.contains(&asked), "{held:?} {asked:?}");
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
