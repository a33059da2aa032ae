import type { components } from "../schema.js";
import { type Refusal, type Renewal, type Send, type Session, SharedRefresh } from "./session.js";

const SAFE = ["GET", "HEAD", "OPTIONS"];

/**
 * Authentication by cookies that no script can read, for pages of the service's site. Sign in with `transport: "cookie"` and
 * `start` it with the reply. After a reload it asks for its CSRF token when it needs one.
 */
export class BrowserSession implements Session {
  private readonly refresh = new SharedRefresh();
  private csrf: string | undefined;

  /** @param onEnd called when the browser has no session, or none any more */
  constructor(private readonly onEnd: () => void = () => {}) {}

  /** Starts with the reply of a sign-in. */
  start(session: Pick<components["schemas"]["CookieSession"], "csrf_token">): void {
    this.csrf = session.csrf_token;
  }

  async authorize(request: Request): Promise<void> {
    if (this.csrf && !SAFE.includes(request.method)) request.headers.set("X-CSRF-Token", this.csrf);
  }

  /** Refreshes also if another call has refreshed since: the refusal of this one has deleted the cookies. */
  async renew(_: Request, refusal: Refusal, send: Send): Promise<Renewal> {
    return this.refresh.run(async () => {
      const hasToken = refusal === "unauthenticated" && this.csrf !== undefined;
      const found = hasToken ? "again" : await this.findToken(send);
      return found === "again" && refusal === "unauthenticated" ? this.rotate(send) : found;
    });
  }

  /** Asks for the CSRF token, for which the refresh cookie is sufficient. */
  private async findToken(send: Send): Promise<Renewal> {
    const reply = await send("/api/v1/auth/csrf", { method: "GET" });
    if (!reply.ok) return this.failed(reply);
    this.start((await reply.json()) as components["schemas"]["CsrfProof"]);
    return "again";
  }

  private async rotate(send: Send): Promise<Renewal> {
    const reply = await send("/api/v1/auth/refresh", { method: "POST", headers: { "X-CSRF-Token": this.csrf ?? "" } });
    if (!reply.ok) return this.failed(reply);
    this.start((await reply.json()) as components["schemas"]["CookieSession"]);
    return "again";
  }

  private failed(reply: Response): Renewal {
    if (reply.status !== 401) return reply;
    this.csrf = undefined;
    this.onEnd();
    return "ended";
  }
}
