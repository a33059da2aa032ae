//! Keys and addresses of avatars.

use uuid::Uuid;

use crate::ids::UserId;

/// Prefix of avatars in the bucket.
pub const AVATARS: &str = "avatars/";

/// Prefix of the pictures of a user.
#[must_use]
pub fn avatar_prefix_of(user_id: UserId) -> String {
    format!("{AVATARS}{user_id}/")
}

/// Object of an avatar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AvatarObject {
    pub(super) user_id: UserId,
    /// New for each picture.
    pub(super) object_id: Uuid,
}

impl AvatarObject {
    pub(super) fn key(self) -> String {
        format!("{AVATARS}{}/{}", self.user_id, self.object_id)
    }

    /// `None` for a key that is not of an avatar.
    pub(super) fn parse(key: &str) -> Option<Self> {
        let (user_id, object_id) = key.strip_prefix(AVATARS)?.split_once('/')?;
        let object = Self {
            user_id: UserId(user_id.parse().ok()?),
            object_id: object_id.parse().ok()?,
        };
        (object.key() == key).then_some(object)
    }
}

/// Picture as it is served.
#[derive(Clone, Debug)]
pub(super) struct Avatar {
    pub(super) object: AvatarObject,
    pub(super) content_type: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let [user, object_id] = [1, 2].map(Uuid::from_u128);
        let object = AvatarObject {
            user_id: UserId(user),
            object_id,
        };
        assert_eq!(AvatarObject::parse(&object.key()), Some(object));
        for other in ["", "avatars/", "avatars/x/y", "files/1/2"] {
            assert_eq!(AvatarObject::parse(other), None, "{other}");
        }
        assert_eq!(AvatarObject::parse(&format!("{}/x", object.key())), None);
    }
}
