import type { components } from "./schema.js";

/** Error reply of the service (RFC 9457). `code` is what to match on. */
export type Problem = components["schemas"]["Problem"];

/** Returns whether a value is a problem, and not the reply of a proxy in front. */
export function isProblem(value: unknown): value is Problem {
  return typeof value === "object" && value !== null && "code" in value && "request_id" in value;
}

/** A refused call, as an exception. */
export class ProblemError<P = Problem> extends Error {
  override readonly name = "ProblemError";

  constructor(
    /** The problem; text or nothing if something other than the service replied. */
    readonly problem: P,
    readonly response: Response,
  ) {
    super(isProblem(problem) ? `${problem.code}: ${problem.title}` : `status ${response.status}`);
  }

  /** The id under which the service's logs know the request. */
  get requestId(): string | null {
    return this.response.headers.get("X-Request-Id");
  }
}

type Result<T, E> = { data?: T; error?: E; response: Response };

/** Returns the data of a reply; throws a `ProblemError` if the call was refused. */
export function unwrap<T, E>(result: Result<T, E>): T {
  if (!result.response.ok) throw new ProblemError(result.error, result.response);
  return result.data as T;
}
