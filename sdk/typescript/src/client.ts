import createFetchClient, { type Client as FetchClient } from "openapi-fetch";
import { isProblem } from "./problem.js";
import type { paths } from "./schema.js";
import { BrowserSession } from "./sessions/browser.js";
import type { Refusal, Session } from "./sessions/session.js";

/** The service's operations by method and path: `client.GET("/api/v1/users/me")`. */
export type Client = FetchClient<paths>;

export interface ClientOptions {
  /** Public address of the service, with its path if it has one: `https://api.example.com`. */
  baseUrl: string;
  /** How calls are authenticated. Without one they are anonymous. */
  session?: Session;
  /** Account acted for (`X-Account`): its id or slug. By default the user's own. */
  account?: string;
  /** Replaces `fetch`. */
  fetch?: (request: Request) => Promise<Response>;
  /** How often a call that may be repeated is sent again after a failed connection or a 503; 2 by default. */
  retries?: number;
}

/**
 * Renewals of credentials for one call. A second one helps a page: the 401 of a slower call, which deletes the cookies, may arrive
 * after the refresh of another call has set new ones.
 */
const RENEWALS = 2;

/** Longest `Retry-After` that is waited for, in seconds. */
const LONGEST_WAIT = 5;

/** Returns a new idempotency key. Repetitions of a request send the same one. */
export function idempotencyKey(): string {
  return crypto.randomUUID();
}

/** Returns a client. Calls do not throw when they are refused: `error` has the problem. They throw when no reply came. */
export function createClient(options: ClientOptions): Client {
  const root = options.baseUrl.replace(/\/+$/, "");
  const session = options.session;
  const credentials: RequestCredentials = session instanceof BrowserSession ? "include" : "omit";
  const once = options.fetch ?? ((request: Request) => fetch(request));
  const retries = options.retries ?? 2;

  // A refresh whose reply was lost may be repeated: for some seconds the used token returns the same successor.
  const send = (path: string, init: RequestInit) => repeated(new Request(root + path, { ...init, credentials }), once, retries);

  async function authenticated(original: Request): Promise<Response> {
    if (options.account && !original.headers.has("X-Account")) original.headers.set("X-Account", options.account);
    for (let renewals = 0; ; renewals += 1) {
      const isLast = renewals >= RENEWALS;
      const request = isLast ? original : original.clone();
      await session?.authorize(request);
      const reply = await repeated(request, once, isRepeatable(request) ? retries : 0);
      const refusal = isLast ? undefined : session && (await refusalOf(reply));
      if (!refusal) return reply;
      const renewed = await session?.renew(request, refusal, send);
      if (renewed instanceof Response) return renewed;
      if (renewed !== "again") return reply;
    }
  }

  return createFetchClient<paths>({ baseUrl: root, credentials, fetch: authenticated });
}

/** Returns true for a request without an effect, and for one whose effect happens once however often it is sent. */
function isRepeatable(request: Request): boolean {
  return request.method === "GET" || request.headers.has("Idempotency-Key");
}

/** Returns what a session may be able to repair, and nothing for other replies: a password or code in a body may be wrong as well. */
async function refusalOf(reply: Response): Promise<Refusal | undefined> {
  if (reply.status !== 401 && reply.status !== 403) return undefined;
  const problem: unknown = await reply.clone().json().catch(() => undefined);
  const code = isProblem(problem) ? problem.code : undefined;
  return code === "unauthenticated" || code === "csrf_refused" ? code : undefined;
}

async function repeated(request: Request, once: (request: Request) => Promise<Response>, retries: number): Promise<Response> {
  for (let attempt = 0; ; attempt += 1) {
    const isLast = attempt >= retries;
    try {
      const reply = await once(isLast ? request : request.clone());
      const wait = Number(reply.headers.get("Retry-After") ?? Number.NaN);
      const isBusy = reply.status === 503 || (reply.status === 409 && request.headers.has("Idempotency-Key"));
      if (isLast || !isBusy || !(wait <= LONGEST_WAIT)) return reply;
      await reply.body?.cancel();
      await delay(wait * 1000, request.signal);
    } catch (error) {
      // Aborted calls are not repeated.
      if (isLast || request.signal.aborted || !(error instanceof TypeError)) throw error;
      await delay(200 * 2 ** attempt, request.signal);
    }
  }
}

/** Rejects as soon as the call is aborted. */
function delay(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, milliseconds);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}
