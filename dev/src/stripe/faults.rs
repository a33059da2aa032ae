//! Faults that a test asks for: delays, refusals, connections that are cut.

use serde::{Deserialize, Serialize};

/// A fault of the next calls that match.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StripeFault {
    /// The method; any where it is absent.
    #[serde(default)]
    pub method: Option<String>,
    /// Beginning of the path, such as `/v1/customers`.
    #[serde(default)]
    pub path: String,
    /// Matching calls that pass before the fault begins.
    #[serde(default)]
    pub skip: u32,
    /// Matching calls that meet the fault.
    #[serde(default = "once")]
    pub count: u32,
    /// The fault itself.
    pub action: FaultAction,
}

/// The form of a fault.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultAction {
    /// Waits this many milliseconds before the call executes.
    Delay(u64),
    /// Executes the call, then holds its answer back this many milliseconds.
    DelayAnswer(u64),
    /// Refuses with a status before any effect.
    Status {
        /// HTTP status; a 500 is kept under the idempotency key, as at Stripe.
        status: u16,
        /// Form of the body.
        #[serde(default)]
        body: FaultBody,
        /// Headers besides, such as `Retry-After`.
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// Performs the call, then returns 500, which its idempotency key keeps.
    ErrorAfterEffect,
    /// Closes the connection before any effect.
    CutBefore,
    /// Performs the call, then closes the connection without an answer.
    CutAfterEffect,
}

/// Form of the body of a refusal.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultBody {
    /// Stripe's error envelope.
    #[default]
    Json,
    /// A page, as a proxy in between writes it.
    Html,
    /// Nothing.
    Empty,
}

fn once() -> u32 {
    1
}

/// A refusal that a test asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) body: FaultBody,
    pub(super) headers: Vec<(String, String)>,
}

#[derive(Debug, Default)]
pub(super) struct Faults(Vec<StripeFault>);

impl Faults {
    pub(super) fn add(&mut self, fault: StripeFault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The faults that one call meets: any delays, then at most one other.
    pub(super) fn take(&mut self, method: &str, path: &str) -> Vec<FaultAction> {
        let mut met = Vec::new();
        for fault in &mut self.0 {
            let matches = fault
                .method
                .as_deref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
                && path.starts_with(&fault.path);
            if !matches || fault.count == 0 {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            fault.count -= 1;
            met.push(fault.action.clone());
            if !matches!(
                fault.action,
                FaultAction::Delay(_) | FaultAction::DelayAnswer(_)
            ) {
                break;
            }
        }
        self.0.retain(|fault| fault.count > 0);
        met
    }
}
