//! Jobs without a payload, such as those of a schedule.

/// Declares jobs without a payload: name, identifier in the queue, and the function that runs it,
/// `async fn(&State) -> Result<(), E>`. The state is an extension of the worker, and `E` is from
/// [`MissingExtension`](crate::MissingExtension).
#[macro_export]
macro_rules! jobs {
    ($($(#[$doc:meta])* $name:ident $identifier:literal => $run:path;)+) => {$(
        $crate::without_payload! {
            $(#[$doc])*
            pub struct $name;
        }

        impl graphile_worker::TaskHandler for $name {
            const IDENTIFIER: &'static str = $identifier;

            async fn run(self, ctx: graphile_worker::WorkerContext) -> impl graphile_worker::IntoTaskHandlerResult {
                let result = async { $run($crate::extension(&ctx)?).await }.await;
                $crate::report(&ctx, result)
            }
        }
    )+};
}

/// As [`jobs!`](crate::jobs), with a payload. Each has an `async fn run_with(&self, &State) -> Result<(), E>`.
#[macro_export]
macro_rules! payload_jobs {
    ($($(#[$doc:meta])* $name:ident $identifier:literal { $($field:ident: $type:ty),+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
        pub struct $name {
            $(pub $field: $type,)+
        }

        impl $name {
            #[must_use]
            pub const fn of($($field: $type),+) -> Self {
                Self { $($field),+ }
            }
        }

        impl graphile_worker::TaskHandler for $name {
            const IDENTIFIER: &'static str = $identifier;

            async fn run(self, ctx: graphile_worker::WorkerContext) -> impl graphile_worker::IntoTaskHandlerResult {
                let result = async { self.run_with($crate::extension(&ctx)?).await }.await;
                $crate::report(&ctx, result)
            }
        }
    )+};
}

/// The type of a job without a payload. Accepts any payload: a schedule enqueues its jobs with `null`.
#[macro_export]
macro_rules! without_payload {
    ($(#[$doc:meta])* pub struct $name:ident;) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize)]
        #[serde(from = "serde::de::IgnoredAny")]
        pub struct $name {}

        impl From<serde::de::IgnoredAny> for $name {
            fn from(_: serde::de::IgnoredAny) -> Self {
                Self {}
            }
        }
    };
}
