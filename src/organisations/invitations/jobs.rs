//! The email of an invitation.

use email_transport::EmailAddress;
use session_tokens::OpaqueToken;

use crate::auth::link_to;
use crate::ids::InvitationId;
use crate::mail::{self, EmailMessage, JobError, email_jobs};
use crate::organisations::store::invitations as store;
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;

email_jobs! {
    /// Unless the invitation is gone.
    SendInvitation "organisations.send_invitation" Open { email: EmailAddress, invitation_id: InvitationId }
}

impl SendInvitation {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let token = OpaqueToken::new(&state.rng);
        let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
        let now = state.clock.now();
        let found = store::set_token(&mut *tx, self.invitation_id, token.hash(), now).await?;
        tx.commit().await?;
        let Some((organisation, inviter)) = found else {
            return Ok(());
        };
        let message = EmailMessage::Invitation {
            organisation,
            inviter: inviter.map(|it| it.as_str().to_owned()),
            link: link_to(state, "invitation", &token),
            days: state
                .organisations
                .invitation_ttl
                .as_secs()
                .div_ceil(86_400),
        };
        Ok(mail::send(state, self.email.as_str(), &message).await?)
    }
}
