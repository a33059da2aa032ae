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
  private renewals = 0;
  private readonly sentAt = new WeakMap<Request, number>();

  /** @param onEnd called when the browser has no session, or none any more */
  constructor(private readonly onEnd: () => void = () => {}) {}

  /** Starts with the reply of a sign-in. */
  start(session: Pick<components["schemas"]["CookieSession"], "csrf_token">): void {
    this.csrf = session.csrf_token;
  }

  async authorize(request: Request): Promise<void> {
    this.sentAt.set(request, this.renewals);
    if (this.csrf && !SAFE.includes(request.method)) request.headers.set("X-CSRF-Token", this.csrf);
  }

  async renew(request: Request, refusal: Refusal, send: Send): Promise<Renewal> {
    // Another call has renewed since this one was sent.
    if ((this.sentAt.get(request) ?? 0) < this.renewals) return "again";
    return this.refresh.run(async () => {
      const hasToken = refusal === "unauthenticated" && this.csrf !== undefined;
      const found = hasToken ? "again" : await this.findToken(send);
      const renewed = found === "again" && refusal === "unauthenticated" ? await this.rotate(send) : found;
      if (renewed === "again") this.renewals += 1;
      return renewed;
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
