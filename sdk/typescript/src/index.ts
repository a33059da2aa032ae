/** Client of Groundwork: `createClient`. */
export { type Client, type ClientOptions, createClient, idempotencyKey } from "./client.js";
export { isProblem, ProblemError, type Problem, unwrap } from "./problem.js";
export { ApiKey } from "./sessions/api-key.js";
export { BearerSession, type TokenStore, type Tokens } from "./sessions/bearer.js";
export { BrowserSession } from "./sessions/browser.js";
export type { Refusal, Renewal, Send, Session } from "./sessions/session.js";
export type { components, operations, paths } from "./schema.js";
