//! Documented problem responses of routes with a JSON body.

/// Groups for `responses(…)`: `problem_groups! { LoginProblems [InvalidCredentials]; }`.
macro_rules! problem_groups {
    ($($name:ident [$($code:ident),+];)+) => {
        http_toolkit::body_problem_groups! { $($name [$($crate::web::Code::$code),+];)+ }
    };
}

pub(crate) use problem_groups;
